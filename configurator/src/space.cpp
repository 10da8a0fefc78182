#include "space.h"

#include <algorithm>
#include <limits>

#include "dyn/core/error.h"

namespace dyn::configurator {
namespace {

/// Counts of up to 16 one by one, then in steps of about an eighth; `most` is always among them.
std::vector<int> replica_counts(int most) {
  std::vector<int> counts;
  for (int n = 1; n <= most; n += std::max(1, n / 8)) {
    counts.push_back(n);
  }
  if (!counts.empty() && counts.back() != most) {
    counts.push_back(most);
  }
  return counts;
}

std::vector<int> powers_of_two(int most) {
  std::vector<int> values;
  for (int n = 1; n <= most; n *= 2) {
    values.push_back(n);
  }
  return values;
}

template <class T>
std::vector<T> with(std::vector<T> values, T extra) {
  if (std::find(values.begin(), values.end(), extra) == values.end()) {
    values.push_back(extra);
  }
  std::sort(values.begin(), values.end());
  return values;
}

std::string not_divisible(const char* what, std::int64_t count, const char* by, int parts) {
  return std::string(what) + " (" + std::to_string(count) + ") not divisible by " + by + " " +
         std::to_string(parts);
}

/// Why a model cannot be spread so, or empty.
std::string layout_problem(const Problem& problem, const ParallelLayout& layout) {
  const ModelSpec& model = problem.model;
  const int tp = layout.tensor;
  if (model.attention.heads % tp != 0) {
    return not_divisible("attention heads", model.attention.heads, "tp", tp);
  }
  const int kv_heads = model.attention.kv_heads;
  if (model.attention.kind == AttentionKind::grouped_query && kv_heads % tp != 0 &&
      tp % kv_heads != 0) {
    return not_divisible("KV heads", kv_heads, "tp", tp);
  }
  if (model.intermediate % tp != 0) {
    return not_divisible("MLP width", model.intermediate, "tp", tp);
  }
  if (layout.pipeline > model.layers) {
    return "fewer layers than pipeline stages";
  }
  if (model.moe && model.moe->experts % layout.expert != 0) {
    return not_divisible("experts", model.moe->experts, "ep", layout.expert);
  }
  return {};
}

/// Layouts of one worker: TP (and for experts DP and EP) within a node, PP across nodes.
std::vector<ParallelLayout> possible_layouts(const Problem& problem) {
  const SearchSpace& search = problem.recipe->search;
  const int node = std::max(1, problem.profile.device.gpus_per_node);
  const std::vector<int> tensors = search.tensor.empty() ? powers_of_two(node) : search.tensor;
  const std::vector<int> stages = search.pipeline.empty() ? std::vector<int>{1} : search.pipeline;
  std::vector<ParallelLayout> layouts;
  for (const int pipeline : stages) {
    for (const int tensor : tensors) {
      layouts.push_back({tensor, pipeline, 1, 1});
      if (!problem.model.moe) {
        continue;
      }
      for (const int data : powers_of_two(std::max(1, node / tensor))) {
        if (tensor * data > 1) {
          layouts.push_back({tensor, pipeline, data, tensor * data});
        }
      }
    }
  }
  return layouts;
}

LayoutChoice compile_layout(const Problem& problem, const ParallelLayout& layout) {
  LayoutChoice choice{layout, nullptr, nullptr, layout_problem(problem, layout)};
  if (choice.rejected.empty()) {
    try {
      choice.model = perf::PerfModel::compile(problem.target(layout), problem.profile);
      if (problem.engines_encode()) {
        const Recipe& recipe = *problem.recipe;
        choice.images = perf::image_timer(problem.model, recipe.timing, layout.tensor,
                                          recipe.engine.kind, problem.profile);
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::infeasible) {
        throw;
      }
      choice.rejected = error.items().front().message;
    }
  }
  return choice;
}

/// The longest request that `pages` pages hold.
std::int64_t longest_in(std::int64_t pages, const perf::CacheGroups& groups,
                        const EngineConfig& config) {
  const std::int64_t drafts = config.speculation ? config.speculation->draft_tokens : 0;
  const auto most = [&](std::int64_t blocks) {
    return groups.most_pages(blocks, config.max_num_batched_tokens, config.block_size, drafts);
  };
  if (groups.whole == 0 && pages >= most(pages)) {
    return std::numeric_limits<std::int32_t>::max();  // any, as windows move on
  }
  // Either its windows are full, or it is as long in every sliding group.
  const std::int64_t blocks = std::max(groups.whole * (pages - most(pages)),
                                       (pages - most(0)) / (groups.whole + groups.sliding));
  return std::max<std::int64_t>(blocks, 0) * config.block_size;
}

/// Fills in kv_blocks and max_model_len, or says why the worker cannot be.
void resolve_memory(const Problem& problem, const ParallelLayout& layout, Shape& shape) {
  EngineConfig& config = shape.config;
  const WorkloadStats& stats = problem.stats;
  if (config.max_num_batched_tokens < config.max_num_seqs) {
    shape.rejected = "max_num_batched_tokens is below max_num_seqs";
    return;
  }
  if (!config.chunked_prefill && shape.role != WorkerRole::decode &&
      config.max_num_batched_tokens < stats.longest_prompt) {
    shape.rejected = "without chunked prefill the token budget is below the longest prompt";
    return;
  }
  resolve_hybrid_cache(problem, config);
  config.kv_blocks.reset();  // asks what the memory leaves, not what the recipe wants
  const perf::MemoryUse use =
      perf::memory_use(problem.target(layout), problem.profile.device, config);
  if (use.kv_blocks <= 0) {
    shape.rejected = "weights and activations do not fit in the GPU's memory";
    return;
  }
  config.kv_blocks = problem.recipe->engine.kv_blocks.value_or(use.kv_blocks);
  resolve_states(use, config);
  if (*config.kv_blocks > use.kv_blocks) {
    shape.rejected = "engine.kv_blocks is more than the memory leaves";
    return;
  }
  // One block is kept back: schedulers need a free one to append to.
  const std::int64_t tokens = longest_in(
      *config.kv_blocks - 1,
      perf::cache_groups(problem.model, problem.kv_cache, layout.tensor, config), config);
  const std::int64_t wanted = problem.wanted_context();
  const bool required = problem.recipe->engine.max_model_len.has_value();
  if (tokens < (required ? wanted : stats.summary.longest)) {
    shape.rejected = required ? "the KV cache is smaller than one request of max_model_len"
                              : "the KV cache is smaller than the load's longest request";
    return;
  }
  config.max_model_len = std::min(wanted, tokens);
}

/// The knobs of each role: the token budget matters where prompts are computed, the number of
/// sequences where they are decoded.
struct Knobs {
  std::vector<std::int64_t> budgets;
  std::vector<int> sequences;
};

Knobs knobs_for(const Problem& problem, WorkerRole role) {
  const Recipe& recipe = *problem.recipe;
  Knobs knobs;
  knobs.budgets = recipe.search.max_num_batched_tokens;
  if (knobs.budgets.empty()) {
    knobs.budgets =
        with<std::int64_t>({2048, 4096, 8192, 16384}, recipe.engine.max_num_batched_tokens);
  }
  knobs.sequences = recipe.search.max_num_seqs;
  if (knobs.sequences.empty()) {
    knobs.sequences = with<int>({64, 128, 256, 512}, recipe.engine.max_num_seqs);
  }
  if (role == WorkerRole::decode) {
    const int most = *std::max_element(knobs.sequences.begin(), knobs.sequences.end());
    knobs.budgets = {std::max<std::int64_t>(
        *std::min_element(knobs.budgets.begin(), knobs.budgets.end()), most)};
  } else if (role == WorkerRole::prefill) {
    const std::int64_t least = *std::min_element(knobs.budgets.begin(), knobs.budgets.end());
    const int seqs = *std::min_element(knobs.sequences.begin(), knobs.sequences.end());
    knobs.sequences = {static_cast<int>(std::min<std::int64_t>(seqs, least))};
  }
  return knobs;
}

class Enumerator {
 public:
  Enumerator(const Problem& problem, Space& space) : problem_(problem), space_(space) {}

