#include "dyn/policy/router.h"

#include <algorithm>
#include <string>

#include "dyn/core/check.h"
#include "router_impl.h"

namespace dyn::policy {

namespace {

class RouterCategory final : public boost::system::error_category {
 public:
  const char* name() const noexcept override { return "dyn.router"; }
  std::string message(int code) const override {
    switch (static_cast<router_errc>(code)) {
      case router_errc::no_workers:
        return "no worker is available";
      case router_errc::overloaded:
        return "the queue of every available worker is full";
      case router_errc::busy:
        return "every available worker is busy";
    }
    return "unknown router error";
  }
};

}  // namespace

RouterConfig router_config(const RouterConfig& config, WorkerRole role) {
  RouterConfig out = config;
  if (role == WorkerRole::decode) {
    out.overlap_credit = 0;
    out.prefill_load_scale = 0;
  }
  return out;
}

boost::system::error_code make_error_code(router_errc e) {
  static const RouterCategory category;
  return {static_cast<int>(e), category};
}

Router::Impl::Impl(RouterOptions given)
    : options(std::move(given)),
      random(options.seed, "router"),
      workers(options.workers),
      runs(options.workers, 0),
      shared(options.workers, 0),
      costs(options.workers, 0) {
  DYN_ASSERT(options.workers > 0 && options.block_size > 0, "a router without workers");
  DYN_ASSERT(options.timer || options.config.cost == RouterCost::blocks || !kv_aware(),
             "a cost in seconds needs the workers' step times");
  if (kv_aware()) {
    index.emplace(options.workers, options.max_index_segments);
    if (!options.tiers.empty()) {
      lower.emplace(options);
    }
    if (options.role == WorkerRole::aggregated) {
      active.emplace(options.workers, options.max_index_segments);
    }
  }
  if (guesses_cache()) {
    guesses.assign(options.workers,
                   CacheGuess(static_cast<std::size_t>(options.config.approximate_blocks),
                              options.config.approximate_ttl));
  }
  if (options.lora) {
    adapters.assign(options.workers, AdapterSlots(*options.lora));
  }
  eligible.reserve(options.workers);
  ties.reserve(options.workers);
}

Result<RouteChoice> Router::Impl::route(const RouteRequest& request, SimTime now) {
  DYN_ASSERT(bookings.find(request.id.value()) == nullptr, "the request is booked already");
  eligible.clear();
  bool any = false;
  bool held = options.config.hold_above.has_value();
  const auto limit = static_cast<std::uint32_t>(options.config.max_queued_per_worker);
  const auto hold_above = static_cast<std::uint32_t>(options.config.hold_above.value_or(0));
  for (std::uint32_t w = 0; w < workers.size(); ++w) {
    any = any || workers[w].available;
    if (workers[w].available && workers[w].queued < limit) {
      eligible.push_back(w);
      held = held && workers[w].queued > hold_above;
    }
  }
  if (eligible.empty()) {
    return make_error_code(any ? router_errc::overloaded : router_errc::no_workers);
  }
  if (held) {
    return make_error_code(router_errc::busy);
  }
  forget_guesses(now);
  const std::uint32_t chosen = choose(request, now);
  RouteChoice choice;
  choice.worker = WorkerId(chosen);
  choice.cached_blocks = runs[chosen];
  if (lower) {
    choice.tier_blocks = lower->found(chosen);
  }
  choice.cost = costs[chosen];
  book(request, choice, now);
  return choice;
}

void Router::Impl::book(const RouteRequest& request, const RouteChoice& choice, SimTime now) {
  if (guesses_cache()) {
    guesses[choice.worker.value()].computed(request.blocks, now, events);
    apply_guesses(choice.worker.value());
  }
  Booking booking;
  booking.worker = choice.worker.value();
  std::int64_t cached = std::int64_t{choice.cached_blocks} * options.block_size;
  if (lower) {
    cached += static_cast<std::int64_t>(lower->counted(booking.worker) * options.block_size);
  }
  booking.prefill_tokens = std::max<std::int64_t>(request.prompt_tokens - cached, 0);
  booking.blocks = blocks_of(request);
  Worker& worker = workers[booking.worker];
  if (active) {
    const ActiveBlocks::Added added = active->add(booking.worker, request.blocks);
    booking.leaf = added.leaf;
    booking.blocks -= added.blocks;
    worker.blocks += added.fresh;
  }
  worker.blocks += options.role == WorkerRole::prefill ? 0 : booking.blocks;
  worker.prefill_tokens += booking.prefill_tokens;
  ++worker.active;
  ++worker.queued;
  if (!adapters.empty() && request.adapter != kNoAdapter) {
    booking.adapter = request.adapter;
    adapters[booking.worker].join(request.adapter);
  }
  bookings.insert(request.id.value(), booking);
}

/// Takes out of the index what guessed caches have forgotten by now.
void Router::Impl::forget_guesses(SimTime now) {
  for (std::uint32_t w = 0; w < guesses.size(); ++w) {
    guesses[w].expire(now, events);
    apply_guesses(w);
  }
}

void Router::Impl::apply_guesses(std::uint32_t worker) {
  for (const kvbm::KvEvent& event : events) {
    index->apply(WorkerId(worker), event);
  }
  events.clear();
}

void Router::Impl::finish_prefill(Booking& booking) {
  if (booking.prefilling) {
    booking.prefilling = false;
    --workers[booking.worker].queued;
    workers[booking.worker].prefill_tokens -= booking.prefill_tokens;
    workers[booking.worker].blocks += options.role == WorkerRole::prefill ? booking.blocks : 0;
  }
}

Router::Router(RouterOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

Result<RouteChoice> Router::route(const RouteRequest& request, SimTime now) {
  return impl_->route(request, now);
}

void Router::booked_elsewhere(const RouteRequest& request, WorkerId worker, SimTime now) {
  DYN_ASSERT(impl_->bookings.find(request.id.value()) == nullptr, "the request is booked already");
  RouteChoice choice;
  choice.worker = worker;
  if (impl_->index) {
    impl_->forget_guesses(now);
    impl_->look_up(request.blocks);
    choice.cached_blocks = impl_->runs[worker.value()];
    if (impl_->lower) {
      impl_->options.config.cost == RouterCost::seconds ? impl_->seconds(request, worker.value())
                                                        : impl_->lower->credit(worker.value());
    }
  }
  impl_->book(request, choice, now);
}

std::uint32_t Router::most_cached(const kvbm::PromptBlocks& blocks, SimTime now) {
  std::uint32_t most = 0;
  if (impl_->index) {
    impl_->forget_guesses(now);
    impl_->index->leading_runs(blocks, impl_->runs);
    for (std::size_t w = 0; w < impl_->workers.size(); ++w) {
      most = std::max(most, impl_->workers[w].available ? impl_->runs[w] : 0U);
    }
  }
  return most;
}

std::optional<std::uint32_t> Router::least_queued() const {
  std::optional<std::uint32_t> least;
  for (const Impl::Worker& worker : impl_->workers) {
    if (worker.available) {
      least = std::min(least.value_or(worker.queued), worker.queued);
    }
  }
  return least;
}

void Router::prefill_done(RequestId id) {
  if (Impl::Booking* booking = impl_->bookings.find(id.value())) {
    impl_->finish_prefill(*booking);
  }
}

void Router::output_block(RequestId id) {
  if (Impl::Booking* booking = impl_->bookings.find(id.value())) {
    ++booking->blocks;
    ++impl_->workers[booking->worker].blocks;
  }
}

void Router::finished(RequestId id) {
  Impl::Booking* booking = impl_->bookings.find(id.value());
  if (booking == nullptr) {
    return;
  }
  impl_->finish_prefill(*booking);
  Impl::Worker& worker = impl_->workers[booking->worker];
  --worker.active;
  worker.blocks -= booking->blocks;
  if (impl_->active) {
    worker.blocks -= impl_->active->remove(booking->leaf);
  }
  if (booking->adapter != kNoAdapter) {
    impl_->adapters[booking->worker].leave(booking->adapter);
  }
  impl_->bookings.erase(id.value());
}

void Router::Impl::on_tier_event(WorkerId worker, const kvbm::KvEvent& event) {
  if (lower && (workers[worker.value()].available || lower->index().shared(event.tier))) {
    lower->index().apply(worker, event);
  }
}

void Router::on_kv_event(WorkerId worker, const kvbm::KvEvent& event) {
  if (event.tier > 0) {
    return impl_->on_tier_event(worker, event);
  }
  if (impl_->index && !impl_->guesses_cache() && impl_->workers[worker.value()].available) {
    impl_->index->apply(worker, event);
  }
}

void Router::set_available(WorkerId worker, bool available) {
  impl_->workers[worker.value()].available = available;
  if (!available && !impl_->adapters.empty()) {
    impl_->adapters[worker.value()].forget_idle();
  }
  if (!available && impl_->index) {
    impl_->index->remove_worker(worker);
    if (impl_->lower) {
      impl_->lower->index().remove_worker(worker);
    }
    if (impl_->guesses_cache()) {
      impl_->guesses[worker.value()].clear();
    }
  }
}

std::uint32_t Router::active_requests(WorkerId worker) const {
  return impl_->workers[worker.value()].active;
}

std::uint64_t Router::index_segments() const {
  return impl_->index ? impl_->index->segments() : 0;
}

std::uint64_t Router::index_bytes() const {
  return (impl_->index ? impl_->index->bytes() : 0) + (impl_->active ? impl_->active->bytes() : 0) +
         (impl_->lower ? impl_->lower->index().bytes() : 0);
}

}  // namespace dyn::policy
