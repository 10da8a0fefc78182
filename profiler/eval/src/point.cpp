#include "dyn/eval/point.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <optional>

#include "client.h"
#include "dyn/core/engine_version.h"
#include "dyn/core/error.h"
#include "dyn/perf/cache_groups.h"
#include "dyn/perf/memory_model.h"
#include "dyn/perf/perf_model.h"
#include "dyn/sim/simulation.h"
#include "hardware_bounds.h"
#include "serving.h"
#include "step_shares.h"
#include "timers.h"

namespace dyn::eval {
namespace {

constexpr double kLeastKvShare = 0.05;  ///< of the device's memory
constexpr std::uint64_t kSeed = 1;      ///< of the simulation
constexpr std::size_t kMaxErrors = 50;
/// Of vLLM, whose host time hides behind the step since then unless told otherwise.
constexpr const char* kFirstAsynchronous = "0.14";

using Compiled = std::shared_ptr<const perf::PerfModel>;

/// What one role of a deployment is simulated with.
struct Role {
  perf::PerfTarget target;
  ServingSettings settings;
  Compiled model;
  std::int64_t kv_blocks = 0;
  bool kv_unknown = false;  ///< the memory model leaves too little to be believed
  bool layout_changed = false;
};

}  // namespace

struct PointPredictor::Impl {
  struct Entry {
    std::once_flag once;
    Compiled model;
    std::string refused;
  };

  explicit Impl(ProfileSource source) : profiles(std::move(source)) {}

  const Profile& profile(const std::string& gpu);
  Compiled compile(const perf::PerfTarget& target, const std::string& gpu, std::string& refused);
  Role role(const MeasuredRow& row, const MeasuredWorkers& workers, const ModelSpec& model,
            int slots);
  PointPrediction aggregated(const MeasuredRow& row, const ModelSpec& model);
  PointPrediction disaggregated(const MeasuredRow& row, const ModelSpec& model);

  ProfileSource profiles;
  std::mutex mutex;
  std::map<std::string, Profile> loaded;
  std::map<std::string, std::shared_ptr<Entry>> compiled;
};

const Profile& PointPredictor::Impl::profile(const std::string& gpu) {
  const std::lock_guard lock(mutex);
  const auto found = loaded.find(gpu);
  return found != loaded.end() ? found->second : loaded.emplace(gpu, profiles(gpu)).first->second;
}

Compiled PointPredictor::Impl::compile(const perf::PerfTarget& target, const std::string& gpu,
                                       std::string& refused) {
  const Profile& from = profile(gpu);
  const ParallelLayout& layout = target.layout;
  const std::string key =
      fmt::format("{}|{}|{}|{}|{}/{}/{}/{}|{} {}|{}", target.model.name, gpu,
                  static_cast<int>(target.weights), static_cast<int>(target.kv_cache),
                  layout.tensor, layout.pipeline, layout.data, layout.expert, target.engine,
                  target.engine_version, target.speculation ? target.speculation->draft_tokens : 0);
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(mutex);
    std::shared_ptr<Entry>& slot = compiled[key];
    if (!slot) {
      slot = std::make_shared<Entry>();
    }
    entry = slot;
  }
  std::call_once(entry->once, [&] {
    try {
      entry->model = perf::PerfModel::compile(target, from);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::infeasible) {
        throw;
      }
      entry->refused = error.items().front().message;
    }
  });
  refused = entry->refused;
  return entry->model;
}