  void run() {
    for (const ParallelLayout& layout : possible_layouts(problem_)) {
      if (layout.gpus() <= most()) {
        space_.layouts.push_back(compile_layout(problem_, layout));
      }
    }
    const SearchSpace& search = problem_.recipe->search;
    if (search.aggregated) {
      const Range shapes = add_shapes(WorkerRole::aggregated);
      for (std::uint32_t i = shapes.begin; i < shapes.end; ++i) {
        add_aggregated(i);
      }
    }
    if (search.disaggregated) {
      const Range prefill = add_shapes(WorkerRole::prefill);
      const Range decode = add_shapes(WorkerRole::decode);
      for (std::uint32_t p = prefill.begin; p < prefill.end; ++p) {
        for (std::uint32_t d = decode.begin; d < decode.end; ++d) {
          add_disaggregated(p, d);
        }
      }
    }
    std::stable_sort(space_.rejected.begin(), space_.rejected.end(),
                     [](const Rejection& a, const Rejection& b) { return a.count > b.count; });
  }

 private:
  struct Range {
    std::uint32_t begin;
    std::uint32_t end;
  };

  Range add_shapes(WorkerRole role) {
    const auto begin = static_cast<std::uint32_t>(space_.shapes.size());
    const Knobs knobs = knobs_for(problem_, role);
    for (std::uint32_t l = 0; l < space_.layouts.size(); ++l) {
      for (const std::int64_t budget : knobs.budgets) {
        for (const int sequences : knobs.sequences) {
          Shape shape{l, role, problem_.recipe->engine, space_.layouts[l].rejected};
          shape.config.max_num_batched_tokens = budget;
          shape.config.max_num_seqs = sequences;
          resolve_speculation(problem_, shape.config);
          if (shape.rejected.empty()) {
            resolve_memory(problem_, space_.layouts[l].layout, shape);
          }
          space_.shapes.push_back(std::move(shape));
        }
      }
    }
    return {begin, static_cast<std::uint32_t>(space_.shapes.size())};
  }

