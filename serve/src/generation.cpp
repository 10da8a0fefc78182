#include "generation.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace dyn::serve {
namespace {

constexpr std::uint32_t kMaxAttempts = 8;

ApiError routing_error(boost::system::error_code code) {
  if (code == policy::router_errc::overloaded) {
    return {
        429, "every worker's queue is full; try again later", "rate_limit_error", {}, "overloaded",
        1};
  }
  return unavailable("no engine is available", "no_workers");
}

std::int64_t blocks_of(std::int64_t tokens, int size) {
  return (tokens + size - 1) / size;
}

}  // namespace

/// Carries a worker's events to the strand of the request, from any thread.
class Generation::Sink final : public EventSink {
 public:
  Sink(const std::shared_ptr<Generation>& owner, LegName leg, std::size_t limit)
      : owner_(owner),
        strand_(owner->strand_),
        unread_(owner->unread_),
        leg_(leg),
        attempt_(owner->attempt_),
        limit_(limit) {}

  bool deliver(WorkerEvent event) override {
    std::size_t unread = 0;
    if (const auto* bytes = std::get_if<RelayBytes>(&event)) {
      unread = unread_->fetch_add(bytes->bytes.size()) + bytes->bytes.size();
    }
    net::post(strand_,
              [owner = owner_, leg = leg_, attempt = attempt_, event = std::move(event)]() mutable {
                if (const auto self = owner.lock()) {
                  self->on_event(leg, attempt, std::move(event));
                }
              });
    return unread < limit_;
  }

 private:
  const std::weak_ptr<Generation> owner_;
  const net::any_io_executor strand_;
  const std::shared_ptr<std::atomic<std::size_t>> unread_;
  const LegName leg_;
  const std::uint32_t attempt_;
  const std::size_t limit_;
};

Generation::Generation(std::shared_ptr<Fleet> fleet, net::any_io_executor strand,
                       std::shared_ptr<const Job> job, SimTime sent,
                       std::function<void()> on_change)
    : fleet_(std::move(fleet)),
      strand_(std::move(strand)),
      job_(std::move(job)),
      sent_(sent),
      on_change_(std::move(on_change)),
      timer_(strand_),
      unread_(std::make_shared<std::atomic<std::size_t>>(0)) {}

Generation::~Generation() {
  release_all(false);
}

void Generation::begin() {
  const Duration frontend = fleet_->frontend_time();
  if (frontend <= Duration{0}) {
    place(kEntry);
    return;
  }
  timer_.expires_at(fleet_->clock().real(sent_ + frontend));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    const auto self = weak.lock();
    if (!ec && self && !self->over_) {
      self->place(kEntry);
      self->changed();
    }
  });
}

void Generation::cancel() {
  over_ = true;
  on_change_ = nullptr;
  timer_.cancel();
  release_all(false);
}

void Generation::fail(ApiError error) {
  if (over_) {
    return;
  }
  over_ = true;
  failure_ = std::move(error);
  timer_.cancel();
  release_all(false);
  changed();
}

std::string Generation::take_bytes() {
  std::string bytes = std::exchange(bytes_, {});
  if (!bytes.empty()) {
    unread_->fetch_sub(bytes.size());
    for (const Leg& leg : legs_) {
      if (leg.active) {
        leg.at.handle->resume(job_->id);
      }
    }
  }
  return bytes;
}

void Generation::place(LegName name) {
  if (name == kEntry && fleet_->disaggregated() && !fleet_->any_available()) {
    fail(routing_error(policy::router_errc::no_workers));  // no prefill in vain
    return;
  }
  const std::size_t pool = name == kEntry ? fleet_->entry_pool() : fleet_->decode_pool();
  Result<Placement> placement = fleet_->route(pool, *job_);
  if (!placement) {
    fail(routing_error(placement.error()));
    return;
  }
  Leg& leg = legs_[name];
  leg = Leg{std::move(*placement), true, false};
  placed_at_ =
      (name == kDecode ? fleet_->name_of(legs_[kEntry].at) + '+' : "") + fleet_->name_of(leg.at);
  leg.at.handle->start(job_, name == kDecode ? prefilled_ : std::nullopt,
                       std::make_shared<Sink>(shared_from_this(), name, fleet_->relay_bytes()));
}