Role PointPredictor::Impl::role(const MeasuredRow& row, const MeasuredWorkers& workers,
                                const ModelSpec& model, int slots) {
  Role role;
  role.settings = serving_settings(row, workers, model, slots);
  role.target.model = model;
  role.target.weights = role.settings.weights;
  role.target.kv_cache = role.settings.kv_cache;
  role.target.expert_weights = role.settings.expert_weights;
  role.target.engine = row.engine;
  // Where the row does not say, as the constants were fitted: the oldest that is known.
  const std::string version = engine_version(row);
  role.target.engine_version = role.settings.asynchronous ? kFirstAsynchronous
                               : is_version(version)      ? version
                                                          : "0";
  role.target.speculation = role.settings.speculation;
  std::string first_refusal;
  for (const ParallelLayout& layout : layouts_near(model, workers)) {
    role.target.layout = layout;
    std::string refused;
    role.model = compile(role.target, row.gpu, refused);
    if (role.model) {
      break;
    }
    first_refusal = first_refusal.empty() ? refused : first_refusal;
  }
  role.layout_changed = role.target.layout != stated_layout(model, workers);
  if (!role.model) {
    throw Error(ErrorKind::infeasible, first_refusal);
  }
  EngineConfig& config = role.settings.config;
  const perf::MemoryUse use = perf::memory_use(role.target, profile(row.gpu).device, config);
  // It ran, whatever the memory model says: where that leaves next to nothing for the KV cache, its
  // own error decides, and all slots are taken to fit.
  const std::int64_t blocks = (row.isl + row.osl + config.block_size) / config.block_size + 1;
  const perf::CacheGroups groups =
      perf::cache_groups(model, role.settings.kv_cache, role.target.layout.tensor, config);
  const std::int64_t drafts = config.speculation ? config.speculation->draft_tokens : 0;
  const std::int64_t request =
      groups.all_pages(blocks, config.max_num_batched_tokens, config.block_size, drafts);
  const double kv_bytes =
      static_cast<double>(use.kv_blocks) * static_cast<double>(use.kv_bytes_per_block.count());
  role.kv_unknown = kv_bytes < kLeastKvShare * static_cast<double>(use.capacity.count());
  config.kv_blocks = role.kv_unknown ? (slots + 1) * request : std::max(use.kv_blocks, 2 * request);
  role.kv_blocks = *config.kv_blocks;
  return role;
}

namespace {

using Timers = std::vector<std::shared_ptr<const perf::StepTimer>>;

sim::SimulationResult simulate(const Plan& plan, Timers timers, const sim::Workload& workload) {
  sim::SimulationSpec spec;
  spec.plan = &plan;
  spec.timers = std::move(timers);
  spec.seed = kSeed;
  return sim::simulate(spec, workload);
}

PoolSpec pool_of(const Role& role, WorkerRole kind, int replicas) {
  PoolSpec pool;
  pool.role = kind;
  pool.replicas = replicas;
  pool.layout = role.target.layout;
  pool.config = role.settings.config;
  return pool;
}

/// What the engine's looks for new requests and its hand-over of first tokens add to a TTFT.
Duration first_token_delay(const Role& role, double sequences, double context) {
  const double steps = role.settings.first_token_steps + role.settings.poll_steps / 2.0;
  if (steps <= 0) {
    return Duration{0};
  }
  return from_seconds(decode_shares(*role.model, sequences, context).times.total() * 1e-3 * steps);
}

double tokens_per_step(const Role& role) {
  return role.settings.speculation ? role.settings.speculation->acceptance_length : 1;
}

/// Tokens of a mean prompt and of half a mean answer.
double mean_prompt(const MeasuredRow& row) {
  return row.isl * (1 + shortest_length(row)) / 2;
}
double half_answer(const MeasuredRow& row) {
  return row.osl * (1 + shortest_length(row)) / 4;
}

/// The role's step times, as the simulated client's answers need them.
std::shared_ptr<const perf::StepTimer> timer_of(const Role& role, const MeasuredRow& row) {
  const double tokens = tokens_per_step(role);
  return tokens == 1 ? std::shared_ptr<const perf::StepTimer>(role.model)
                     : std::make_shared<DraftingTimer>(role.model, tokens, mean_prompt(row));
}

/// Figures of the records as the benchmark counts them; answers have `tokens` for every step.
void read_records(const std::vector<RequestRecord>& records, int slots, double tokens,
                  PointPrediction& out) {
  double ttft = 0;
  double tpot = 0;
  double burst = 0;
  double queue = 0;
  double transfer = 0;
  double decoding = 0;
  double context = 0;
  SimTime end{};
  for (const RequestRecord& record : records) {
    const double first = to_millis(record.first_token - record.sent);
    const double rest = to_millis(record.finished - record.first_token);
    ttft += first;
    burst += record.id < static_cast<std::uint64_t>(slots) ? first : 0;
    tpot += rest / (tokens * static_cast<double>(record.output_tokens - 1));
    queue += to_millis(record.first_scheduled - record.sent);
    transfer += to_millis(record.transfer);
    decoding += rest;
    context += rest * (static_cast<double>(record.input_tokens) +
                       tokens * static_cast<double>(record.output_tokens) / 2);
    out.features.preemptions += record.preemptions;
    end = std::max(end, record.finished);
  }
  const auto n = static_cast<double>(records.size());
  out.ttft_ms = ttft / n;
  out.tpot_ms = tpot / n;
  PointFeatures& f = out.features;
  f.burst_ttft_ms = burst / slots;
  f.steady_ttft_ms = n > slots ? (ttft - burst) / (n - slots) : f.burst_ttft_ms;
  f.queue_ms = queue / n;
  f.transfer_ms = transfer / n;
  f.decode_sequences = decoding / to_millis(end - SimTime{});
  f.decode_context = decoding > 0 ? context / decoding : 0;
}

void read_prefill(const CountingTimer& timer, PointFeatures& f) {
  const PrefillCount& count = timer.prefill();
  const auto steps = static_cast<double>(std::max<std::int64_t>(1, count.steps));
  f.prefill_steps = static_cast<double>(count.steps);
  f.mixed_step_ms = count.seconds * 1e3 / steps;
  f.chunk_tokens = static_cast<double>(count.tokens) / steps;
  f.chunk_sequences = static_cast<double>(count.sequences) / steps;
}

double pressure(const Role& role, const MeasuredRow& row, double slots) {
  const double tokens = static_cast<double>(role.kv_blocks) * role.settings.config.block_size;
  return slots * (row.isl + row.osl) / std::max(1.0, tokens);
}

void price_steps(const Role& prefill, const Role& decode, PointPrediction& out) {
  PointFeatures& f = out.features;
  const StepShares first = prefill_shares(*prefill.model, f.chunk_tokens, f.chunk_sequences);
  const StepShares next = decode_shares(*decode.model, f.decode_sequences, f.decode_context);
  f.prefill = first.times;
  f.decode = next.times;
  f.prefill_error = first.relative_error;
  f.step_error = next.relative_error;
  f.poll_steps = prefill.settings.poll_steps;
  f.layout_changed = prefill.layout_changed || decode.layout_changed;
  out.provenance = worst(first.provenance, next.provenance);
  if (f.layout_changed) {
    out.provenance = worst(out.provenance, Provenance::extrapolated);
  }
}

}  // namespace