  int fewest() const { return problem_.recipe->hardware.count.low; }
  int most() const { return problem_.recipe->hardware.count.high; }

  void add(const Topology& topology, const std::string& rejected) {
    ++space_.explored;
    if (rejected.empty()) {
      space_.topologies.push_back(topology);
      return;
    }
    for (Rejection& rejection : space_.rejected) {
      if (rejection.reason == rejected) {
        ++rejection.count;
        return;
      }
    }
    space_.rejected.push_back({rejected, 1});
  }

  void add_aggregated(std::uint32_t index) {
    const Shape& shape = space_.shapes[index];
    const int gpus = space_.layout(shape).gpus();
    for (const int n : replica_counts(most() / gpus)) {
      if (n * gpus >= fewest()) {
        add({index, Topology::kNone, static_cast<std::uint16_t>(n), 0}, shape.rejected);
      }
    }
  }

  void add_disaggregated(std::uint32_t first, std::uint32_t second) {
    const Shape& prefill = space_.shapes[first];
    const Shape& decode = space_.shapes[second];
    const std::string& rejected = prefill.rejected.empty() ? decode.rejected : prefill.rejected;
    const int a = space_.layout(prefill).gpus();
    const int b = space_.layout(decode).gpus();
    for (const int p : replica_counts((most() - b) / a)) {
      for (const int d : replica_counts((most() - p * a) / b)) {
        if (p * a + d * b >= fewest()) {
          add({first, second, static_cast<std::uint16_t>(p), static_cast<std::uint16_t>(d)},
              rejected);
        }
      }
    }
  }

