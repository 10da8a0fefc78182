#include "generation.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace dyn::serve {
namespace {

constexpr std::uint32_t kMaxAttempts = 8;

ApiError routing_error(boost::system::error_code code) {
  if (code == policy::router_errc::overloaded || code == policy::router_errc::busy) {
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
    place_anew();
    return;
  }
  timer_.expires_at(fleet_->clock().real(sent_ + frontend));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    const auto self = weak.lock();
    if (!ec && self && !self->over_) {
      self->place_anew();
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

void Generation::place_anew() {
  local_ = fleet_->prefill_locally(*job_);
  place(local_ ? kDecode : kEntry);
}

void Generation::place(LegName name) {
  if (name == kEntry && fleet_->disaggregated() && !fleet_->any_available()) {
    refused(name, policy::router_errc::no_workers);  // no prefill in vain
    return;
  }
  const std::size_t pool = name == kEntry ? fleet_->entry_pool() : fleet_->decode_pool();
  Result<Placement> placement = fleet_->route(pool, *job_);
  if (!placement) {
    refused(name, placement.error());
    return;
  }
  Leg& leg = legs_[name];
  leg = Leg{std::move(*placement), true, false};
  const std::string where = fleet_->name_of(leg.at);
  const bool second = name == kDecode && !local_;
  placed_at_ = second ? fleet_->name_of(legs_[kEntry].at) + '+' + where : where;
  leg.at.handle->start(job_, second ? prefilled_ : std::nullopt,
                       std::make_shared<Sink>(shared_from_this(), name, fleet_->relay_bytes()));
}

/// No worker takes it: it waits at the router, or that is the answer.
void Generation::refused(LegName name, boost::system::error_code why) {
  const std::size_t pool = name == kEntry ? fleet_->entry_pool() : fleet_->decode_pool();
  auto turn = [weak = weak_from_this(), strand = strand_, fleet = fleet_, pool] {
    net::post(strand, [weak, fleet, pool] {
      if (const auto self = weak.lock(); self && self->held_by_ == pool) {
        self->take_turn(pool);
      } else {
        fleet->looked(pool, true);
      }
    });
  };
  const auto reason = static_cast<policy::router_errc>(why.value());
  held_by_ = pool;  // before anybody can call
  if (!fleet_->hold(pool, *job_, sent_, reason, std::move(turn))) {
    held_by_.reset();
    fail(routing_error(why));
    return;
  }
  watch_hold();
}

void Generation::take_turn(std::size_t pool) {
  held_by_.reset();
  if (prefilled_) {
    place(kDecode);
  } else {
    place_anew();
  }
  fleet_->looked(pool, held_by_ != pool);
  changed();
}

/// Starts the time for which it may be held, the first time that it is.
void Generation::watch_hold() {
  const std::optional<Duration> longest = fleet_->longest_hold();
  if (std::exchange(was_held_, true) || !longest) {
    return;
  }
  timer_.expires_at(fleet_->clock().real(fleet_->clock().now() + *longest));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    const auto self = weak.lock();
    if (!ec && self && self->held_by_) {
      self->fail({408,
                  "no worker had room for as long as a request may wait",
                  "server_error",
                  {},
                  "queue_timeout",
                  1});
    }
  });
}

void Generation::leave_queue() {
  if (held_by_) {
    fleet_->let_go(*std::exchange(held_by_, std::nullopt), job_->id);
  }
}

void Generation::on_event(LegName name, std::uint32_t attempt, WorkerEvent event) {
  if (over_ || attempt != attempt_ || !legs_[name].active) {
    return;
  }
  std::visit([this, name](auto& e) { on(name, e); }, event);
  changed();
}

void Generation::on(LegName name, const Admitted& event) {
  if (name == kEntry || local_) {
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
  const SimTime began = fleet_->clock().now();
  transfer_ = fleet_->start_transfer(
      legs_[kEntry].at, legs_[kDecode].at, event.tokens,
      [weak = weak_from_this(), strand = strand_, attempt = attempt_, began] {
        net::post(strand, [weak, attempt, began] {
          const auto self = weak.lock();
          if (self && !self->over_ && self->attempt_ == attempt) {
            self->transferred(began);
          }
        });
      });
}

void Generation::transferred(SimTime began) {
  transfer_.reset();
  if (on_transfer) {
    on_transfer(fleet_->clock().now() - began);
  }
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
  give_up_transfer();
  release(name, true);
  if (event.retry_elsewhere && ++attempt_ < kMaxAttempts &&
      (fleet_->any_available() || fleet_->holds())) {
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

void Generation::give_up_transfer() {
  if (transfer_) {
    fleet_->give_up_transfer(*transfer_);
    transfer_.reset();
  }
}

void Generation::release_all(bool worker_is_done) {
  leave_queue();
  give_up_transfer();
  release(kEntry, worker_is_done);
  release(kDecode, worker_is_done);
}

void Generation::changed() {
  if (on_change_) {
    on_change_();
  }
}

}  // namespace dyn::serve
