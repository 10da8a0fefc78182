#pragma once

// Fleets and loads drawn from a seed.

#include <array>

#include "../unit/sim/fleets.h"
#include "dyn/core/random.h"

namespace dyn::sim::test {

/// A fleet and a load drawn from a seed. Times are round, so that many things fall on one instant.
struct Scene {
  Fleet fleet;
  Workload load;
};

inline PoolSpec draw_pool(RandomStream& random, WorkerRole role) {
  PoolSpec out = pool(role, 1 + static_cast<int>(random.below(3)));
  out.layout.data = 1 + static_cast<int>(random.below(3));
  static const std::array<const char*, 3> kKinds{"vllm", "sglang", "trtllm"};
  out.config.kind = kKinds[random.below(3)];
  out.config.max_num_seqs = 1 + static_cast<int>(random.below(12));
  out.config.max_num_batched_tokens = 64 << random.below(6);
  out.config.block_size = 16 << random.below(2);
  out.config.kv_blocks = 90 + static_cast<std::int64_t>(random.below(200));
  out.config.prefix_caching = random.below(4) != 0;
  return out;
}

inline LinearTimer::Times draw_times(RandomStream& random) {
  LinearTimer::Times times;
  times.base = us(100 * (1 + static_cast<std::int64_t>(random.below(5))));
  times.per_prefill = us(static_cast<std::int64_t>(random.below(3)));
  times.per_decode = us(static_cast<std::int64_t>(random.below(2)) * 50);
  times.per_context = Duration(static_cast<std::int64_t>(random.below(2)) * 100);
  times.frontend = us(static_cast<std::int64_t>(random.below(2)) * 100);
  return times;
}

inline Workload draw_load(RandomStream& random) {
  Workload out;
  out.block_tokens = 128;
  out.concurrency = random.below(2) == 0 ? 0 : 1 + static_cast<std::int32_t>(random.below(30));
  const std::uint64_t count = 1 + random.below(80);
  const std::uint64_t gap = 1 + random.below(20);
  std::int64_t now = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    WorkloadRequest request;
    now += static_cast<std::int64_t>(random.below(gap)) * 100;
    request.arrival = SimTime(us(now));
    request.input_tokens = 1 + static_cast<std::int64_t>(random.below(900));
    request.output_tokens = 1 + static_cast<std::int64_t>(random.below(90));
    request.first_block = static_cast<std::uint32_t>(out.blocks.size());
    request.block_count = static_cast<std::uint32_t>((request.input_tokens + 127) / 128);
    kvbm::BlockHash hash = kvbm::chain_root("scene");
    for (std::uint32_t b = 0; b < request.block_count; ++b) {
      hash = kvbm::chain(hash, random.below(3));
      out.blocks.push_back(hash);
    }
    out.requests.push_back(request);
  }
  if (random.below(2) == 0) {
    cut_prompts(out);
  }
  return out;
}

/// LoRA adapters, more of them than there are slots.
inline void draw_adapters(std::uint64_t seed, Plan& plan, Workload& load) {
  RandomStream random(seed, "adapters");
  if (random.below(3) != 0) {
    return;
  }
  for (PoolSpec& pool : plan.pools) {
    pool.config.lora = LoraConfig{};
    pool.config.lora->slots = 1 + static_cast<int>(random.below(3));
    pool.config.lora->host_slots = pool.config.lora->slots + static_cast<int>(random.below(3));
    pool.config.lora->size = Bytes(1'000'000);  // 1 ms from the host, 4.1 ms from the disk
  }
  plan.network.host_link = BytesPerSec(1e9);
  plan.network.disk_read = BytesPerSec(3e8);
  for (std::size_t i = 0; i < load.requests.size(); ++i) {
    load.adapters.push_back(static_cast<std::uint32_t>(random.below(6)));
  }
}

