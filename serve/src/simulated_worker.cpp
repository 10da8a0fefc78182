#include "simulated_worker.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <optional>
#include <utility>

namespace dyn::serve {
namespace {

engine::EngineOptions with_tiers(engine::EngineOptions options, const TierPaths& paths) {
  options.tiering = paths.tiers.for_engine(paths.network, paths.site);
  return options;
}

}  // namespace

SimulatedWorker::SimulatedWorker(const net::any_io_executor& strand, const ServeClock& clock,
                                 engine::EngineOptions options,
                                 std::shared_ptr<const perf::StepTimer> timer, TierPaths paths,
                                 WorkerListener listener, SimulatedWorker* first)
    : strand_(strand),
      clock_(clock),
      listener_(std::move(listener)),
      paths_(std::move(paths)),
      options_(with_tiers(std::move(options), paths_)),
      engine_(first != nullptr ? first->engine_.another_rank(options_)
                               : engine::Engine(options_, std::move(timer))),
      timer_(strand) {
  load_ = engine_.load(last_);
}

template <class Operation>
void SimulatedWorker::on_strand(Operation operation) {
  net::post(strand_, [self = shared_from_this(), operation = std::move(operation)]() mutable {
    if (!self->stopped_) {
      self->catch_up(self->clock_.now());
      operation(*self);
      self->advance(self->last_);
      self->settle();
    }
  });
}

void SimulatedWorker::start(std::shared_ptr<const Job> job, std::optional<Prefilled> prefilled,
                            std::shared_ptr<EventSink> sink) {
  on_strand([job = std::move(job), remote_prefill = prefilled.has_value(), sink = std::move(sink)](
                SimulatedWorker& self) { self.begin(job, remote_prefill, sink); });
}

void SimulatedWorker::cancel(RequestId id) {
  on_strand([id](SimulatedWorker& self) { self.withdraw(id); });
}

void SimulatedWorker::kv_received(RequestId id) {
  on_strand([id](SimulatedWorker& self) {
    if (self.calls_.contains(id)) {
      self.engine_.kv_received(id, self.last_);
    }
  });
}

void SimulatedWorker::release_held(RequestId id) {
  on_strand([id](SimulatedWorker& self) { self.let_go(id); });
}

engine::EngineLoad SimulatedWorker::load() const {
  const std::scoped_lock lock(load_mutex_);
  return load_;
}

void SimulatedWorker::stop() {
  net::post(strand_, [self = shared_from_this()] {
    self->stopped_ = true;
    self->timer_.cancel();
    for (auto& [id, call] : self->calls_) {
      call.sink->deliver(Failed{503, "shutting_down", "the server is shutting down", false});
      call.sink.reset();
    }
  });
}

void SimulatedWorker::begin(const std::shared_ptr<const Job>& job, bool remote_prefill,
                            std::shared_ptr<EventSink> sink) {
  engine::EngineRequest request;
  request.id = job->id;
  request.prompt_tokens = job->prompt_tokens;
  request.max_output_tokens = options_.role == WorkerRole::prefill ? 1 : job->max_output_tokens;
  request.priority = job->priority;
  request.blocks = kvbm::PromptBlocks(job->blocks);
  request.remote_prefill = remote_prefill;
  if (const auto why = engine_.why_impossible(request)) {
    const bool cache = *why == engine::errc::prompt_exceeds_cache;
    sink->deliver(Failed{400, "context_length_exceeded",
                         cache ? "the request needs more KV cache than a worker has"
                               : "the request is longer than the model's context",
                         false});
    return;
  }
  calls_[job->id] = Call{job, std::move(sink), false};
  engine_.submit(request, last_);
}

void SimulatedWorker::withdraw(RequestId id) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) {
    return;
  }
  if (it->second.held) {
    let_go(id);
    return;
  }
  engine_.cancel(id, last_);
  retire(std::move(it->second));
  calls_.erase(it);
}

void SimulatedWorker::let_go(RequestId id) {
  const auto it = calls_.find(id);
  if (it == calls_.end() || !it->second.held) {
    return;
  }
  engine_.release_held(id, last_);
  retire(std::move(it->second));
  calls_.erase(it);
}

std::optional<SimTime> SimulatedWorker::next_event() const {
  const std::optional<SimTime> step = engine_.next_event();
  const std::optional<SimTime> transfer = paths_.network.next_event();
  return step && transfer ? std::min(*step, *transfer) : step ? step : transfer;
}

void SimulatedWorker::catch_up(SimTime now) {
  now = std::max(now, last_);
  for (auto due = next_event(); due && *due <= now; due = next_event()) {
    const SimTime at = std::max(*due, last_);
    end_transfers(at);
    advance(at);
  }
  last_ = now;
}

/// KV that has arrived can be used by a step that starts now.
void SimulatedWorker::end_transfers(SimTime at) {
  paths_.network.advance(at, arrived_);
  for (const engine::Network::Arrived& what : arrived_) {
    engine_.transfer_done(kvbm::TierTransferId(static_cast<std::uint32_t>(what.tag)), at);
  }
  arrived_.clear();
}

void SimulatedWorker::advance(SimTime at) {
  last_ = at;
  engine_.advance(at, outcome_);
  dispatch();
  outcome_.clear();
  std::erase_if(retired_, [at](const auto& item) { return item.first <= at; });
}

void SimulatedWorker::dispatch() {
  const auto sink_of = [this](RequestId id) -> EventSink* {
    const auto it = calls_.find(id);
    return it == calls_.end() ? nullptr : it->second.sink.get();
  };
  paths_.tiers.take_shared_events(outcome_.kv_events);
  if (!outcome_.kv_events.empty() && listener_.kv_events) {
    listener_.kv_events(outcome_.kv_events);
  }
  for (const engine::Admission& admission : outcome_.admitted) {
    if (EventSink* sink = sink_of(admission.id)) {
      sink->deliver(Admitted{admission.cached_tokens});
    }
  }
  for (const engine::TokenEvent& token : outcome_.tokens) {
    const auto it = calls_.find(token.id);
    if (it == calls_.end()) {
      continue;
    }
    it->second.sink->deliver(Produced{token.produced, token.finished});
    if (token.finished && options_.role != WorkerRole::prefill) {
      retire(std::move(it->second));
      calls_.erase(it);
    }
  }
  for (const RequestId id : outcome_.prefilled) {
    if (const auto it = calls_.find(id); it != calls_.end()) {
      it->second.held = true;
      it->second.sink->deliver(Prefilled{});
    }
  }
  for (const kvbm::TierTransfer& transfer : outcome_.tier_transfers) {
    paths_.network.start(paths_.tiers.endpoint(transfer.from, paths_.site),
                         paths_.tiers.endpoint(transfer.to, paths_.site), transfer.bytes,
                         transfer.id.value(), last_);
  }
  for (const RequestId id : outcome_.kv_wanted) {
    if (EventSink* sink = sink_of(id)) {
      sink->deliver(KvWanted{engine_.tokens_wanted(id)});
    }
  }
}

void SimulatedWorker::retire(Call call) {
  // A request that leaves within a step is looked at until the step ends.
  retired_.emplace_back(engine_.step_end().value_or(last_), std::move(call.job));
}

void SimulatedWorker::settle() {
  {
    const std::scoped_lock lock(load_mutex_);
    load_ = engine_.load(last_);
  }
  const std::optional<SimTime> due = next_event();
  if (!due) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(clock_.real(*due));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    const auto self = weak.lock();
    if (!ec && self && !self->stopped_) {
      self->catch_up(self->clock_.now());
      self->settle();
    }
  });
}

}  // namespace dyn::serve
