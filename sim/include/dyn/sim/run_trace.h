#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/plan.h"
#include "dyn/sim/run_sink.h"

namespace dyn::sim {

/// A run as a Chrome JSON trace, which Perfetto and chrome://tracing show: a process a pool, in it
/// a thread an engine with its steps as slices, and counters of running and waiting requests and of
/// KV blocks in use; a process with each request's phases (frontend, queue, prefill, transfer,
/// decode) as nested slices. Times in microseconds. Keeps the first `max_events`, 200 bytes each at
/// most, and says in the trace how many it left out.
class PerfettoTrace final : public RunSink {
 public:
  explicit PerfettoTrace(const Plan& plan, std::size_t max_events = 1'000'000);
  void on_mark(Mark mark, std::uint32_t request, SimTime at, std::int32_t engine,
               std::int64_t value) override;
  void on_step(std::uint32_t engine, SimTime begin, SimTime end,
               const engine::EngineLoad& load) override;

  std::size_t left_out() const { return left_out_; }
  /// The whole trace; empties it.
  std::string take();

 private:
  struct Place {
    int pool = 0;
    int engine = 0;  ///< within the pool
  };
  void add(std::string event);
  void phase(std::uint32_t request, const char* name, SimTime from, SimTime to);

  std::size_t max_events_;
  std::size_t events_ = 0;
  std::size_t left_out_ = 0;
  std::vector<Place> places_;   ///< by engine
  std::vector<SimTime> phase_;  ///< by request: when its phase began
  std::string text_;
};

/// Where one request's time went. Phases follow each other from its send to its end, so that they
/// add up to its latency.
struct Explanation {
  enum class Phase : std::uint8_t {
    frontend,      ///< from the send to the router
    router_queue,  ///< until an engine was chosen
    encode,        ///< until its images were encoded, and their embeddings at that engine
    engine_queue,  ///< until it was first in a batch
    prefill,       ///< until its prompt was computed
    decode_queue,  ///< disaggregated: until the decode engine had room
    transfer,      ///< until its KV was there
    decode_start,  ///< disaggregated: until its first token
    decode,        ///< until its last token
    unfinished,    ///< until it left otherwise, or the run ended
  };
  static constexpr std::size_t kPhases = 10;

  std::uint32_t request = 0;
  bool found = false;  ///< it was sent
  bool completed = false;
  SimTime sent{};
  SimTime ended{};
  std::array<Duration, kPhases> phases{};
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::optional<RouterView> router_view;  ///< of who computes its prompt
  std::int32_t prefill_engine = -1;       ///< index over all pools
  std::int32_t engine = -1;
  std::vector<SimTime> preemptions;

  Duration total() const { return ended - sent; }
};

/// Follows one request through a run.
class Explainer final : public RunSink {
 public:
  explicit Explainer(std::uint32_t request) { out_.request = request; }
  void on_mark(Mark mark, std::uint32_t request, SimTime at, std::int32_t engine,
               std::int64_t value) override;
  void on_choice(std::uint32_t request, const RouterView& view) override;
  void on_step(std::uint32_t, SimTime, SimTime, const engine::EngineLoad&) override {}

  /// `end`: of the run, for a request that is still in it.
  Explanation result(SimTime end) const;

 private:
  void enter(Explanation::Phase next, SimTime at);

  Explanation out_;
  Explanation::Phase phase_ = Explanation::Phase::frontend;
  SimTime since_{};
};

/// For people: a line a phase with its share.
std::string to_text(const Explanation& explanation);
/// Schema dyn.explanation/1: times in ns, which add up to request_latency_ns.
std::string to_json(const Explanation& explanation);

}  // namespace dyn::sim
