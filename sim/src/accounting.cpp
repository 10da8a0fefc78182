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
  }
  std::sort(all.begin(), all.end(),
            [](const GapCount& a, const GapCount& b) { return a.gap < b.gap; });
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

}  // namespace

/// Has every engine report the steps that ended by now within a run of steps in progress.
void Run::settle_all(SimTime end) {
  for (std::uint32_t i = 0; i < fleet_.engines.size(); ++i) {
    fleet_.engines[i].engine.load(end);  // ends them; settle() hands out what they made
    fleet_.engines[i].engine.settle(end, outcome_);
    read_outcome(i);
  }
}

SimulationResult Run::result(SimTime end) {
  settle_all(end);
  SimulationResult out;
  out.events = queue_.popped();
  out.fingerprint = queue_.fingerprint();
  for (const EngineSlot& slot : fleet_.engines) {
    out.engines.push_back(slot.engine.load(end));
    out.steps += static_cast<std::uint64_t>(out.engines.back().steps);
  }
  const std::vector<GapCount> gaps = merged_gaps(fleet_.engines);
  const std::vector<TierBytes> tiers = tiering_.traffic(fleet_);
  release_unfinished(end);
  check_conservation(end);
  keep_sent_records();
  flights_ = {};  // a report of many requests needs the memory
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
  out.records = std::move(records_);
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

/// Takes requests that the end of the run cut off out of engines, routers and links, as a server
/// that shuts down does: both legs of a transfer, whatever its state.
void Run::release_unfinished(SimTime end) {
  for (std::uint32_t i = 0; i < flights_.size(); ++i) {
    const Flight& flight = flights_[i];
    const RequestId id(i);
    const bool holds_prefill =
        flight.stage == Stage::reserving || flight.stage == Stage::transferring;
    if (flight.stage == Stage::prefilling) {
      fleet_.engines[flight.prefill_engine].engine.cancel(id, end);
    } else if (holds_prefill) {
      fleet_.engines[flight.prefill_engine].engine.release_held(id, end);
    }
    if (flight.stage == Stage::prefilling || holds_prefill) {
      pool_of(flight.prefill_engine).router.finished(id);
    }
    if (holds_prefill || flight.stage == Stage::running) {
      fleet_.engines[flight.engine].engine.cancel(id, end);
      pool_of(flight.engine).router.finished(id);
    }
  }
}

/// Every request is accounted for, every block free and every router's book empty.
void Run::check_conservation(SimTime end) {
  for (EngineSlot& slot : fleet_.engines) {
    SimTime at = end;
    slot.engine.advance(at, outcome_);
    while (const std::optional<SimTime> next = slot.engine.next_event()) {
      at = *next;
      slot.engine.advance(at, outcome_);
    }
    outcome_.clear();
    slot.engine.give_up_transfers(at);  // those on their way between tiers
    slot.engine.check_invariants();
    const engine::EngineLoad load = slot.engine.load(at);
    DYN_ASSERT(load.running == 0 && load.waiting == 0, "an engine keeps a request");
    DYN_ASSERT(load.used_blocks == 0, "an engine lost KV blocks");
    DYN_ASSERT(pool_of(static_cast<std::uint32_t>(&slot - fleet_.engines.data()))
                       .router.active_requests(WorkerId(slot.rank)) == 0,
               "a router books a request that is gone");
  }
  for (const engine::DeployedTiers& tiers : tiering_.pools) {
    tiers.check_at_rest();
  }
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
