#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api_error.h"
#include "fleet.h"

namespace dyn::serve {

/// One request on its way through the fleet: routed, run by one worker, or by a prefill and a
/// decode worker with a KV transfer between. Whatever ends it - the last token, a failure, a
/// client that left at any stage - frees what it holds at the workers, in the routers and on the
/// link. Lives on one strand; `on_change` is called there after each change.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(std::shared_ptr<Fleet> fleet, net::any_io_executor strand,
             std::shared_ptr<const Job> job, SimTime sent, std::function<void()> on_change);
  ~Generation();

  std::function<void(Duration)> on_transfer;  ///< told of each KV transfer, for metrics

  /// Routes the request once the frontend's time has passed since it was sent.
  void begin();
  /// Frees everything; no change follows.
  void cancel();
  /// Ends it as failed.
  void fail(ApiError error);

  std::int64_t produced() const { return produced_; }  ///< output tokens so far
  bool finished() const { return finished_; }          ///< in full
  const std::optional<ApiError>& failure() const { return failure_; }
  const std::optional<RelayHead>& head() const { return head_; }
  std::string take_bytes();  ///< relayed bytes that arrived since the last call
  std::int64_t cached_tokens() const { return cached_tokens_; }
  bool placed() const { return !placed_at_.empty(); }  ///< a worker took it
  const std::string& placed_at() const { return placed_at_; }
  const Job& job() const { return *job_; }
  SimTime sent() const { return sent_; }
  SimTime first_token() const { return first_token_; }  ///< valid once produced() > 0
  SimTime last_token() const { return last_token_; }

 private:
  class Sink;
  enum LegName : std::size_t { kEntry, kDecode };
  struct Leg {
    Placement at;
    bool active = false;
    bool held = false;  ///< prefill: KV is held until it is released
  };

  void place_anew();
  void place(LegName name);
  void refused(LegName name, boost::system::error_code why);
  void take_turn(std::size_t pool);
  void watch_hold();
  void leave_queue();
  void on_event(LegName name, std::uint32_t attempt, WorkerEvent event);
  void on(LegName, const Admitted& event);
  void on(LegName name, const Produced& event);
  void on(LegName name, Prefilled& event);
  void on(LegName, const KvWanted& event);
  void on(LegName, const RelayHead& event);
  void on(LegName name, RelayBytes& event);
  void on(LegName name, const RelayEnd&);
  void on(LegName name, const Failed& event);
  void transferred(SimTime began);
  void give_up_transfer();
  void count_tokens(LegName name, std::int64_t produced);
  void release(LegName name, bool worker_is_done);
  void release_all(bool worker_is_done);
  void changed();

  const std::shared_ptr<Fleet> fleet_;
  const net::any_io_executor strand_;
  const std::shared_ptr<const Job> job_;
  const SimTime sent_;
  std::function<void()> on_change_;
  net::steady_timer timer_;                ///< the frontend's time, then that of being held
  std::optional<std::uint64_t> transfer_;  ///< of KV, under way

  std::array<Leg, 2> legs_;
  bool local_ = false;                  ///< the decode worker computes the prompt
  std::optional<std::size_t> held_by_;  ///< the pool whose router holds it back
  bool was_held_ = false;
  std::optional<Prefilled> prefilled_;  ///< set once the prefill worker is done
  std::uint32_t attempt_ = 0;           ///< events of earlier ones are stale
  std::shared_ptr<std::atomic<std::size_t>> unread_;
  std::string placed_at_;
  std::string bytes_;
  std::optional<RelayHead> head_;
  std::optional<ApiError> failure_;
  std::int64_t produced_ = 0;
  std::int64_t output_blocks_ = 0;
  std::int64_t cached_tokens_ = 0;
  bool finished_ = false;
  bool over_ = false;
  SimTime first_token_{};
  SimTime last_token_{};
};

}  // namespace dyn::serve
