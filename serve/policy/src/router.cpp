#include "dyn/policy/router.h"

#include <algorithm>
#include <string>

#include "active_blocks.h"
#include "dyn/core/check.h"
#include "dyn/core/math.h"
#include "dyn/core/random.h"
#include "dyn/kvbm/flat_map.h"
#include "dyn/kvbm/prefix_index.h"

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
    }
    return "unknown router error";
  }
};

struct Worker {
  bool available = true;
  std::uint32_t active = 0;         ///< requests booked
  std::uint32_t queued = 0;         ///< of these, prompts not yet computed
  std::int64_t prefill_tokens = 0;  ///< of queued prompts, those not found in the cache
  std::int64_t blocks = 0;          ///< active: of booked requests, shared ones once
};

struct Booking {
  std::uint32_t worker = 0;
  bool prefilling = true;
  std::int64_t prefill_tokens = 0;
  std::int64_t blocks = 0;  ///< its own: output, and the end of the prompt
  std::uint32_t leaf = ActiveBlocks::kNone;
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

struct Router::Impl {
  explicit Impl(RouterOptions given)
      : options(std::move(given)),
        random(options.seed, "router"),
        workers(options.workers),
        runs(options.workers, 0),
        shared(options.workers, 0),
        costs(options.workers, 0) {
    DYN_ASSERT(options.workers > 0 && options.block_size > 0, "a router without workers");
    if (kv_aware()) {
      index.emplace(options.workers, options.max_index_segments);
      active.emplace(options.workers, options.max_index_segments);
    }
    eligible.reserve(options.workers);
    ties.reserve(options.workers);
  }

  bool kv_aware() const { return options.config.kind == RouterKind::kv_aware; }
  Result<RouteChoice> route(const RouteRequest& request);
  std::uint32_t choose(const RouteRequest& request);
  std::uint32_t next_in_turn();
  std::uint32_t least_cost();
  std::uint32_t by_softmax();
  void price(const RouteRequest& request);
  void book(const RouteRequest& request, const RouteChoice& choice);
  void finish_prefill(Booking& booking);
  std::int64_t blocks_of(const RouteRequest& request) const {
    return (request.prompt_tokens + options.block_size - 1) / options.block_size;
  }