PointPrediction PointPredictor::Impl::aggregated(const MeasuredRow& row, const ModelSpec& model) {
  const MeasuredWorkers workers = started_workers(row);
  const int batch = workers.batch > 0 ? workers.batch : row.in_flight() / workers.layout.data;
  if (batch <= 0) {
    throw Error(ErrorKind::infeasible, "neither batch size nor concurrency is recorded");
  }
  Role role = this->role(row, workers, model, batch);
  // Where another layout had to be taken, its ranks share the same requests.
  const int data = model.moe ? role.target.layout.data : 1;
  const int ranks = role.layout_changed ? data : workers.layout.data;
  const int slots = std::max(1, batch * workers.layout.data / std::max(1, ranks));
  if (slots != batch) {
    role = this->role(row, workers, model, slots);
  }
  // The rank that is simulated is one engine; its layout's other ranks are in the step times.
  Plan plan;
  plan.pools = {pool_of(role, WorkerRole::aggregated, 1)};
  plan.pools[0].layout.data = 1;
  plan.router.kind = RouterKind::round_robin;
  plan.router.max_queued_per_worker = 1 << 30;
  const auto timer = std::make_shared<CountingTimer>(
      timer_of(role, row), first_token_delay(role, slots, mean_prompt(row) + half_answer(row)));
  const int in_flight = slots + role.settings.waiting;
  const double tokens = tokens_per_step(role);
  const sim::SimulationResult result = simulate(
      plan, {timer},
      client(row, in_flight, shortest_length(row), tokens, role.settings.prompts_per_slot));
  PointPrediction out;
  read_records(result.records, in_flight, tokens, out);
  read_prefill(*timer, out.features);
  out.features.steps = static_cast<double>(result.steps);
  out.features.ranks = ranks;
  out.features.kv_pressure = pressure(role, row, slots);
  price_steps(role, role, out);
  return out;
}

