#include "dyn/core/schemas.h"

namespace dyn {

void describe(EnumSchema<FaultKind>& s) {
  s.value(FaultKind::worker_crash, "worker_crash",
          "a worker and all it holds is gone; after `duration` it is back, with an empty cache.")
      .value(FaultKind::spot_reclaim, "spot_reclaim",
             "the same after a notice, during which the worker takes nothing new.")
      .value(FaultKind::slow_node, "slow_node", "a worker has `factor` of its speed.")
      .value(FaultKind::link_down, "link_down", "nothing crosses a worker's network ports.")
      .value(FaultKind::link_degraded, "link_degraded", "they have `factor` of their rate.")
      .value(FaultKind::kv_loss, "kv_loss",
             "a worker's KV is gone: it computes again what it runs.")
      .value(FaultKind::router_restart, "router_restart",
             "a pool's routers forget what they know.");
}

namespace {

template <class T>
void describe_effect(ObjectSchema<T>& s) {
  s.field("factor", &T::factor, "What is left of the speed (slow_node) or rate (link_degraded).")
      .above(0)
      .at_most(1)
      .because("throttled GPUs and half-width links")
      .brief();
  s.field("notice", &T::notice, "Time between the notice and the end (spot_reclaim).")
      .at_least(Duration{0})
      .because("clouds give 30 s to 2 minutes")
      .brief();
}

}  // namespace

void describe(ObjectSchema<FaultEvent>& s) {
  s.about("fault", "One fault.");
  s.field("kind", &FaultEvent::kind, "What happens.").required();
  s.field("at", &FaultEvent::at, "When, since the start.").required().at_least(Duration{0});
  s.field("role", &FaultEvent::role, "The pool that it happens to.").unset("the first");
  s.field("worker", &FaultEvent::worker, "Index of the worker within its pool.")
      .between(0, 100'000)
      .because("the first");
  s.field("duration", &FaultEvent::duration, "Until all is whole again.")
      .at_least(Duration{0})
      .unset("until the end; a crashed worker starts again as a new one would");
  s.field("encode", &FaultEvent::encode, "Whether the worker is one of the encode pool.")
      .because("most faults asked about are those of engines")
      .brief();
  describe_effect(s);
  s.check([](const FaultEvent& fault, Checker& checker) {
    if (fault.encode && fault.role) {
      checker.error("role", "'role' and 'encode' exclude each other", "give one or the other");
    }
    if (fault.encode && !befalls_encoders(fault.kind)) {
      checker.error("kind", "encode workers have neither KV nor routers to lose",
                    "such as kind: worker_crash");
    }
  });
}

void describe(ObjectSchema<FaultRate>& s) {
  s.about(
      "fault_rate",
      "Faults at random, exponentially apart, each to a worker drawn evenly, those of an encode "
      "pool included; seeded.");
  s.field("kind", &FaultRate::kind, "What happens.").required();
  s.field("mean_between", &FaultRate::mean_between, "Mean time between two, over the whole fleet.")
      .required()
      .above(Duration{0});
  s.field("duration", &FaultRate::duration, "Mean time until all is whole again, exponential.")
      .at_least(Duration{0})
      .unset("until the end; a crashed worker starts again as a new one would");
  describe_effect(s);
}

void describe(ObjectSchema<RetrySpec>& s) {
  s.about("retry", "What a client does when its request fails or is refused.");
  s.field("attempts", &RetrySpec::attempts, "How often it tries in all.")
      .between(1, 100)
      .because("failures are counted as they are");
  s.field("backoff", &RetrySpec::backoff, "Wait before the second attempt.")
      .at_least(Duration{0})
      .because("as the OpenAI client's");
  s.field("multiplier", &RetrySpec::multiplier, "Of each further wait.")
      .between(1, 100)
      .because("as the OpenAI client's");
  s.field("jitter", &RetrySpec::jitter, "Up to this share of a wait is added to it, drawn.")
      .between(0, 10)
      .because("clients that failed together do not come back together");
  s.field("timeout", &RetrySpec::timeout,
          "Without a first token for so long an attempt is given up, and counts as failed.")
      .above(Duration{0})
      .unset("it waits");
}

void describe(ObjectSchema<FaultSpec>& s) {
  s.about("faults", "What goes wrong during a run, and what is done about it.");
  s.field("schedule", &FaultSpec::schedule, "Faults at given times.").brief();
  s.field("rates", &FaultSpec::rates, "Faults at random.").brief();
  s.field("migration", &FaultSpec::migration,
          "Requests of a lost worker start again elsewhere, from prompt and tokens made.")
      .because("a client sees a pause, not an error");
  s.field("migration_limit", &FaultSpec::migration_limit,
          "How often one request may move; beyond, it fails.")
      .between(0, 1000)
      .because("a request that kills workers must not kill them all");
  s.field("retry", &FaultSpec::retry, "What clients do when requests fail.").brief();
}

}  // namespace dyn
