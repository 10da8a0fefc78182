#include "fleet.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <utility>

#include "dyn/core/error.h"
#include "dyn/core/log.h"
#include "dyn/core/random.h"
#include "dyn/perf/given_timing.h"
#include "dyn/policy/disaggregation.h"
#include "http_text.h"
#include "openai_worker.h"
#include "simulated_worker.h"

namespace dyn::serve {
namespace {

using Timer = std::shared_ptr<const perf::StepTimer>;

std::string name_of_role(WorkerRole role) {
  switch (role) {
    case WorkerRole::aggregated:
      return "aggregated";
    case WorkerRole::prefill:
      return "prefill";
    case WorkerRole::decode:
      return "decode";
  }
  return "aggregated";
}

bool is_relayed(const PoolSpec& pool) {
  return pool.engine.kind == EngineKind::openai;
}

std::uint32_t worker_count(const PoolSpec& pool) {
  return is_relayed(pool) ? static_cast<std::uint32_t>(pool.engine.url.size())
                          : static_cast<std::uint32_t>(pool.replicas * pool.layout.data);
}

engine::DeployedNetwork make_network(const Plan& plan) {
  std::vector<int> replicas;
  for (const PoolSpec& pool : plan.pools) {
    replicas.push_back(pool.replicas);
  }
  return engine::deploy_network(plan, replicas, plan.seed);
}

void check_pool(const PoolSpec& pool, const RouterConfig& router) {
  const std::string where = "pool '" + name_of_role(pool.role) + "'";
  if (is_relayed(pool) && pool.engine.url.empty()) {
    throw Error(ErrorKind::bad_input, where + ": engine.kind openai needs engine.url",
                "give one http://host:port a replica");
  }
  for (const std::string& url : pool.engine.url) {
    if (is_relayed(pool) && !parse_url(url)) {
      throw Error(ErrorKind::bad_input, where + ": cannot use the engine url '" + url + "'",
                  "expected http://host:port (https is not supported here; put a proxy before it)");
    }
  }
  if (is_relayed(pool) && router.kind == RouterKind::kv_aware &&
      router.cost == RouterCost::seconds) {
    throw Error(ErrorKind::bad_input, where + ": router.cost seconds needs simulated engines",
                "the step times of other engines are not known: write cost: blocks");
  }
  if (!is_relayed(pool) && (!pool.config.kv_blocks || !pool.config.max_model_len)) {
    throw Error(ErrorKind::bad_input, where + ": config.kv_blocks and max_model_len must be set",
                "write the plan with dyn plan");
  }
}

Timer make_timer(const Plan& plan, const ServeOptions& options, const PoolSpec& pool) {
  if (is_relayed(pool)) {
    return nullptr;
  }
  return options.make_timer ? options.make_timer(pool) : perf::step_timer(plan, pool);
}

/// Whether a choice of the pool's router depends on what its engines have cached.
bool tells_caches(const Plan& plan, const PoolSpec& pool) {
  return plan.router.kind == RouterKind::kv_aware &&
         (pool.role == WorkerRole::decode ? plan.disaggregation.ever_local()
                                          : worker_count(pool) > 1);
}

/// The tiers of a pool's simulated engines; other engines tell of their devices alone.
engine::DeployedTiers make_tiers(const Plan& plan, const PoolSpec& pool, const Timer& timer) {
  if (is_relayed(pool)) {
    return {};
  }
  engine::DeployedTiers tiers(plan, pool, *timer);
  if (tells_caches(plan, pool) && plan.router.looks_below_devices()) {
    tiers.tell_routers();
  }
  return tiers;
}

TierPaths make_paths(const Plan& plan, const PoolSpec& pool, const engine::DeployedTiers& tiers) {
  TierPaths paths{
      tiers, engine::Network(resolve_network(plan.network, plan.profile), plan.seed), {}};
  paths.site = paths.network.add_site(pool.layout.tensor * pool.layout.pipeline);
  return paths;
}

void check_plan(const Plan& plan) {
  const bool alone = plan.pools.size() == 1 && plan.pool(WorkerRole::aggregated) != nullptr;
  const bool pair = plan.pools.size() == 2 && plan.pool(WorkerRole::prefill) != nullptr &&
                    plan.pool(WorkerRole::decode) != nullptr;
  if (!alone && !pair) {
    throw Error(ErrorKind::bad_input,
                "a plan needs one aggregated pool, or one prefill and one decode pool");
  }
  if (plan.encode) {
    throw Error(ErrorKind::bad_input, "dyn serve runs no encode workers yet",
                "leave deployment.encode out of the recipe: engines then encode images themselves");
  }
  for (const PoolSpec& pool : plan.pools) {
    check_pool(pool, plan.router);
  }
  if (pair && is_relayed(plan.pools[0]) != is_relayed(plan.pools[1])) {
    throw Error(ErrorKind::bad_input,
                "prefill and decode pools need engines of one kind: a simulated one has no KV "
                "cache to hand over");
  }
}

}  // namespace

std::shared_ptr<Fleet> Fleet::create(const Plan& plan, const ServeOptions& options,
                                     const net::any_io_executor& executor) {
  check_plan(plan);
  std::shared_ptr<Fleet> fleet(new Fleet(plan, options, executor));
  std::vector<Timer> timers;
  std::vector<engine::DeployedTiers> tiers;
  for (const PoolSpec& pool : plan.pools) {
    timers.push_back(make_timer(plan, options, pool));
    tiers.push_back(make_tiers(plan, pool, timers.back()));
    fleet->add_pool(plan, pool, timers.back(), tiers.back());
  }
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    fleet->add_workers(plan, options, i, timers[i], tiers[i], executor);
  }
  return fleet;
}