PointPrediction PointPredictor::Impl::disaggregated(const MeasuredRow& row,
                                                    const ModelSpec& model) {
  const int slots = row.in_flight();
  if (slots <= 0 || row.decode.batch <= 0) {
    throw Error(ErrorKind::infeasible, "worker counts or batch sizes are not recorded");
  }
  const int first_ranks = row.prefill.workers * row.prefill.layout.data;
  const int next_ranks = row.decode.workers * row.decode.layout.data;
  const Role first = role(row, row.prefill, model, std::max(1, slots / first_ranks));
  const Role next = role(row, row.decode, model, std::max(1, slots / next_ranks));
  const Profile& device = profile(row.gpu);
  Plan plan;
  plan.pools = {pool_of(first, WorkerRole::prefill, row.prefill.workers),
                pool_of(next, WorkerRole::decode, row.decode.workers)};
  plan.router.kind = RouterKind::least_loaded;
  plan.router.max_queued_per_worker = 1 << 30;
  const bool one_node = plan.gpus() <= device.device.gpus_per_node;
  const auto width = [](const ParallelLayout& layout) { return layout.tensor * layout.pipeline; };
  const int links = std::min(width(plan.pools[0].layout), width(plan.pools[1].layout));
  plan.transfer.bandwidth =
      (one_node ? device.device.intra_node : device.device.inter_node) * double(links);
  plan.transfer.latency = one_node ? device.intra_node_latency : device.inter_node_latency;
  plan.transfer.bytes_per_token = model.kv_bytes_per_token(next.settings.kv_cache, 1);
  const Duration delay = first_token_delay(next, static_cast<double>(slots) / next_ranks,
                                           mean_prompt(row) + half_answer(row));
  const auto first_timer = std::make_shared<CountingTimer>(first.model, delay);
  const auto next_timer = std::make_shared<CountingTimer>(next.model, Duration{0});
  const sim::SimulationResult result =
      simulate(plan, {first_timer, next_timer}, client(row, slots, shortest_length(row), 1));
  PointPrediction out;
  read_records(result.records, slots, 1, out);
  read_prefill(*first_timer, out.features);
  out.features.steps = static_cast<double>(result.steps);
  out.features.decode_sequences /= next_ranks;
  out.features.ranks = next_ranks;
  out.features.kv_pressure = pressure(next, row, static_cast<double>(slots) / next_ranks);
  price_steps(first, next, out);
  out.features.poll_steps = 0;
  return out;
}

PointPredictor::PointPredictor(ProfileSource profiles)
    : impl_(std::make_unique<Impl>(std::move(profiles))) {}
PointPredictor::~PointPredictor() = default;

PointPrediction PointPredictor::predict(const MeasuredRow& row) const {
  const ModelSpec model = measured_model(row.model);
  PointPrediction out =
      row.disaggregated ? impl_->disaggregated(row, model) : impl_->aggregated(row, model);
  out.shape = fmt::format("{} {}x{}", model.architecture, model.layers, model.hidden);
  out.experts = model.moe.has_value();
  return out;
}

void PointPredictor::check_times(const MeasuredTable& table) const {
  std::map<std::string, std::optional<ModelSpec>> models;
  std::vector<ErrorItem> errors;
  for (const MeasuredRow& row : table.rows) {
    const auto [model, fresh] = models.try_emplace(row.model);
    if (fresh) {
      try {
        model->second = measured_model(row.model);
      } catch (const Error&) {
        // Its rows are answered with this error.
      }
    }
    if (!model->second || (!row.ttft_ms && !row.tpot_ms)) {
      continue;
    }
    const GpuSpec& gpu = impl_->profile(row.gpu).device;
    for (ErrorItem& error : too_fast(row, *model->second, gpu, table.path)) {
      errors.push_back(std::move(error));
    }
    if (errors.size() >= kMaxErrors) {
      break;
    }
  }
  if (!errors.empty()) {
    throw Error(ErrorKind::bad_input, std::move(errors));
  }
}

}  // namespace dyn::eval
