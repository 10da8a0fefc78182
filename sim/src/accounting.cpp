// How a run ends: figures first, then proof that nothing was lost on the way.
#include <algorithm>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {
namespace {

/// Counts of equal gaps of all engines together, by gap.
std::vector<GapCount> merged_gaps(const std::vector<EngineSlot>& engines) {
  std::vector<GapCount> all;
  for (const EngineSlot& slot : engines) {
    const std::vector<GapCount> gaps = slot.engine.token_gaps();
    all.insert(all.end(), gaps.begin(), gaps.end());
    all.insert(all.end(), slot.past_gaps.begin(), slot.past_gaps.end());
  }
  const auto shorter = [](const GapCount& a, const GapCount& b) { return a.gap < b.gap; };
  if (!std::is_sorted(all.begin(), all.end(), shorter)) {  // those of one engine are
    std::sort(all.begin(), all.end(), shorter);
  }
  std::size_t last = 0;
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (all[i].gap == all[last].gap) {
      all[last].count += all[i].count;
    } else {
      all[++last] = all[i];
    }
  }
  all.resize(all.empty() ? 0 : last + 1);
  return all;
}

/// How many requests that met every target were sent before a time.
class GoodRequests {
 public:
  GoodRequests(const std::vector<RequestRecord>& records, const Slo& slo) {
    for (const RequestRecord& record : records) {
      if (record.status == RequestStatus::completed && meets(record, slo)) {
        sent_.push_back(record.sent);
      }
    }
    std::sort(sent_.begin(), sent_.end());
  }
  /// Requests/s of those sent in [from, to).
  double rate(SimTime from, SimTime to) const {
    from = std::max(from, SimTime(Duration{0}));
    return to <= from ? 0 : static_cast<double>(before(to) - before(from)) / to_seconds(to - from);
  }

 private:
  std::ptrdiff_t before(SimTime time) const {
    return std::lower_bound(sent_.begin(), sent_.end(), time) - sent_.begin();
  }
  std::vector<SimTime> sent_;
};

/// Adds a figure that is of the fleet rather than of requests.
void add(Report& report, std::string tag, std::string header, std::string unit, double value) {
  Metric metric;
  metric.tag = std::move(tag);
  metric.header = std::move(header);
  metric.unit = std::move(unit);
  metric.avg = value;
  report.metrics.push_back(std::move(metric));
}

void add(Report& report, std::string tag, std::string header, std::string unit,
         std::int64_t count) {
  add(report, std::move(tag), std::move(header), std::move(unit), static_cast<double>(count));
}

}  // namespace

/// Has every engine report the steps that ended by now within a run of steps in progress.
void Run::settle_all(SimTime end) {
  for (std::uint32_t i = 0; i < fleet_.engines.size(); ++i) {
    fleet_.engines[i].engine.load(end);  // ends them; settle() hands out what they made
    engine::Outcome& outcome = begin_reading();
    fleet_.engines[i].engine.settle(end, outcome);
    finish_reading(i, outcome);
  }
  // Whatever step would begin at the very end begins, as it does where each step is an event.
  for (std::uint32_t i = 0; i < fleet_.engines.size(); ++i) {
    engine::Outcome& outcome = begin_reading();
    fleet_.engines[i].engine.advance(end, outcome);
    finish_reading(i, outcome);
  }
}

