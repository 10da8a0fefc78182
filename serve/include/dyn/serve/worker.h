#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/engine/engine.h"
#include "dyn/kvbm/block_hash.h"

namespace dyn::serve {

/// What a worker needs to know of one request. Shared and immutable; a worker keeps it for as
/// long as it works on it.
struct Job {
  RequestId id;
  std::int64_t prompt_tokens = 1;       ///< >= 1
  std::int64_t max_output_tokens = 1;   ///< >= 1
  int priority = 0;                     ///< more is more urgent
  std::uint64_t session = 0;            ///< requests of one conversation share it; 0: none
  std::vector<kvbm::BlockHash> blocks;  ///< full blocks of the prompt
  // The request as it came, for workers that hand it on to an engine with an HTTP interface.
  std::string target;  ///< such as /v1/chat/completions
  std::string body;
  std::string authorization;  ///< the client's header, or empty
  std::string request_id;     ///< the X-Request-Id that both engines of a hand-over get
  bool stream = false;
};

// What a worker reports about a request, in the order in which it happens.

/// It entered a batch for the first time; so many prompt tokens were found in the cache.
struct Admitted {
  std::int64_t cached_tokens = 0;
};
/// So many output tokens exist by now.
struct Produced {
  std::int64_t tokens = 0;
  bool finished = false;
};
/// Prefill role: the prompt's KV is ready and held until release_held.
struct Prefilled {
  /// What the decode worker's engine needs to fetch it, as JSON. Empty: the KV comes by
  /// kv_received, or, where workers are real engines, not at all.
  std::string kv_transfer;
};
/// Decode role: the destination is reserved, the transfer of the KV of so many tokens may begin
/// (the prompt's, less what is in the cache there).
struct KvWanted {
  std::int64_t tokens = 0;
};
/// An HTTP answer begins whose bytes are to be passed on as they are.
struct RelayHead {
  int status = 200;
  std::string content_type;
};
struct RelayBytes {
  std::string bytes;
  std::int64_t tokens = 0;         ///< completion tokens so far, as far as it can be told
  std::int64_t cached_tokens = 0;  ///< 0 until the engine says
};
struct RelayEnd {};
/// The worker gave up. Nothing follows.
struct Failed {
  int status = 502;
  std::string code;
  std::string message;
  bool retry_elsewhere = false;  ///< the engine never saw the request
};

using WorkerEvent =
    std::variant<Admitted, Produced, Prefilled, KvWanted, RelayHead, RelayBytes, RelayEnd, Failed>;

/// Where a worker delivers the events of one request. Called from any thread; never blocks.
class EventSink {
 public:
  virtual ~EventSink() = default;
  /// False: the reader is behind. Relayed bytes should pause until `Worker::resume`.
  virtual bool deliver(WorkerEvent event) = 0;
};

/// What a worker tells its fleet on its own account. Called from any thread.
struct WorkerListener {
  std::function<void(std::span<const kvbm::KvEvent>)> kv_events;
  std::function<void(bool available)> available;
};

/// One engine replica: simulated here, a running HTTP engine, or one day a remote process. Every
/// operation returns at once; what comes of it arrives at the sink. After `cancel` the sink may
/// still see events that were under way. Thread-safe.
class Worker {
 public:
  virtual ~Worker() = default;

  /// Starts a request in the worker's role. `prefilled`: what its prefill worker reported, where
  /// there is one.
  virtual void start(std::shared_ptr<const Job> job, std::optional<Prefilled> prefilled,
                     std::shared_ptr<EventSink> sink) = 0;
  /// Frees whatever the request holds here. Unknown ids are ignored.
  virtual void cancel(RequestId id) = 0;
  virtual void kv_received(RequestId) {}
  virtual void release_held(RequestId) {}
  /// The reader of this request has caught up.
  virtual void resume(RequestId) {}

  virtual engine::EngineLoad load() const = 0;
  /// Ends all work and timers; the sinks of running requests see Failed.
  virtual void stop() = 0;
};

}  // namespace dyn::serve