void Generation::on_event(LegName name, std::uint32_t attempt, WorkerEvent event) {
  if (over_ || attempt != attempt_ || !legs_[name].active) {
    return;
  }
  std::visit([this, name](auto& e) { on(name, e); }, event);
  changed();
}

void Generation::on(LegName name, const Admitted& event) {
  if (name == kEntry) {
    cached_tokens_ = event.cached_tokens;
  }
}

void Generation::count_tokens(LegName name, std::int64_t produced) {
  if (produced <= produced_) {
    return;
  }
  const Leg& leg = legs_[name];
  last_token_ = fleet_->clock().now();
  if (produced_ == 0) {
    first_token_ = last_token_;
    fleet_->prefill_done(leg.at, job_->id);
  }
  produced_ = produced;
  const int size = fleet_->block_size(leg.at.pool);
  const std::int64_t blocks =
      blocks_of(job_->prompt_tokens + produced, size) - blocks_of(job_->prompt_tokens, size);
  if (blocks > output_blocks_) {
    fleet_->output_blocks(leg.at, job_->id, blocks - output_blocks_);
    output_blocks_ = blocks;
  }
}

void Generation::on(LegName name, const Produced& event) {
  if (fleet_->disaggregated() && name == kEntry) {
    return;  // the prefill worker's own token is the decode worker's first
  }
  count_tokens(name, event.tokens);
  if (event.finished) {
    finished_ = true;
    over_ = true;
    release_all(true);
  }
}

void Generation::on(LegName name, Prefilled& event) {
  legs_[name].held = true;
  prefilled_ = std::move(event);
  fleet_->prefill_done(legs_[name].at, job_->id);
  place(kDecode);
}

void Generation::on(LegName, const KvWanted& event) {
  const SimTime now = fleet_->clock().now();
  const auto transfer =
      fleet_->reserve_transfer(legs_[kEntry].at, legs_[kDecode].at, event.tokens, now);
  if (on_transfer) {
    on_transfer(transfer.ends - now);
  }
  timer_.expires_at(fleet_->clock().real(transfer.ends));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    const auto self = weak.lock();
    if (!ec && self && !self->over_) {
      self->transferred();
    }
  });
}

void Generation::transferred() {
  release(kEntry, true);
  Leg& decode = legs_[kDecode];
  decode.at.handle->kv_received(job_->id);
  fleet_->prefill_done(decode.at, job_->id);
}

void Generation::on(LegName, const RelayHead& event) {
  head_ = event;
}

void Generation::on(LegName name, RelayBytes& event) {
  bytes_ += event.bytes;
  if (name == kEntry) {  // a decode engine counts what it fetched as cached
    cached_tokens_ = std::max(cached_tokens_, event.cached_tokens);
  } else if (event.tokens > 0) {
    release(kEntry, true);  // it has the KV
  }
  count_tokens(name, event.tokens);
}

void Generation::on(LegName, const RelayEnd&) {
  finished_ = true;
  over_ = true;
  release_all(true);
}

void Generation::on(LegName name, const Failed& event) {
  release(name, true);
  if (event.retry_elsewhere && ++attempt_ < kMaxAttempts && fleet_->any_available()) {
    place(name);
    return;
  }
  const bool fault = event.status >= 500;
  fail({event.status,
        event.message,
        fault ? "server_error" : "invalid_request_error",
        {},
        event.code,
        event.status == 503 ? 1 : 0});
}

void Generation::release(LegName name, bool worker_is_done) {
  Leg& leg = legs_[name];
  if (!leg.active) {
    return;
  }
  leg.active = false;
  fleet_->finished(leg.at, job_->id);
  if (leg.held) {
    leg.at.handle->release_held(job_->id);
  } else if (!worker_is_done) {
    leg.at.handle->cancel(job_->id);
  }
}

void Generation::release_all(bool worker_is_done) {
  release(kEntry, worker_is_done);
  release(kDecode, worker_is_done);
}

void Generation::changed() {
  if (on_change_) {
    on_change_();
  }
}

}  // namespace dyn::serve