SimulationResult Run::result(SimTime end) {
  settle_all(end);
  SimulationResult out;
  out.events = queue_.popped();
  out.fingerprint = queue_.fingerprint();
  for (const EngineSlot& slot : fleet_.engines) {
    out.engines.push_back(slot.engine.load(end));
    out.engines.back().steps += slot.past_steps;
    out.engines.back().preemptions += slot.past_preemptions;
    out.steps += static_cast<std::uint64_t>(out.engines.back().steps);
  }
  policy::AdapterUse adapters;
  for (const EngineSlot& slot : fleet_.engines) {
    adapters += slot.past_adapters;
    adapters += slot.engine.adapter_use();
  }
  const std::vector<GapCount> gaps = merged_gaps(fleet_.engines);
  const std::vector<TierBytes> tiers = tiering_.traffic(fleet_);
  release_unfinished();
  check_conservation(end);
  keep_sent_records();
  flights_ = {};  // a report of many requests needs the memory
  finish_history(end);
  ReportOptions options;
  options.slo = spec_.plan->slo;
  options.gpus = spec_.plan->gpus();
  options.gaps = gaps;
  options.tiers = tiers;
  std::vector<ReportClass> classes;
  for (const RequestClass& one : workload_.classes) {
    classes.push_back({one.name, one.slo});
  }
  options.classes = classes;
  out.report = make_report(records_, options);
  out.report.energy = energy(end);
  finish_timeline(end, out);
  out.report.fingerprint = out.fingerprint;
  add_fleet_metrics(end, out.report);
  add_adapter_metrics(adapters, out.report);
  add_image_metrics(end, out.report);
  out.records = std::move(records_);
  out.fleet = std::move(history_);
  return out;
}

/// Those that were never sent have no record.
void Run::keep_sent_records() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < flights_.size(); ++i) {
    if (flights_[i].stage != Stage::unsent) {
      records_[kept] = records_[i];
      kept += 1;
    }
  }
  records_.resize(kept);
}

/// What a fleet that changes adds to a report.
void Run::add_fleet_metrics(SimTime end, Report& report) const {
  const bool scaled = plan_.autoscaler.kind != AutoscalerKind::off;
  if (scaled || !faults_.empty()) {
    double hours = encode_hours(end);
    int turns = 0;
    for (const PoolHistory& pool : history_.pools) {
      hours += pool.gpu_hours;
      turns += pool.direction_changes;
    }
    add(report, "gpu_hours", "GPU Hours", "hours", hours);
    if (scaled) {
      add(report, "scaling_direction_changes", "Scaling Direction Changes", "count",
          std::int64_t{turns});
    }
  }
  if (!faults_.empty()) {
    add(report, "faults", "Faults", "count", static_cast<std::int64_t>(history_.faults.size()));
    add(report, "migrations", "Request Migrations", "count", history_.migrations);
    add(report, "retries", "Client Retries", "count", history_.retries);
    add(report, "lost_tokens", "Tokens Computed in Vain", "tokens", history_.lost_tokens);
  }
  if (!workload_.patience.empty()) {
    add(report, "cancelled_request_count", "Cancelled Requests", "requests",
        history_.cancellations);
    add(report, "abandoned_tokens", "Tokens Computed for Clients That Left", "tokens",
        history_.abandoned_tokens);
  }
}

/// What engines with LoRA slots add to a report.
void Run::add_adapter_metrics(const policy::AdapterUse& use, Report& report) const {
  if (std::none_of(plan_.pools.begin(), plan_.pools.end(),
                   [](const PoolSpec& pool) { return pool.config.lora.has_value(); })) {
    return;
  }
  const std::int64_t loads = use.host_loads + use.storage_loads;
  if (use.uses > 0) {
    const double share = static_cast<double>(use.uses - loads) / static_cast<double>(use.uses);
    add(report, "adapter_hit_rate", "Adapter Hit Rate", "ratio", share);
  }
  add(report, "adapter_host_loads", "Adapter Loads, Host Memory", "count", use.host_loads);
  add(report, "adapter_storage_loads", "Adapter Loads, Storage", "count", use.storage_loads);
  add(report, "adapter_load_time", "Adapter Load Time", "ms", to_seconds(use.load_time) * 1000);
}

/// What an encode pool adds to a report.
void Run::add_image_metrics(SimTime end, Report& report) const {
  if (encoders_.empty()) {
    return;
  }
  engine::EncoderUse use = past_encoding_;
  for (const engine::Encoder& encoder : encoders_) {
    use += encoder.use(end);
  }
  add(report, "images", "Images", "count", use.images);
  if (use.images > 0) {
    const double found =
        static_cast<double>(use.images - use.encoded) / static_cast<double>(use.images);
    add(report, "image_reuse_rate", "Images Not Encoded Again", "ratio", found);
  }
  if (end > SimTime{}) {
    const double all = to_seconds(end - SimTime{}) * static_cast<double>(encoders_.size());
    add(report, "encoder_utilization", "Encode Worker Utilization", "ratio",
        to_seconds(use.busy) / all);
  }
}