Fleet::Fleet(const Plan& plan, const ServeOptions& options, const net::any_io_executor& executor)
    : clock_(options.time_scale),
      relayed_(std::any_of(plan.pools.begin(), plan.pools.end(), is_relayed)),
      relay_bytes_(options.limits.relay_bytes),
      hand_over_(plan.disaggregation),
      router_(plan.router),
      slo_(plan.slo),
      network_(make_network(plan)),
      network_timer_(net::make_strand(executor)) {
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    (plan.pools[i].role == WorkerRole::decode ? decode_ : entry_) = i;
  }
}

void Fleet::add_pool(const Plan& plan, const PoolSpec& spec, const Timer& timer,
                     const engine::DeployedTiers& tiers) {
  policy::RouterOptions router;
  router.config = policy::router_config(plan.router, spec.role);
  router.role = spec.role;
  router.workers = worker_count(spec);
  router.block_size = spec.config.block_size;
  router.timer = timer;
  router.step_tokens = spec.config.max_num_batched_tokens;
  router.seed = RandomStream(plan.seed, "router/" + name_of_role(spec.role)).next();
  if (!tiers.empty()) {
    const TierPaths paths = make_paths(plan, spec, tiers);
    router.tiers = tiers.for_router(plan.router, tiers.for_engine(paths.network, paths.site));
  }
  pools_.push_back(std::unique_ptr<Pool>(new Pool{
      spec.role,
      spec.config.block_size,
      is_relayed(spec) ? 1U : static_cast<std::uint32_t>(spec.layout.data),
      policy::Router(router),
      {},
      std::vector<bool>(router.workers, true),
      HeldRequests(plan.router.queue_order, static_cast<std::size_t>(plan.router.queue_limit))}));
}