/// Images at the beginning of prompts, some of them again and again, that engines or encode workers
/// encode.
inline void draw_images(std::uint64_t seed, Scene& scene) {
  RandomStream random(seed, "images");
  if (random.below(3) != 0) {
    return;
  }
  const Duration each = us(100 * (1 + static_cast<std::int64_t>(random.below(20))));
  if (random.below(2) == 0) {
    EncodeWorkers workers;
    workers.replicas = 1 + static_cast<int>(random.below(3));
    workers.batch_tokens = 30 * (1 + static_cast<std::int64_t>(random.below(3)));
    workers.cache = Bytes(static_cast<std::int64_t>(random.below(3)) * 50'000);
    encode_apart(scene.fleet, workers, each);
    scene.fleet.plan.network.intra_node = BytesPerSec(1e9);
    scene.fleet.plan.network.inter_node = BytesPerSec(2e8);
  } else {
    encode_in_engines(scene.fleet, each);
  }
  for (const WorkloadRequest& request : scene.load.requests) {
    RequestImages images;
    images.first = static_cast<std::uint32_t>(scene.load.images.size());
    std::int64_t start = static_cast<std::int64_t>(random.below(2)) * 30;
    for (std::uint64_t left = random.below(4); left > 0; --left) {
      // A picture has one size wherever it comes.
      const policy::ImageId id = random.below(30);
      const std::int64_t tokens = 10 * (1 + static_cast<std::int64_t>(id % 4));
      if (start + tokens < request.input_tokens) {
        scene.load.images.push_back({id, start, {4 * tokens, tokens}});
        start += tokens + static_cast<std::int64_t>(random.below(20));
        ++images.count;
      }
    }
    scene.load.request_images.push_back(images);
  }
}

inline Scene draw_scene(std::uint64_t seed) {
  RandomStream random(seed, "scene");
  Scene scene;
  if (random.below(2) == 0) {
    scene.fleet.plan.pools = {draw_pool(random, WorkerRole::aggregated)};
  } else {
    scene.fleet.plan.pools = {draw_pool(random, WorkerRole::prefill),
                              draw_pool(random, WorkerRole::decode)};
    scene.fleet.plan.transfer = {BytesPerSec(1e9), us(100), Bytes(1000)};
  }
  for (std::size_t i = 0; i < scene.fleet.plan.pools.size(); ++i) {
    scene.fleet.timers.push_back(timer(draw_times(random)));
  }
  scene.fleet.plan.router.kind = static_cast<RouterKind>(random.below(6));
  scene.fleet.plan.router.temperature = random.below(2) == 0 ? 0 : 0.5;
  scene.fleet.plan.router.max_queued_per_worker = 2 + static_cast<int>(random.below(40));
  scene.load = draw_load(random);
  draw_adapters(seed, scene.fleet.plan, scene.load);
  draw_images(seed, scene);
  return scene;
}

/// A scene in which the fleet changes: routers that know little, queues, hand-overs of every kind,
/// tiers, priorities, an autoscaler and faults.
struct EventfulScene : Scene {
  FaultSpec faults;
};

inline FaultEvent draw_fault(RandomStream& random, const Plan& plan) {
  static const std::array<FaultKind, 7> kKinds{FaultKind::worker_crash,  FaultKind::spot_reclaim,
                                               FaultKind::slow_node,     FaultKind::link_down,
                                               FaultKind::link_degraded, FaultKind::kv_loss,
                                               FaultKind::router_restart};
  FaultEvent fault;
  fault.kind = kKinds[random.below(kKinds.size())];
  fault.at = us(100 * static_cast<std::int64_t>(random.below(800)));
  fault.role = plan.pools[random.below(plan.pools.size())].role;
  fault.worker = static_cast<int>(random.below(3));
  if (random.below(4) != 0) {
    fault.duration = us(100 * static_cast<std::int64_t>(random.below(300)));
  }
  fault.factor = random.below(2) == 0 ? 0.25 : 0.01;
  fault.notice = us(100 * static_cast<std::int64_t>(random.below(100)));
  return fault;
}

inline void draw_router(RandomStream& random, RouterConfig& router) {
  static const std::array<RouterKind, 6> kKinds{
      RouterKind::round_robin,  RouterKind::random,           RouterKind::power_of_two,
      RouterKind::least_loaded, RouterKind::session_affinity, RouterKind::kv_aware};
  router.kind = random.below(2) == 0 ? RouterKind::kv_aware : kKinds[random.below(kKinds.size())];
  router.cost = random.below(2) == 0 ? RouterCost::seconds : RouterCost::blocks;
  router.cache_view = random.below(3) == 0 ? CacheView::approximate : CacheView::events;
  router.approximate_ttl = ms(20);
  router.approximate_blocks = 50;
  router.event_delay = us(static_cast<std::int64_t>(random.below(2)) * 700);
  router.event_loss = random.below(3) == 0 ? 0.3 : 0;
  router.replicas = 1 + static_cast<int>(random.below(3));
  if (random.below(2) == 0) {
    router.sync_delay = us(static_cast<std::int64_t>(random.below(3)) * 400);
  }
  if (random.below(3) == 0) {
    router.hold_above = static_cast<int>(random.below(3));
    router.queue_order = random.below(2) == 0 ? QueueOrder::deadline : QueueOrder::first_come;
    router.queue_limit = 1 + static_cast<std::int64_t>(random.below(30));
    if (random.below(2) == 0) {
      router.queue_timeout = ms(1 + static_cast<std::int64_t>(random.below(20)));
    }
  }
}

inline void draw_deployment(RandomStream& random, Plan& plan) {
  plan.model.layers = 4;
  DisaggregationSpec& hand_over = plan.disaggregation;
  hand_over.hand_off = random.below(2) == 0 ? HandOff::push : HandOff::pull;
  hand_over.overlap = random.below(3) != 0;
  hand_over.local_prefill = Tokens(static_cast<std::int64_t>(random.below(2)) * 200);
  if (random.below(3) == 0) {
    hand_over.local_cached_share = 0.4;
  }
  if (random.below(3) == 0) {
    hand_over.local_above_queued = 2;
  }
  hand_over.transfer_timeout = ms(1 + static_cast<std::int64_t>(random.below(40)));
  if (random.below(2) == 0) {
    plan.transfer.bandwidth = BytesPerSec(0);
    plan.transfer.latency = Duration{0};
    plan.network.fabric = random.below(2) == 0 ? FabricKind::leaf_spine : FabricKind::non_blocking;
    plan.network.gpus_per_node = 1 + static_cast<int>(random.below(4));
    plan.network.nodes_per_leaf = 1 + static_cast<int>(random.below(2));
    plan.network.spines = 1 + static_cast<int>(random.below(3));
    plan.network.intra_node = BytesPerSec(1e9);
    plan.network.inter_node = BytesPerSec(2e8);
    plan.network.inter_node_latency = us(20);
  }
  if (random.below(3) == 0) {
    AutoscalerSpec& scaler = plan.autoscaler;
    scaler.kind = random.below(2) == 0 ? AutoscalerKind::forecast : AutoscalerKind::load;
    scaler.interval = ms(1 + static_cast<std::int64_t>(random.below(5)));
    scaler.startup = ms(static_cast<std::int64_t>(random.below(5)));
    scaler.down_cooldown = ms(static_cast<std::int64_t>(random.below(5)));
    scaler.max_replicas = 3 + static_cast<int>(random.below(3));
    scaler.weights = random.below(2) == 0 ? WeightSource::warm : WeightSource::peer;
  } else {
    plan.autoscaler.startup = ms(2);
    plan.autoscaler.weights = WeightSource::warm;
  }
}

inline KvTier draw_tier(RandomStream& random, bool open_loop) {
  KvTier tier;
  tier.capacity =
      Bytes((std::int64_t{1} << 16) * (10 + static_cast<std::int64_t>(random.below(200))));
  tier.scope = random.below(2) == 0 ? TierScope::shared : TierScope::worker;
  tier.write = random.below(2) == 0 ? TierWrite::back : TierWrite::through;
  tier.after_uses = 1 + static_cast<int>(random.below(2));
  tier.eviction = static_cast<EvictionKind>(random.below(open_loop ? 5 : 4));
  return tier;
}

/// Tiers below the device, small and slow enough that their blocks move and are evicted.
inline void draw_tiers(RandomStream& random, Plan& plan, bool open_loop) {
  plan.model.layers = 4;
  plan.model.attention.kv_heads = 1;
  plan.model.attention.head_dim = 64;  // 1 KiB a token
  plan.network.host_link = BytesPerSec(1e9);
  plan.network.disk_read = BytesPerSec(4e8);
  plan.network.disk_write = BytesPerSec(2e8);
  plan.network.disk_latency = us(50);
  plan.network.store = BytesPerSec(3e8);
  plan.network.store_latency = us(400);
  KvTiers tiers;
  for (std::optional<KvTier>* tier : {&tiers.host, &tiers.disk, &tiers.object}) {
    if (random.below(3) != 0) {
      *tier = draw_tier(random, open_loop);
    }
  }
  tiers.prefetch = tiers.host && (tiers.disk || tiers.object) && random.below(2) == 0;
  tiers.max_transfers = random.below(2) == 0 ? 32 : 3 + static_cast<int>(random.below(3));
  for (PoolSpec& pool : plan.pools) {
    pool.config.prefix_caching = true;
    if (problem_of(tiers, pool.config, open_loop)) {
      return;
    }
  }
  plan.kv_tiers = tiers;
}

/// What of these tiers routers look at, if anything.
inline void draw_credits(RandomStream& random, RouterConfig& router) {
  for (double* credit : {&router.host_credit, &router.disk_credit, &router.object_credit}) {
    *credit = 0.25 * static_cast<double>(random.below(5));
  }
}

/// What engines do beside their defaults: priorities, other rooms for output, speculation.
inline void draw_engine_habits(RandomStream& random, EngineConfig& config) {
  config.queue = random.below(2) == 0 ? QueuePolicy::priority : QueuePolicy::fcfs;
  config.capacity =
      random.below(2) == 0 ? CapacityPolicy::max_utilization : CapacityPolicy::guaranteed_no_evict;
  config.sglang.schedule_conservativeness = 0.3 * static_cast<double>(random.below(4));
  if (random.below(3) == 0) {
    config.speculation = SpeculationConfig{};
    config.speculation->draft_tokens = 1 + static_cast<int>(random.below(4));
    config.speculation->acceptance_length = 1.7;
  }
}

/// In half of the scenes some clients leave, sooner or later, some the moment they have sent.
inline void draw_patience(std::uint64_t seed, Workload& load) {
  RandomStream random(seed, "patience");
  if (random.below(2) == 0) {
    return;
  }
  for (std::size_t i = 0; i < load.requests.size(); ++i) {
    const Duration after = us(static_cast<std::int64_t>(random.below(400)) * 100);
    load.patience.push_back(random.below(2) == 0 ? after : Workload::kPatient);
  }
}

/// Where there is an encode pool its workers crash, are slow, cut off or taken away as well.
inline void draw_encode_faults(std::uint64_t seed, const Plan& plan, FaultSpec& faults) {
  if (!plan.encode) {
    return;
  }
  RandomStream random(seed, "encode_faults");
  for (std::uint64_t left = random.below(5); left > 0; --left) {
    FaultEvent fault = draw_fault(random, plan);
    if (befalls_encoders(fault.kind)) {
      fault.role.reset();
      fault.encode = true;
      faults.schedule.push_back(fault);
    }
  }
}

inline EventfulScene draw_eventful_scene(std::uint64_t seed) {
  EventfulScene scene;
  static_cast<Scene&>(scene) = draw_scene(seed);
  RandomStream habits(seed, "habits");
  for (PoolSpec& pool : scene.fleet.plan.pools) {
    // Decode engines then reserve room at once; the step times are the scene's.
    pool.timing.kind = habits.below(2) == 0 ? TimingKind::polynomial : TimingKind::model;
    draw_engine_habits(habits, pool.config);
  }
  RandomStream eviction(seed, "eviction");
  for (PoolSpec& pool : scene.fleet.plan.pools) {
    if (eviction.below(3) == 0) {
      pool.config.cache_eviction = static_cast<EvictionKind>(1 + eviction.below(3));
    }
  }
  for (std::size_t i = 0; i < scene.load.requests.size(); ++i) {
    scene.load.priorities.push_back(static_cast<std::int32_t>(habits.below(3)));
  }
  draw_patience(seed, scene.load);
  RandomStream random(seed, "events");
  draw_router(random, scene.fleet.plan.router);
  draw_deployment(random, scene.fleet.plan);
  const std::uint64_t count = random.below(6);
  for (std::uint64_t i = 0; i < count; ++i) {
    scene.faults.schedule.push_back(draw_fault(random, scene.fleet.plan));
  }
  draw_encode_faults(seed, scene.fleet.plan, scene.faults);
  if (random.below(3) == 0) {
    FaultRate rate;
    rate.kind = FaultKind::worker_crash;
    rate.mean_between = ms(15);
    rate.duration = ms(3);
    scene.faults.rates.push_back(rate);
  }
  scene.faults.migration = random.below(4) != 0;
  scene.faults.migration_limit = static_cast<int>(random.below(5));
  scene.faults.retry.attempts = 1 + static_cast<int>(random.below(4));
  scene.faults.retry.backoff = ms(1);
  if (random.below(2) == 0) {
    scene.faults.retry.timeout = ms(2 + static_cast<std::int64_t>(random.below(40)));
  }
  RandomStream tiers(seed, "tiers");
  if (tiers.below(2) == 0) {
    draw_tiers(tiers, scene.fleet.plan, scene.load.concurrency == 0);
    draw_credits(tiers, scene.fleet.plan.router);
  }
  return scene;
}

}  // namespace dyn::sim::test
