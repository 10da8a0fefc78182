#include <utility>

#include "dyn/core/schemas.h"

namespace dyn {

void describe(EnumSchema<RouterKind>& s) {
  s.value(RouterKind::round_robin, "round_robin", "one worker after the other.")
      .value(RouterKind::random, "random", "any worker, evenly.")
      .value(RouterKind::power_of_two, "power_of_two",
             "the one with fewer requests of two drawn at random.")
      .value(RouterKind::least_loaded, "least_loaded", "the worker with the fewest requests.")
      .value(RouterKind::session_affinity, "session_affinity",
             "where the session's last request went; the least loaded for a new one.")
      .value(RouterKind::kv_aware, "kv_aware",
             "weighs work against what each worker has cached of the prompt.");
}

void describe(EnumSchema<RouterCost>& s) {
  s.value(RouterCost::blocks, "blocks", "blocks still to compute and blocks held.")
      .value(RouterCost::seconds, "seconds", "predicted time to the first token there.");
}

void describe(EnumSchema<CacheView>& s) {
  s.value(CacheView::events, "events", "from the engines' own cache events.")
      .value(CacheView::approximate, "approximate",
             "a guess: what was sent there lately, least recently used forgotten.");
}

void describe(EnumSchema<QueueOrder>& s) {
  s.value(QueueOrder::first_come, "first_come", "as they came.")
      .value(QueueOrder::priority, "priority", "highest priority first, then as they came.")
      .value(QueueOrder::deadline, "deadline", "earliest deadline first, then as they came.");
}

namespace {

void describe_tier_credits(ObjectSchema<RouterConfig>& s) {
  s.field(
       "host_credit", &RouterConfig::host_credit,
       "Weight of a prompt's blocks that a worker has in host memory, behind those in its device "
       "(kv_aware): with cost blocks what one counts against one in the device, with cost "
       "seconds the share that is taken to be loaded, in the time that takes. Nothing where "
       "kv_tiers has no such tier.")
      .between(0, 1)
      .because("routers look at devices alone; Dynamo's give 0.75 where workers tell of it")
      .brief();
  s.field("disk_credit", &RouterConfig::disk_credit,
          "The same of blocks on disk, behind those in host memory.")
      .between(0, 1)
      .because("as host_credit; Dynamo's give 0.25")
      .brief();
  s.field("object_credit", &RouterConfig::object_credit,
          "The same of blocks in an object store, behind those on disk.")
      .between(0, 1)
      .because("as host_credit; Dynamo's give 0.5 to caches that all workers share")
      .brief();
}

/// What lies below the devices is told by events alone.
void check_tier_credits(const RouterConfig& config, Checker& checker) {
  if (config.kind != RouterKind::kv_aware || config.cache_view == CacheView::events) {
    return;
  }
  for (const auto& [key, credit] :
       {std::pair{"host_credit", config.host_credit}, std::pair{"disk_credit", config.disk_credit},
        std::pair{"object_credit", config.object_credit}}) {
    if (credit > 0) {
      checker.error(key, "a guess of caches (cache_view approximate) knows no lower tiers",
                    "write cache_view: events, or leave it out");
    }
  }
}

void describe_choice(ObjectSchema<RouterConfig>& s) {
  s.field("kind", &RouterConfig::kind, "How a worker is chosen.")
      .because("repeated prefixes are then computed once");
  s.field("cost", &RouterConfig::cost, "What kv_aware weighs.")
      .because("as Dynamo's router does")
      .brief();
  s.field("overlap_credit", &RouterConfig::overlap_credit, "Weight of a prompt's cached blocks.")
      .between(0, 1000)
      .because("a cached block saves the computing of one");
  describe_tier_credits(s);
  s.field("prefill_load_scale", &RouterConfig::prefill_load_scale,
          "Weight of a worker's prefill work against its decode blocks.")
      .between(0, 1000)
      .because("both count alike");
  s.field("temperature", &RouterConfig::temperature,
          "0 takes the best worker; above, workers are drawn by softmax of their cost.")
      .between(0, 1000)
      .because("the best worker");
  s.field("adapter_affinity", &RouterConfig::adapter_affinity,
          "Weight of the LoRA adapter: where a worker does not hold the request's, and has no room "
          "for it, that counts like so many requests (least_loaded) or prompts (kv_aware) more.")
      .between(0, 1000)
      .because("a worker with one request less is then as good")
      .brief();
  s.field("max_queued_per_worker", &RouterConfig::max_queued_per_worker,
          "Requests a worker may have waiting; a full pool answers 429.")
      .between(1, 1'000'000)
      .because("queues are bounded, and this one is minutes of work");
  s.field("affinity_ttl", &RouterConfig::affinity_ttl,
          "How long after its last request a session stays with its worker (session_affinity).")
      .above(Duration{0})
      .because("people read and type for minutes between turns")
      .brief();
}

void describe_knowledge(ObjectSchema<RouterConfig>& s) {
  s.field("cache_view", &RouterConfig::cache_view, "How kv_aware knows what workers have cached.")
      .because("engines tell it exactly")
      .brief();
  s.field("approximate_ttl", &RouterConfig::approximate_ttl,
          "How long a prompt is taken to stay cached (approximate).")
      .above(Duration{0})
      .because("as Dynamo's router without events")
      .brief();
  s.field("approximate_blocks", &RouterConfig::approximate_blocks,
          "Blocks that a worker is taken to cache (approximate).")
      .between(1, 100'000'000)
      .because("about what an 80 GB GPU holds of a small model")
      .brief();
  s.field("event_delay", &RouterConfig::event_delay,
          "Age of what routers know of caches: between half of it and all of it.")
      .at_least(Duration{0})
      .because("events take well below a millisecond in one cluster")
      .brief();
  s.field("event_loss", &RouterConfig::event_loss, "Fraction of cache events that never arrive.")
      .between(0, 1)
      .because("gaps are noticed and asked for again")
      .brief();
  s.field("replicas", &RouterConfig::replicas,
          "Routers in front of each pool; each request goes to any of them.")
      .between(1, 64)
      .because("one router serves thousands of requests a second")
      .brief();
  s.field("sync_delay", &RouterConfig::sync_delay,
          "When a router hears of the bookings of the others.")
      .at_least(Duration{0})
      .unset("they tell each other nothing");
}

void describe_queue(ObjectSchema<RouterConfig>& s) {
  s.field("hold_above", &RouterConfig::hold_above,
          "Requests wait at the router while every worker has more prompts queued than this.")
      .between(0, 1'000'000)
      .unset("they wait at the workers");
  s.field("queue_order", &RouterConfig::queue_order, "Who leaves the router's queue first.")
      .because("nobody starves")
      .brief();
  s.field("queue_limit", &RouterConfig::queue_limit, "Requests held at the router; beyond, 429.")
      .between(1, 100'000'000)
      .because("queues are bounded")
      .brief();
  s.field("queue_timeout", &RouterConfig::queue_timeout,
          "Longest time that a request is held at the router; beyond, 408.")
      .above(Duration{0})
      .unset("no limit");
}

}  // namespace

void describe(ObjectSchema<RouterConfig>& s) {
  s.about("router", "How a pool's requests are spread over its workers.");
  describe_choice(s);
  describe_knowledge(s);
  describe_queue(s);
  s.check(check_tier_credits);
}

}  // namespace dyn