void Fleet::add_workers(const Plan& plan, const ServeOptions& options, std::size_t index,
                        const Timer& timer, const engine::DeployedTiers& tiers,
                        const net::any_io_executor& executor) {
  const PoolSpec& spec = plan.pools[index];
  Pool& pool = *pools_[index];
  const auto count = static_cast<std::uint32_t>(pool.available.size());
  if (timer && index == entry_) {
    frontend_ = timer->frontend_time();
  }
  const bool publish = tells_caches(plan, spec);
  const net::any_io_executor common = net::make_strand(executor);
  net::any_io_executor strand;  // of the ranks of one worker
  std::shared_ptr<SimulatedWorker> first;
  for (std::uint32_t i = 0; i < count; ++i) {
    const WorkerId id(i);
    if (is_relayed(spec)) {
      const auto blocks = static_cast<std::size_t>(spec.config.kv_blocks.value_or(100'000));
      pool.workers.push_back(std::make_shared<OpenAiWorker>(
          executor, spec.role, *parse_url(spec.engine.url[i]), spec.engine, blocks,
          options.probe_interval, listener(index, id)));
    } else {
      engine::EngineOptions engine{spec.config, spec.role, engine::Stepping::every_step, publish};
      engine.reserve_at_once = engine::reserves_at_once(spec);
      engine.groups = engine::cache_groups(plan, spec);
      TierPaths paths = make_paths(plan, spec, tiers);
      const bool opens = i % static_cast<std::uint32_t>(spec.layout.data) == 0;
      if (opens) {
        // Who shares a store takes turns.
        strand = tiers.shares() ? common : net::any_io_executor(net::make_strand(executor));
        first = nullptr;
      }
      const auto worker =
          std::make_shared<SimulatedWorker>(strand, clock_, std::move(engine), timer,
                                            std::move(paths), listener(index, id), first.get());
      first = opens ? worker : first;
      pool.workers.push_back(worker);
    }
  }
}

WorkerListener Fleet::listener(std::size_t pool, WorkerId worker) {
  WorkerListener result;
  result.kv_events = [weak = weak_from_this(), pool, worker](auto events) {
    if (const auto self = weak.lock()) {
      self->on_kv_events(pool, worker, events);
    }
  };
  result.available = [weak = weak_from_this(), pool, worker](bool available) {
    if (const auto self = weak.lock()) {
      self->set_available(pool, worker, available);
    }
  };
  return result;
}

Result<Placement> Fleet::route(std::size_t pool, const Job& job) {
  policy::RouteRequest request;
  request.id = job.id;
  request.prompt_tokens = job.prompt_tokens;
  Pool& target = *pools_[pool];
  request.output_tokens = target.role == WorkerRole::prefill ? 1 : job.max_output_tokens;
  request.blocks = kvbm::PromptBlocks(job.blocks);
  request.session = job.session;
  const std::scoped_lock lock(mutex_);
  const Result<policy::RouteChoice> choice = target.router.route(request, clock_.now());
  if (!choice) {
    return choice.error();
  }
  return Placement{pool, choice->worker, target.workers[choice->worker.value()]};
}

bool Fleet::hold(std::size_t pool, const Job& job, SimTime sent, policy::router_errc why,
                 std::function<void()> turn) {
  if (!holds() || (why != policy::router_errc::busy && why != policy::router_errc::no_workers)) {
    return false;
  }
  const policy::HeldRequest request = policy::held_request(job.id, sent, job.priority, slo_);
  const std::scoped_lock lock(mutex_);
  return pools_[pool]->held.push(request, std::move(turn));
}

template <class Change>
void Fleet::change(std::size_t pool, const Change& change) {
  HeldRequests::Turn turn;
  {
    const std::scoped_lock lock(mutex_);
    turn = change(*pools_[pool]);
  }
  if (turn) {
    turn();
  }
}

void Fleet::looked(std::size_t pool, bool found_room) {
  change(pool, [&](Pool& at) { return at.held.looked(found_room); });
}

void Fleet::let_go(std::size_t pool, RequestId id) {
  const std::scoped_lock lock(mutex_);
  pools_[pool]->held.remove(id);
}

void Fleet::prefill_done(const Placement& at, RequestId id) {
  change(at.pool, [&](Pool& pool) {
    pool.router.prefill_done(id);
    return pool.held.room();
  });
}

void Fleet::output_blocks(const Placement& at, RequestId id, std::int64_t count) {
  const std::scoped_lock lock(mutex_);
  for (; count > 0; --count) {
    pools_[at.pool]->router.output_block(id);
  }
}

void Fleet::finished(const Placement& at, RequestId id) {
  change(at.pool, [&](Pool& pool) {
    pool.router.finished(id);
    return pool.held.room();
  });
}

void Fleet::on_kv_events(std::size_t pool, WorkerId worker, std::span<const kvbm::KvEvent> events) {
  const std::scoped_lock lock(mutex_);
  for (const kvbm::KvEvent& event : events) {
    pools_[pool]->router.on_kv_event(worker, event);
  }
}

void Fleet::set_available(std::size_t pool, WorkerId worker, bool available) {
  log(LogLevel::warn, "serve", available ? "worker is back" : "worker is out",
      {{"worker", name_of_role(pools_[pool]->role) + '/' + std::to_string(worker.value())}});
  std::vector<HeldRequests::Turn> turns;
  {
    const std::scoped_lock lock(mutex_);
    pools_[pool]->router.set_available(worker, available);
    pools_[pool]->available[worker.value()] = available;
    for (const auto& each : pools_) {  // a prompt is not computed while nobody can decode it
      turns.push_back(available ? each->held.room() : HeldRequests::Turn());
    }
  }
  for (const HeldRequests::Turn& turn : turns) {
    if (turn) {
      turn();
    }
  }
}

bool Fleet::prefill_locally(const Job& job) {
  if (!disaggregated() || !hand_over_.ever_local()) {
    return false;
  }
  const std::scoped_lock lock(mutex_);
  Pool& decode = *pools_[decode_];
  policy::PromptOutlook outlook;
  outlook.prompt_tokens = job.prompt_tokens;
  outlook.cached_tokens =
      std::int64_t{decode.router.most_cached(kvbm::PromptBlocks(job.blocks), clock_.now())} *
      decode.block_size;
  outlook.prefill_queued = pools_[entry_]->router.least_queued().value_or(0x7fffffff);
  return policy::prefill_locally(hand_over_, outlook);
}

engine::Endpoint Fleet::gpus(const Placement& at) const {
  return {engine::Place::gpus, network_.sites[at.pool][at.worker.value()]};
}

std::uint64_t Fleet::start_transfer(const Placement& from, const Placement& to, std::int64_t tokens,
                                    std::function<void()> arrived) {
  std::uint64_t number = 0;
  {
    const std::scoped_lock lock(mutex_);
    number = next_transfer_++;
    const Bytes bytes = network_.sent.of(tokens);
    const engine::TransferId id =
        network_.network.start(gpus(from), gpus(to), bytes, number, clock_.now());
    transfers_.emplace(number, Transfer{id, std::move(arrived)});
  }
  network_changed();
  return number;
}

void Fleet::give_up_transfer(std::uint64_t transfer) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = transfers_.find(transfer);
    if (found == transfers_.end()) {
      return;
    }
    network_.network.cancel(found->second.id, clock_.now());
    transfers_.erase(found);
  }
  network_changed();
}