  const Problem& problem_;
  Space& space_;
};

PoolSpec make_pool(const Space& space, const Shape& shape, int replicas) {
  PoolSpec pool;
  pool.role = shape.role;
  pool.replicas = replicas;
  pool.layout = space.layout(shape);
  pool.config = shape.config;
  return pool;
}

std::string gigabytes(Bytes bytes) {
  const auto tenths = static_cast<std::int64_t>(static_cast<double>(bytes.count()) / 1e8 + 0.5);
  return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " GB";
}

}  // namespace

void resolve_speculation(const Problem& problem, EngineConfig& config) {
  if (config.speculation) {
    config.speculation->acceptance_length =
        perf::speculation_of(problem.model, *config.speculation).acceptance_length;
  }
}

void resolve_hybrid_cache(const Problem& problem, EngineConfig& config) {
  if (!config.hybrid_kv_cache && !problem.recipe->kv_tiers.empty() &&
      perf::cache_groups(problem.model, problem.kv_cache, 1, config).split()) {
    config.hybrid_kv_cache = false;
  }
}

void resolve_states(const perf::MemoryUse& use, EngineConfig& config) {
  if (use.states > 0) {
    config.sglang.max_mamba_cache_size = use.states;
  }
}

std::int64_t Problem::wanted_context() const {
  return recipe->engine.max_model_len.value_or(std::max(model.max_context, stats.summary.longest));
}

int Space::gpus(const Topology& topology) const {
  int total = topology.first_replicas * layout(shapes[topology.first]).gpus();
  if (topology.disaggregated()) {
    total += topology.second_replicas * layout(shapes[topology.second]).gpus();
  }
  return total;
}

Space enumerate(const Problem& problem) {
  Space space;
  Enumerator(problem, space).run();
  return space;
}

TransferSpec make_transfer(const Problem& problem) {
  TransferSpec transfer;
  transfer.bytes_per_token = problem.model.kv_bytes_per_token(problem.kv_cache, 1);
  return transfer;
}

void follow_recipe(const Recipe& recipe, Plan& plan) {
  plan.router = recipe.router;
  plan.kv_tiers = recipe.kv_tiers;
  plan.network = recipe.network;
  plan.disaggregation = recipe.disaggregation;
  plan.autoscaler = recipe.autoscaler;
  plan.slo = recipe.slo;
  plan.seed = recipe.seed;
}

std::vector<perf::PerfTarget> targets_of(const Problem& problem, const Plan& plan,
                                         const PoolSpec& pool) {
  std::vector<perf::PerfTarget> targets;
  if (pool.timing.kind == TimingKind::model) {
    targets.push_back(perf::target_of(plan, pool));
  }
  const auto images = problem.image_target(pool.timing, pool.layout.tensor, pool.config.kind);
  if (images && !plan.encode) {
    targets.push_back(*images);
  }
  return targets;
}

Plan make_plan(const Problem& problem, const Space& space, const Topology& topology) {
  Plan plan;
  plan.model = problem.model;
  plan.weights = problem.weights;
  plan.kv_cache = problem.kv_cache;
  plan.pools.push_back(make_pool(space, space.shapes[topology.first], topology.first_replicas));
  if (topology.disaggregated()) {
    plan.pools.push_back(make_pool(space, space.shapes[topology.second], topology.second_replicas));
    plan.transfer = make_transfer(problem);
  }
  std::vector<perf::PerfTarget> targets;
  for (PoolSpec& pool : plan.pools) {
    pool.timing.image_time = problem.recipe->timing.image_time;
    const std::vector<perf::PerfTarget> of_pool = targets_of(problem, plan, pool);
    targets.insert(targets.end(), of_pool.begin(), of_pool.end());
  }
  plan.profile = perf::profile_for(problem.profile, targets);
  follow_recipe(*problem.recipe, plan);
  plan.name = problem.model.name + " on " + problem.profile.device.id + ": " + layout_text(plan);
  return plan;
}

std::string what_would_fit(const Problem& problem) {
  const GpuSpec& device = problem.profile.device;
  std::string text = problem.model.name;
  const perf::MemoryUse alone =
      perf::memory_use(problem.target({}), device, problem.recipe->engine);
  text += " needs " + gigabytes(alone.weights) + " for its weights, and a " + device.id +
          " lends " + gigabytes(alone.budget) + " of its " + gigabytes(alone.capacity);
  const int node = std::max(1, device.gpus_per_node);
  for (int gpus = 1; gpus <= 64 * node; gpus *= 2) {
    const ParallelLayout layout{std::min(gpus, node), (gpus + node - 1) / node, 1, 1};
    if (!layout_problem(problem, layout).empty()) {
      continue;
    }
    Shape shape{0, WorkerRole::aggregated, problem.recipe->engine, {}};
    resolve_memory(problem, layout, shape);
    if (shape.rejected.empty()) {
      text += "; the smallest worker that fits has " + std::to_string(gpus) + " (tp " +
              std::to_string(layout.tensor);
      text += layout.pipeline > 1 ? ", pp " + std::to_string(layout.pipeline) + ")" : ")";
      return text;
    }
  }
  return text + "; no number of them fits";
}

}  // namespace dyn::configurator
