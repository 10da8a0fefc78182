// What is watched of a run beside its requests: steps, how busy the pools are, the energy.
#include <algorithm>
#include <cmath>

#include "dyn/core/math.h"
#include "dyn/perf/given_timing.h"
#include "run.h"

namespace dyn::sim {
namespace {

// Power of a GPU as a share of its limit. Sources: with one sequence an H100 draws 300 W of 700 W,
// with 128 it draws 600 W (ML.ENERGY benchmark 3.0, Chung et al., arXiv:2601.22076, as the power
// model of vLLM's semantic router quotes it), between them by the logarithm of the batch. Idle,
// with a CUDA context, an H100 has 26 to 50 W more than its bare 70 W (arXiv:2605.23918), an H200
// 80 W.
constexpr double kIdle = 0.14, kIdleLow = 0.10, kIdleHigh = 0.20;
constexpr double kOneSequence = 300.0 / 700.0;
constexpr double kFullBatch = 600.0 / 700.0;
constexpr double kFullBatchLog2 = 7;  ///< 128 sequences
/// Runs of different models at one batch size differ by so much about that line: H100s with batches
/// of 1 to 128 of eight models draw 267 to 680 W.
constexpr double kBusySpread = 0.15;

const char* role_text(WorkerRole role) {
  return role == WorkerRole::prefill  ? "prefill"
         : role == WorkerRole::decode ? "decode"
                                      : "aggregated";
}

/// What pools draw, in J.
void add_pool(Estimate& sum, double watts, double gpus, double busy, double idle,
              double sequences) {
  const double batch =
      std::clamp(portable_log2(std::max(sequences, 1.0)) / kFullBatchLog2, 0.0, 1.0);
  const double share = kOneSequence + (kFullBatch - kOneSequence) * batch;
  sum.value += gpus * watts * (busy * share + idle * kIdle);
  sum.low += gpus * watts * (busy * share * (1 - kBusySpread) + idle * kIdleLow);
  sum.high += gpus * watts * (busy * std::min(1.0, share * (1 + kBusySpread)) + idle * kIdleHigh);
}

}  // namespace

/// Tells the sink what a router that looks below devices knew of the worker it chose.
void Run::note_choice(std::uint32_t request, std::uint32_t pool_index,
                      const policy::RouteChoice& choice) {
  const Pool& pool = fleet_.pools[pool_index];
  if (spec_.sink == nullptr || pool.router_options.tiers.empty()) {
    return;
  }
  const engine::DeployedTiers& tiers = tiering_.pools[pool_index];
  RouterView view;
  view.device = std::int64_t{choice.cached_blocks} * pool.block_size;
  for (std::uint8_t level = 1; level <= tiers.levels(); ++level) {
    view.tiers[tiers.kind(level)] = std::int64_t{choice.tier_blocks[level - 1]} * pool.block_size;
  }
  spec_.sink->on_choice(request, view);
}

/// Keeps the time that an engine computes, and tells the sink of a step that begins.
void Run::note_step(std::uint32_t engine, SimTime next) {
  EngineSlot& slot = fleet_.engines[engine];
  if (next == SimTime::max()) {
    if (slot.busy_since != SimTime::max()) {
      slot.busy += now_ - slot.busy_since;
      slot.busy_since = SimTime::max();
    }
  } else if (slot.busy_since == SimTime::max()) {
    slot.busy_since = now_;
  }
  if (spec_.sink != nullptr && next != SimTime::max() && next != slot.step_told) {
    slot.step_told = next;
    spec_.sink->on_step(engine, now_, next, slot.engine.load(now_));
  }
}

void Run::start_timeline() {
  constexpr Duration kFirst = std::chrono::milliseconds(100);
  timeline_.interval = kFirst;
  for (const Pool& pool : fleet_.pools) {
    timeline_.pools.emplace_back(role_text(pool.role));
    timeline_.points.emplace_back();
  }
  if (!encoders_.empty()) {
    timeline_.pools.emplace_back("encode");
    timeline_.points.emplace_back();
  }
  next_sample_ = SimTime{};
}

/// Looks at the engines at each sample that is due by `upto`, an event's time.
void Run::sample(SimTime upto) {
  while (next_sample_ <= upto) {
    if (timeline_.points[0].size() >= std::max<std::size_t>(spec_.timeline_points, 2)) {
      for (std::vector<TimelinePoint>& points : timeline_.points) {
        for (std::size_t i = 0; 2 * i < points.size(); ++i) {
          points[i] = points[2 * i];
        }
        points.resize((points.size() + 1) / 2);
      }
      timeline_.interval *= 2;
      next_sample_ =
          SimTime(timeline_.interval * static_cast<std::int64_t>(timeline_.points[0].size()));
      continue;
    }
    for (std::size_t i = 0; i < fleet_.pools.size(); ++i) {
      const Pool& pool = fleet_.pools[i];
      TimelinePoint point;
      std::int64_t used = 0, total = 0;
      for (std::uint32_t e = 0; e < pool.engines; ++e) {
        const engine::EngineUse use =
            fleet_.engines[pool.first_engine + e].engine.use(next_sample_);
        point.running += use.running;
        point.waiting += use.waiting;
        used += use.used_blocks;
        total += use.total_blocks;
      }
      point.kv_use = total > 0 ? static_cast<double>(used) / static_cast<double>(total) : 0;
      timeline_.points[i].push_back(point);
    }
    if (!encoders_.empty()) {
      TimelinePoint images;
      for (const engine::Encoder& encoder : encoders_) {
        images.running += static_cast<std::int32_t>(encoder.encoding());
        images.waiting += static_cast<std::int32_t>(encoder.waiting());
      }
      timeline_.points.back().push_back(images);
    }
    next_sample_ += timeline_.interval;
  }
}

void Run::finish_timeline(SimTime end, SimulationResult& result) {
  if (spec_.timeline_points == 0) {
    return;
  }
  static_cast<void>(end);
  add_tokens(records_, entry_pool_, disaggregated_ ? decode_pool_ : entry_pool_, timeline_);
  result.timeline = std::move(timeline_);
}

/// Of all GPUs from the first send to `end`; none where a pool's device has no known power.
std::optional<Estimate> Run::energy(SimTime end) {
  Estimate sum;
  sum.provenance = Provenance::specification;
  SimTime begin = end;
  std::vector<double> sequence_seconds(fleet_.pools.size());  // by pool, of requests in batches
  for (const RequestRecord& record : records_) {
    begin = std::min(begin, record.sent);
    if (record.status == RequestStatus::completed) {
      sequence_seconds.back() +=
          to_seconds(record.finished -
                     (record.prefill_worker >= 0 ? record.first_token : record.first_scheduled));
    }
  }
  for (std::size_t i = 0; i < fleet_.pools.size(); ++i) {
    const Pool& pool = fleet_.pools[i];
    const PoolSpec& spec = spec_.plan->pools[i];
    const double watts = perf::profile_of(plan_, spec).device.power.count();
    if (!(watts > 0)) {
      return std::nullopt;
    }
    double busy = 0;
    for (std::uint32_t e = 0; e < pool.engines; ++e) {
      const EngineSlot& slot = fleet_.engines[pool.first_engine + e];
      busy += to_seconds(slot.busy);
      busy += slot.busy_since < end ? to_seconds(end - slot.busy_since) : 0;
    }
    const bool scaled = plan_.autoscaler.kind != AutoscalerKind::off;
    const double all =
        scaled ? history_.pools[i].gpu_hours * 3600 * pool.ranks_per_worker / pool.gpus_per_worker
               : to_seconds(end - begin) * pool.engines;
    // Prompts keep a GPU as busy as a full batch.
    const double sequences = pool.role == WorkerRole::prefill ? 128
                             : busy > 0                       ? sequence_seconds[i] / busy
                                                              : 1;
    add_pool(sum, watts, static_cast<double>(spec.layout.gpus()) / spec.layout.data, busy,
             std::max(0.0, all - busy), sequences);
  }
  for (const engine::Encoder& encoder : encoders_) {
    const double watts = perf::profile_of(plan_, *plan_.encode).device.power.count();
    if (!(watts > 0)) {
      return std::nullopt;
    }
    const double busy = to_seconds(encoder.use(end).busy);  // as with prompts
    add_pool(sum, watts, plan_.encode->tensor, busy, std::max(0.0, to_seconds(end - begin) - busy),
             128);
  }
  return sum;
}

}  // namespace dyn::sim