/// The time of the next arrival may be another: looks for it on the timer's strand.
void Fleet::network_changed() {
  net::post(network_timer_.get_executor(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->watch_network();
    }
  });
}

void Fleet::watch_network() {
  std::vector<std::function<void()>> arrived;
  std::optional<SimTime> next;
  {
    const std::scoped_lock lock(mutex_);
    std::vector<engine::Network::Arrived> transfers;
    network_.network.advance(clock_.now(), transfers);
    for (const engine::Network::Arrived& transfer : transfers) {
      const auto found = transfers_.find(transfer.tag);
      arrived.push_back(std::move(found->second.arrived));
      transfers_.erase(found);
    }
    next = network_.network.next_event();
  }
  for (const auto& tell : arrived) {
    tell();
  }
  if (!next) {
    return;
  }
  network_timer_.expires_at(clock_.real(*next));
  network_timer_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    const auto self = weak.lock();
    if (!ec && self) {
      self->watch_network();
    }
  });
}

bool Fleet::any_available() const {
  const std::scoped_lock lock(mutex_);
  return std::all_of(pools_.begin(), pools_.end(), [](const auto& pool) {
    return std::find(pool->available.begin(), pool->available.end(), true) != pool->available.end();
  });
}

FleetSnapshot Fleet::snapshot() const {
  FleetSnapshot result;
  const std::scoped_lock lock(mutex_);
  for (const auto& pool : pools_) {
    for (std::uint32_t i = 0; i < pool->workers.size(); ++i) {
      result.workers.push_back({name_of_role(pool->role), i, pool->available[i],
                                pool->router.active_requests(WorkerId(i)),
                                pool->workers[i]->load()});
    }
    result.index_blocks += pool->router.index_segments();
    result.index_bytes += pool->router.index_bytes();
    result.held += pool->held.size();
  }
  return result;
}

std::string Fleet::name_of(const Placement& at) const {
  return name_of_role(pools_[at.pool]->role) + '/' + std::to_string(at.worker.value());
}

void Fleet::stop() {
  net::post(network_timer_.get_executor(),
            [self = shared_from_this()] { self->network_timer_.cancel(); });
  for (const auto& pool : pools_) {
    for (const auto& worker : pool->workers) {
      worker->stop();
    }
  }
}

}  // namespace dyn::serve