void Run::finish_history(SimTime end) {
  for (std::size_t i = 0; i < fleet_.pools.size(); ++i) {
    const Pool& pool = fleet_.pools[i];
    for (const WorkerSlot& worker : pool.workers) {
      if (costs(worker)) {
        history_.pools[i].gpu_hours +=
            to_seconds(end - worker.paid_since) / 3600 * pool.gpus_per_worker;
      }
    }
  }
  if (history_.faults.empty()) {
    return;
  }
  const GoodRequests good(records_, plan_.slo);
  for (FaultImpact& impact : history_.faults) {
    const Duration lasted =
        std::max<Duration>(std::min(impact.until, end) - impact.at, std::chrono::seconds(1));
    impact.goodput_before = good.rate(impact.at - lasted, impact.at);
    impact.goodput_during = good.rate(impact.at, std::min(impact.at + lasted, end));
  }
}

/// Takes requests that the end of the run cut off out of engines, routers and links, as a server
/// that shuts down does, whatever their state.
void Run::release_unfinished() {
  for (std::uint32_t i = 0; i < flights_.size(); ++i) {
    if (flights_[i].stage != Stage::unsent && flights_[i].stage != Stage::done) {
      withdraw(i);
    }
  }
  for (Pool& pool : fleet_.pools) {
    for (WorkerSlot& worker : pool.workers) {
      stop_loading(worker);
    }
    read_mail(pool, SimTime::max());
  }
}

/// Every request is accounted for, every block free, every router's book empty and nothing on its
/// way over the network.
void Run::check_conservation(SimTime end) {
  engine::Outcome outcome;
  for (EngineSlot& slot : fleet_.engines) {
    SimTime at = end;
    slot.engine.advance(at, outcome);
    while (const std::optional<SimTime> next = slot.engine.next_event()) {
      at = *next;
      slot.engine.advance(at, outcome);
    }
    outcome.clear();
    slot.engine.give_up_transfers(at);  // those on their way between tiers
    slot.engine.check_invariants();
    const engine::EngineLoad load = slot.engine.load(at);
    DYN_ASSERT(load.running == 0 && load.waiting == 0, "an engine keeps a request");
    DYN_ASSERT(load.used_blocks == 0, "an engine lost KV blocks");
    DYN_ASSERT(slot.guests == 0 && slot.decoding.empty(), "an engine's guests are miscounted");
    for (const policy::Router& router : fleet_.pools[slot.pool].routers) {
      DYN_ASSERT(router.active_requests(WorkerId(slot.rank)) == 0,
                 "a router books a request that is gone");
    }
  }
  for (const Pool& pool : fleet_.pools) {
    DYN_ASSERT(pool.queue.empty() && pool.queued_tokens == 0, "a router holds a request for ever");
  }
  for (const engine::DeployedTiers& tiers : tiering_.pools) {
    tiers.check_at_rest();
  }
  for (const engine::Encoder& encoder : encoders_) {
    encoder.check_idle();
  }
  DYN_ASSERT(network_.transfers() == 0 || !plan_.kv_tiers.empty(),
             "something is on its way to nobody");
  for (std::size_t i = 0; i < flights_.size(); ++i) {
    const RequestRecord& record = records_[i];
    if (flights_[i].stage == Stage::unsent) {
      continue;
    }
    const bool over = flights_[i].stage == Stage::done;
    DYN_ASSERT(over == (record.status != RequestStatus::unfinished), "a request is lost");
    DYN_ASSERT(
        record.status != RequestStatus::completed ||
            (record.output_tokens == workload_.requests[i].output_tokens &&
             record.sent <= record.first_scheduled && record.first_scheduled < record.first_token &&
             record.first_token <= record.finished),
        "a completed request has all its tokens, in order of time");
  }
}

}  // namespace dyn::sim
