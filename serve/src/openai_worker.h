#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cache_guess.h"
#include "dyn/core/plan.h"
#include "dyn/serve/worker.h"
#include "http_text.h"
#include "net.h"
#include "task_group.h"

namespace dyn::serve {

/// A worker that is a running OpenAI-compatible server: sends it the request's body unchanged and
/// passes its answer on byte by byte. One connection a request. An engine that refuses, breaks off
/// or goes silent is reported as not available until its /health answers 200 again.
/// In the prefill role it asks for one token, with the KV kept for the decode engine, and reports
/// Prefilled; an engine's refusal is passed on as any answer. In the decode role it tells the
/// engine where that KV is (see handover.h).
class OpenAiWorker final : public Worker, public std::enable_shared_from_this<OpenAiWorker> {
 public:
  /// `cache_blocks` bounds the guess at what its prefix cache holds.
  OpenAiWorker(net::any_io_executor executor, WorkerRole role, Url url, EngineTarget target,
               std::size_t cache_blocks, Duration probe_interval, WorkerListener listener);
  ~OpenAiWorker() override;

  void start(std::shared_ptr<const Job> job, std::optional<Prefilled> prefilled,
             std::shared_ptr<EventSink> sink) override;
  void cancel(RequestId id) override;
  void resume(RequestId id) override;
  engine::EngineLoad load() const override;
  void stop() override;

 private:
  struct Call;
  struct Connection;

  // Arguments by value: a coroutine outlives what its caller holds.
  static net::awaitable<void> relay(std::shared_ptr<OpenAiWorker> self, std::shared_ptr<Call> call);
  static net::awaitable<bool> connect(std::shared_ptr<Connection> connection, Url url,
                                      Duration limit);
  static net::awaitable<void> converse(std::shared_ptr<OpenAiWorker> self,
                                       std::shared_ptr<Call> call);
  static net::awaitable<void> pass_on(std::shared_ptr<OpenAiWorker> self,
                                      std::shared_ptr<Call> call, Duration first);
  static net::awaitable<void> read_prefilled(std::shared_ptr<OpenAiWorker> self,
                                             std::shared_ptr<Call> call);
  static net::awaitable<void> probe(std::shared_ptr<OpenAiWorker> self,
                                    std::shared_ptr<Connection> connection);
  static net::awaitable<bool> healthy(std::shared_ptr<OpenAiWorker> self,
                                      std::shared_ptr<Connection> connection);

  std::shared_ptr<Call> find(RequestId id) const;
  void forget(RequestId id);
  void lost();  ///< out of the choice; the probe begins
  void broken(Call& call, const char* what);
  void computed(const Job& job);  ///< the engine has this prompt in its cache now

  const net::any_io_executor executor_;
  const WorkerRole role_;
  const Url url_;
  const EngineTarget target_;
  const Duration probe_interval_;
  const WorkerListener listener_;
  const std::shared_ptr<TaskGroup> tasks_;

  mutable std::mutex mutex_;
  std::map<RequestId, std::shared_ptr<Call>> calls_;
  CacheGuess cache_;
  bool probing_ = false;
  bool stopped_ = false;
};

}  // namespace dyn::serve
