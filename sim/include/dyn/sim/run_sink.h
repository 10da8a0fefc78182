#pragma once

#include <array>
#include <cstdint>

#include "dyn/core/quantity.h"
#include "dyn/engine/engine.h"

namespace dyn::sim {

/// What happens to a request, in the order in which it does.
enum class Mark : std::uint8_t {
  sent,       ///< by the client
  delivered,  ///< the frontend is done with it
  encoding,   ///< queued at an encode worker
  encoded,    ///< by it
  routed,     ///< queued at an engine
  embedding,  ///< the embeddings of its images set out for the engine, which waits for them
  embedded,   ///< and are there
  scheduled,  ///< first time in a batch
  preempted,
  prefilled,       ///< its prompt is computed at a prefill engine
  transfer_begun,  ///< the decode engine has room; its KV sets out
  transfer_done,
  first_token,
  finished,  ///< last token
  left,      ///< it ended otherwise
};

/// What a router that looks below devices knew of the worker it chose: a prompt's tokens there.
struct RouterView {
  std::int64_t device = 0;
  std::array<std::int64_t, 3>
      tiers{};  ///< behind them in host memory, on disk, in the object store
};

/// Is told of everything in a run, as it happens. A run without one pays a branch an event.
class RunSink {
 public:
  virtual ~RunSink() = default;
  /// `engine`: index over all pools, -1 where none is concerned. `value`: scheduled: prompt tokens
  /// found cached; finished: output tokens.
  virtual void on_mark(Mark mark, std::uint32_t request, SimTime at, std::int32_t engine,
                       std::int64_t value) = 0;
  /// The router of a pool with tiers has chosen; `routed` follows.
  virtual void on_choice(std::uint32_t /*request*/, const RouterView& /*view*/) {}
  /// A step, or in fast-forward a run of steps, that begins with this load.
  virtual void on_step(std::uint32_t engine, SimTime begin, SimTime end,
                       const engine::EngineLoad& load) = 0;

 protected:
  RunSink() = default;
  RunSink(const RunSink&) = default;
  RunSink& operator=(const RunSink&) = default;
};

}  // namespace dyn::sim
