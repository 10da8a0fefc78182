#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <vector>

#include "dyn/engine/engine.h"

namespace dyn::test {

/// Times a step by its sums, so that any difference in a batch shows in all later times.
class SumTimer final : public perf::StepTimer {
 public:
  Duration step_time(const perf::StepBatch& b) const noexcept override {
    const std::int64_t units = 2 + b.decode_sequences + b.prefill_tokens / 3 +
                               b.prefill_context / 7 + b.prefill_square / 64 +
                               b.prefill_cross / 50 + b.decode_context / 16 + b.sampled;
    return std::chrono::microseconds(units);
  }
};

/// What is done to an engine at a given time.
struct Command {
  enum class Kind {
    submit,
    cancel,
    kv_received,
    release_held,
    look,
    transfer_done,
    give_up
  } kind = Kind::look;
  std::int64_t at = 0;  ///< microseconds
  std::uint32_t id = 0;
  bool operator<(const Command& other) const {
    return std::tie(at, kind, id) < std::tie(other.at, other.kind, other.id);
  }
};

struct TestRequest {
  engine::EngineRequest spec;
  std::vector<kvbm::BlockHash> hashes;
  std::int64_t reply_delay = 1;  ///< microseconds to kv_received or release_held
};

/// Everything that can be seen of a run and must not depend on the stepping.
struct Seen {
  std::vector<std::tuple<std::uint32_t, std::int64_t, std::int64_t>> admitted;
  /// First, second and last token: (id, produced, finished) -> time.
  std::map<std::tuple<std::uint32_t, std::int64_t, bool>, std::int64_t> tokens;
  std::vector<std::uint32_t> preempted;
  std::vector<std::pair<std::uint32_t, std::int64_t>> prefilled;
  std::map<std::uint32_t, std::int64_t> wanted;  ///< tokens to transfer
  std::vector<std::pair<int, std::uint64_t>> kv_events;
  /// Transfers between tiers: (from, to, bytes) and when they began.
  std::vector<std::tuple<int, int, std::int64_t, std::int64_t>> transfers;
  /// Tokens that admitted requests have from tiers, and their waits.
  std::vector<std::pair<std::array<std::int64_t, 3>, std::int64_t>> tiers;
  std::vector<std::vector<std::int64_t>> looks;
  std::vector<std::pair<std::int64_t, std::int64_t>> gaps;
  std::int64_t end = 0;
  std::int64_t events = 0;  ///< engine events that the driver handled; may differ
};

/// Drives one engine through the commands. `engine_first`: who goes first at equal times.
class Driver {
 public:
  Driver(const engine::EngineOptions& options, std::vector<TestRequest>& requests,
         std::set<Command> commands, bool engine_first)
      : engine_(options, std::make_shared<SumTimer>()),
        requests_(requests),
        commands_(std::move(commands)),
        engine_first_(engine_first) {}

  Seen run() {
    for (;;) {
      const auto due = engine_.next_event();
      if (commands_.empty() && !due) {
        break;
      }
      const std::int64_t engine_at = due ? due->time_since_epoch().count() / 1000 : kNever;
      const std::int64_t command_at = commands_.empty() ? kNever : commands_.begin()->at;
      const std::int64_t now = std::min(engine_at, command_at);
      seen_.events += engine_at == now ? 1 : 0;
      if (engine_first_) {
        read([&] { engine_.settle(time(now), outcome_); }, now);
      }
      while (!commands_.empty() && commands_.begin()->at == now) {
        const Command command = *commands_.begin();
        commands_.erase(commands_.begin());
        apply(command);
      }
      read([&] { engine_.advance(time(now), outcome_); }, now);
      engine_.check_invariants();
      seen_.end = now;
    }
    for (const GapCount& gap : engine_.token_gaps()) {
      seen_.gaps.emplace_back(gap.gap.count(), gap.count);
    }
    return seen_;
  }

 private:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  static SimTime time(std::int64_t us) { return SimTime(std::chrono::microseconds(us)); }