  RouterOptions options;
  RandomStream random;
  std::vector<Worker> workers;
  kvbm::FlatMap<Booking> bookings;
  std::optional<kvbm::PrefixIndex> index;
  std::optional<ActiveBlocks> active;
  std::uint32_t turn = 0;
  // Scratch of one choice.
  std::vector<std::uint32_t> eligible;
  std::vector<std::uint32_t> ties;
  std::vector<std::uint32_t> runs;    ///< leading blocks cached at each worker
  std::vector<std::uint32_t> shared;  ///< leading blocks active at each worker
  std::vector<double> costs;
};

Result<RouteChoice> Router::Impl::route(const RouteRequest& request) {
  DYN_ASSERT(bookings.find(request.id.value()) == nullptr, "the request is booked already");
  eligible.clear();
  bool any = false;
  for (std::uint32_t w = 0; w < workers.size(); ++w) {
    any = any || workers[w].available;
    const auto limit = static_cast<std::uint32_t>(options.config.max_queued_per_worker);
    if (workers[w].available && workers[w].queued < limit) {
      eligible.push_back(w);
    }
  }
  if (eligible.empty()) {
    return make_error_code(any ? router_errc::overloaded : router_errc::no_workers);
  }
  const std::uint32_t chosen = choose(request);
  RouteChoice choice;
  choice.worker = WorkerId(chosen);
  choice.cached_blocks = runs[chosen];
  choice.cost = costs[chosen];

  book(request, choice);
  return choice;
}

void Router::Impl::book(const RouteRequest& request, const RouteChoice& choice) {
  Booking booking;
  booking.worker = choice.worker.value();
  const std::int64_t cached = std::int64_t{choice.cached_blocks} * options.block_size;
  booking.prefill_tokens = std::max<std::int64_t>(request.prompt_tokens - cached, 0);
  booking.blocks = blocks_of(request);
  Worker& worker = workers[booking.worker];
  if (active) {
    const ActiveBlocks::Added added = active->add(booking.worker, request.blocks);
    booking.leaf = added.leaf;
    booking.blocks -= added.blocks;
    worker.blocks += added.fresh;
  }
  worker.blocks += booking.blocks;
  worker.prefill_tokens += booking.prefill_tokens;
  ++worker.active;
  ++worker.queued;
  bookings.insert(request.id.value(), booking);
}

std::uint32_t Router::Impl::choose(const RouteRequest& request) {
  switch (options.config.kind) {
    case RouterKind::round_robin:
      return next_in_turn();
    case RouterKind::random:
      return eligible[random.below(eligible.size())];
    case RouterKind::least_loaded:
      for (const std::uint32_t w : eligible) {
        costs[w] = workers[w].active;
      }
      return least_cost();
    case RouterKind::kv_aware:
      price(request);
      return options.config.temperature > 0 ? by_softmax() : least_cost();
  }
  DYN_ASSERT(false, "an unknown kind of router");
}

/// The first eligible worker at or after the one whose turn it is.
std::uint32_t Router::Impl::next_in_turn() {
  const auto found = std::lower_bound(eligible.begin(), eligible.end(), turn);
  const std::uint32_t chosen = found == eligible.end() ? eligible.front() : *found;
  turn = (chosen + 1) % static_cast<std::uint32_t>(workers.size());
  return chosen;
}

std::uint32_t Router::Impl::least_cost() {
  ties.clear();
  for (const std::uint32_t w : eligible) {
    if (!ties.empty() && costs[w] > costs[ties.front()]) {
      continue;
    }
    if (!ties.empty() && costs[w] < costs[ties.front()]) {
      ties.clear();
    }
    ties.push_back(w);
  }
  return ties.size() == 1 ? ties.front() : ties[random.below(ties.size())];
}

/// Chooses in proportion to exp(-cost / (range of costs * temperature)); as Dynamo's router.
std::uint32_t Router::Impl::by_softmax() {
  double low = costs[eligible.front()];
  double high = low;
  for (const std::uint32_t w : eligible) {
    low = std::min(low, costs[w]);
    high = std::max(high, costs[w]);
  }
  const double scale = (high - low) * options.config.temperature;
  const auto weight = [&](std::uint32_t w) {
    return scale > 0 ? portable_exp(-(costs[w] - low) / scale) : 1.0;
  };
  double sum = 0;
  for (const std::uint32_t w : eligible) {
    sum += weight(w);
  }
  double left = random.uniform() * sum;
  for (const std::uint32_t w : eligible) {
    left -= weight(w);
    if (left < 0) {
      return w;
    }
  }
  return eligible.back();
}

void Router::Impl::price(const RouteRequest& request) {
  index->leading_runs(request.blocks, runs);
  active->overlaps(request.blocks, shared);
  const RouterConfig& config = options.config;
  for (const std::uint32_t w : eligible) {
    const Worker& worker = workers[w];
    const double prefill = static_cast<double>(worker.prefill_tokens + request.prompt_tokens) /
                           static_cast<double>(options.block_size);
    const double work = std::max(prefill - config.overlap_credit * runs[w], 0.0);
    const std::int64_t blocks = worker.blocks + blocks_of(request) - shared[w];
    costs[w] = config.prefill_load_scale * work + static_cast<double>(blocks);
  }
}

void Router::Impl::finish_prefill(Booking& booking) {
  if (booking.prefilling) {
    booking.prefilling = false;
    --workers[booking.worker].queued;
    workers[booking.worker].prefill_tokens -= booking.prefill_tokens;
  }
}

Router::Router(RouterOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

Result<RouteChoice> Router::route(const RouteRequest& request, SimTime /*now*/) {
  return impl_->route(request);
}

void Router::prefill_done(RequestId id) {
  if (Booking* booking = impl_->bookings.find(id.value())) {
    impl_->finish_prefill(*booking);
  }
}

void Router::output_block(RequestId id) {
  if (Booking* booking = impl_->bookings.find(id.value())) {
    ++booking->blocks;
    ++impl_->workers[booking->worker].blocks;
  }
}

void Router::finished(RequestId id) {
  Booking* booking = impl_->bookings.find(id.value());
  if (booking == nullptr) {
    return;
  }
  impl_->finish_prefill(*booking);
  Worker& worker = impl_->workers[booking->worker];
  --worker.active;
  worker.blocks -= booking->blocks;
  if (impl_->active) {
    worker.blocks -= impl_->active->remove(booking->leaf);
  }
  impl_->bookings.erase(id.value());
}

void Router::on_kv_event(WorkerId worker, const kvbm::KvEvent& event) {
  if (impl_->index && impl_->workers[worker.value()].available) {
    impl_->index->apply(worker, event);
  }
}

void Router::set_available(WorkerId worker, bool available) {
  impl_->workers[worker.value()].available = available;
  if (!available && impl_->index) {
    impl_->index->remove_worker(worker);
  }
}

std::uint32_t Router::active_requests(WorkerId worker) const {
  return impl_->workers[worker.value()].active;
}

std::uint64_t Router::index_segments() const {
  return impl_->index ? impl_->index->segments() : 0;
}

std::uint64_t Router::index_bytes() const {
  return impl_->index ? impl_->index->bytes() + impl_->active->bytes() : 0;
}

}  // namespace dyn::policy
