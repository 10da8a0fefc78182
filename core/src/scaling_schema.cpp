#include "dyn/core/schemas.h"

namespace dyn {

void describe(EnumSchema<HandOff>& s) {
  s.value(HandOff::pull, "pull",
          "the decode worker is chosen once the prompt is computed, and fetches its KV (vLLM).")
      .value(HandOff::push, "push",
             "the decode worker is chosen and makes room at once; KV comes as it is computed "
             "(SGLang).");
}

void describe(ObjectSchema<DisaggregationSpec>& s) {
  s.about("disaggregation", "How prompts get from prefill workers to decode workers.");
  s.field("hand_off", &DisaggregationSpec::hand_off, "Who starts the hand-over.")
      .because("vLLM's default connector");
  s.field("overlap", &DisaggregationSpec::overlap,
          "Moves the KV of each layer as soon as it is computed (push).")
      .because("only the last layer is then left when the prompt is done")
      .brief();
  s.field("local_prefill", &DisaggregationSpec::local_prefill,
          "Prompts with at most so many tokens not cached at a decode worker are computed there.")
      .between(Tokens(0), Tokens(100'000'000))
      .because("every prompt goes to a prefill worker")
      .brief();
  s.field("local_cached_share", &DisaggregationSpec::local_cached_share,
          "So are those of which at least this share is cached there.")
      .above(0)
      .at_most(1)
      .unset("only their length counts");
  s.field("local_above_queued", &DisaggregationSpec::local_above_queued,
          "And any, while every prefill worker has at least so many prompts queued.")
      .at_least(1)
      .unset("they wait for a prefill worker");
  s.field("transfer_timeout", &DisaggregationSpec::transfer_timeout,
          "A hand-over that takes longer is given up, and the request starts again.")
      .above(Duration{0})
      .because("both workers hold its KV until then")
      .brief();
}

void describe(EnumSchema<AutoscalerKind>& s) {
  s.value(AutoscalerKind::off, "off", "the pools stay as they are.")
      .value(AutoscalerKind::load, "load", "by how full the workers are.")
      .value(AutoscalerKind::forecast, "forecast",
             "by the arrivals expected when a worker started now would be ready.");
}

void describe(EnumSchema<WeightSource>& s) {
  s.value(WeightSource::store, "store", "from the object store.")
      .value(WeightSource::disk, "disk", "from a disk of its node.")
      .value(WeightSource::peer, "peer", "from the GPUs of a worker that runs.")
      .value(WeightSource::warm, "warm", "they are there already.");
}

void describe(ObjectSchema<AutoscalerSpec>& s) {
  s.about("autoscaler",
          "How pools grow and shrink. A new worker loads its weights over the network and then "
          "starts up; one that goes takes nothing new and ends what it has.");
  s.field("kind", &AutoscalerSpec::kind, "By what it decides.")
      .because("a plan is judged as it stands");
  s.field("interval", &AutoscalerSpec::interval, "Time between decisions.")
      .above(Duration{0})
      .because("5 to 10 s was best in Dynamo's own study of its planner");
  s.field("min_replicas", &AutoscalerSpec::min_replicas, "Fewest workers of each pool.")
      .between(1, 10'000)
      .because("a pool without workers serves nobody");
  s.field("max_replicas", &AutoscalerSpec::max_replicas, "Most workers of each pool.")
      .between(1, 10'000)
      .because("Dynamo's budget, where a worker is one GPU");
  s.field("max_gpus", &AutoscalerSpec::max_gpus, "Most GPUs of all pools together.")
      .at_least(1)
      .unset("max_replicas alone bounds it");
  s.field("up_cooldown", &AutoscalerSpec::up_cooldown,
          "Least time between one growth of a pool and the next.")
      .at_least(Duration{0})
      .because("workers that are starting count already")
      .brief();
  s.field("down_cooldown", &AutoscalerSpec::down_cooldown,
          "Least time between any change of a pool and its shrinking.")
      .at_least(Duration{0})
      .because("about what a start takes, so that it does not flap")
      .brief();
  s.field("max_step", &AutoscalerSpec::max_step, "Most workers that one decision adds to a pool.")
      .between(1, 10'000)
      .because("one bad reading does not fill the cluster")
      .brief();
  s.field("queue_high", &AutoscalerSpec::queue_high,
          "Grows above this: prompt tokens queued a worker / the token budget of a step (load).")
      .above(0)
      .because("a step's worth of waiting, as Dynamo's throughput mode")
      .brief();
  s.field("queue_low", &AutoscalerSpec::queue_low, "Shrinks if it would stay below this (load).")
      .at_least(0)
      .because("as Dynamo's throughput mode")
      .brief();
  s.field("kv_high", &AutoscalerSpec::kv_high, "Grows above this share of KV in use (load).")
      .above(0)
      .at_most(1)
      .because("preemptions begin at 1")
      .brief();
  s.field("kv_low", &AutoscalerSpec::kv_low, "Shrinks if it would stay below this (load).")
      .between(0, 1)
      .because("well below kv_high, so that it does not flap")
      .brief();
  s.field("headroom", &AutoscalerSpec::headroom,
          "Capacity planned over arrivals expected (forecast).")
      .between(1, 100)
      .because("arrivals within an interval are uneven")
      .brief();
  s.field("itl", &AutoscalerSpec::itl,
          "Inter-token latency that capacity is counted at, where the plan has no target "
          "(forecast).")
      .above(Duration{0})
      .because("Dynamo's planner has the same")
      .brief();
  s.field("weights", &AutoscalerSpec::weights, "Where a new worker's weights come from.")
      .because("a node may be new");
  s.field("startup", &AutoscalerSpec::startup,
          "After the weights are there: kernels, graphs, warm-up.")
      .at_least(Duration{0})
      .because("compiled kernels that are cached; without, it is minutes")
      .brief();
  s.check([](const AutoscalerSpec& spec, Checker& checker) {
    if (spec.min_replicas > spec.max_replicas) {
      checker.error("min_replicas", "min_replicas is above max_replicas (" +
                                        std::to_string(spec.max_replicas) + ")");
    }
    if (spec.queue_low >= spec.queue_high) {
      checker.error("queue_low", "queue_low must be below queue_high, or the pool flaps");
    }
    if (spec.kv_low >= spec.kv_high) {
      checker.error("kv_low", "kv_low must be below kv_high, or the pool flaps");
    }
  });
}

}  // namespace dyn