  void apply(const Command& command) {
    const SimTime now = time(command.at);
    const RequestId id(command.id);
    switch (command.kind) {
      case Command::Kind::submit:
        if (!engine_.why_impossible(requests_[command.id].spec)) {
          engine_.submit(requests_[command.id].spec, now);
        }
        break;
      case Command::Kind::cancel:
        engine_.cancel(id, now);
        break;
      case Command::Kind::kv_received:
        engine_.kv_received(id, now);
        break;
      case Command::Kind::release_held:
        engine_.release_held(id, now);
        break;
      case Command::Kind::look:
        look(command.at);
        break;
      case Command::Kind::transfer_done:
        engine_.transfer_done(kvbm::TierTransferId(command.id), now);
        break;
      case Command::Kind::give_up:
        engine_.give_up_transfers(now);
        break;
    }
  }

  void look(std::int64_t at) {
    const engine::EngineLoad load = engine_.load(time(at));
    read([&] { engine_.settle(time(at), outcome_); }, at);
    seen_.looks.push_back({at, load.running, load.waiting, load.used_blocks, load.cached_blocks,
                           load.steps, load.preemptions, engine_.adapter_use().load_time.count(),
                           static_cast<std::int64_t>(seen_.kv_events.size())});
  }

  /// Calls the engine and notes what it hands out.
  template <class Call>
  void read(Call call, std::int64_t at) {
    outcome_.clear();
    call();
    for (const auto& a : outcome_.admitted) {
      seen_.admitted.emplace_back(a.id.value(), a.at.time_since_epoch().count(), a.cached_tokens);
      seen_.tiers.emplace_back(a.tier_tokens, a.load_time.count());
    }
    for (const auto& t : outcome_.tokens) {
      if (t.produced <= 2 || t.finished) {
        const auto key = std::make_tuple(t.id.value(), t.produced, t.finished);
        const bool once = seen_.tokens.emplace(key, t.at.time_since_epoch().count()).second;
        DYN_ASSERT(once, "a token is reported twice");
      }
    }
    for (const RequestId id : outcome_.preempted) {
      seen_.preempted.push_back(id.value());
    }
    for (const RequestId id : outcome_.prefilled) {
      seen_.prefilled.emplace_back(id.value(), at);
      answer(Command::Kind::release_held, id, at);
    }
    for (const RequestId id : outcome_.kv_wanted) {
      // A call may cancel the request in the instant in which it was reserved for.
      if (engine_.tokens_wanted(id) > 0) {
        seen_.wanted[id.value()] = engine_.tokens_wanted(id);
      }
      answer(Command::Kind::kv_received, id, at);
    }
    for (const kvbm::TierTransfer& t : outcome_.tier_transfers) {
      seen_.transfers.emplace_back(t.from, t.to, t.bytes.count(), at);
      const std::int64_t time = 1 + 10 * (t.from + t.to) + t.bytes.count() / 1000;
      commands_.insert({Command::Kind::transfer_done, at + time, t.id.value()});
    }
    for (const kvbm::KvEvent& event : outcome_.kv_events) {
      // One entry a block: how many an event tells of may depend on the stepping.
      const bool stored = event.kind == kvbm::KvEvent::Kind::stored;
      for (std::uint32_t i = 0; i < event.count; ++i) {
        const std::uint32_t block = event.first + (stored ? i : event.count - 1 - i);
        seen_.kv_events.emplace_back(
            static_cast<int>(event.kind),
            static_cast<std::uint64_t>(kvbm::nth_block(event.hash, block)));
      }
    }
  }

  void answer(Command::Kind kind, RequestId id, std::int64_t at) {
    commands_.insert({kind, at + requests_[id.value()].reply_delay, id.value()});
  }

  engine::Engine engine_;
  std::vector<TestRequest>& requests_;
  std::set<Command> commands_;
  bool engine_first_;
  engine::Outcome outcome_;
  Seen seen_;
};

}  // namespace dyn::test
