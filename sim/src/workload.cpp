#include "dyn/sim/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <unordered_map>

#include "dyn/core/catalogue.h"
#include "dyn/core/check.h"
#include "dyn/core/error.h"

namespace dyn::sim {
namespace {

constexpr std::int32_t kMooncakeBlock = 512;

/// Milliseconds, with as many decimals as the nanoseconds need.
void append_millis(std::string& out, SimTime time) {
  const std::int64_t nanos = time.time_since_epoch().count();
  fmt::format_to(std::back_inserter(out), "{}", nanos / 1'000'000);
  if (const std::int64_t rest = nanos % 1'000'000; rest != 0) {
    std::string decimals = fmt::format(".{:06}", rest);
    decimals.erase(decimals.find_last_not_of('0') + 1);
    out += decimals;
  }
}

/// Numbers block hashes by first appearance.
class Numbering {
 public:
  std::uint64_t operator()(kvbm::BlockHash hash) {
    const auto [entry, is_new] = ids_.try_emplace(static_cast<std::uint64_t>(hash), next_);
    next_ += is_new ? 1 : 0;
    return entry->second;
  }
  std::uint64_t fresh() { return next_++; }

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> ids_;
  std::uint64_t next_ = 0;
};

}  // namespace

kvbm::PromptBlocks Workload::prompt_blocks(const WorkloadRequest& request,
                                           int engine_block_size) const {
  DYN_ASSERT(engine_block_size > 0 && block_tokens % engine_block_size == 0,
             "a trace's block holds whole engine blocks");
  const auto factor = static_cast<std::uint32_t>(block_tokens / engine_block_size);
  const std::int64_t full = request.input_tokens / engine_block_size;
  const std::int64_t known = static_cast<std::int64_t>(request.block_count) * factor;
  if (request.segment_count > 0) {
    return {std::span(segments).subspan(request.first_segment, request.segment_count), factor,
            static_cast<std::uint32_t>(std::min(full, known))};
  }
  return {std::span(blocks).subspan(request.first_block, request.block_count), factor,
          static_cast<std::uint32_t>(std::min(full, known))};
}

Workload first_requests(const Workload& workload, std::size_t count) {
  DYN_ASSERT(workload.concurrency > 0 && workload.follow_ups.empty(),
             "the start of a closed loop whose requests follow no other");
  DYN_ASSERT(count <= workload.requests.size() && workload.warmup <= count,
             "a load's start is part of it, and its warm-up is part of that");
  const auto start_of = [](const auto& all, std::size_t length) {
    return std::remove_cvref_t<decltype(all)>(
        all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(length, all.size())));
  };
  Workload start;
  start.requests = start_of(workload.requests, count);
  std::size_t blocks = 0;
  std::size_t segments = 0;
  for (const WorkloadRequest& request : start.requests) {
    blocks = std::max(blocks, std::size_t{request.first_block} + request.block_count);
    segments = std::max(segments, std::size_t{request.first_segment} + request.segment_count);
  }
  start.blocks = start_of(workload.blocks, blocks);
  start.segments = start_of(workload.segments, segments);
  start.block_tokens = workload.block_tokens;
  start.concurrency = workload.concurrency;
  start.warmup = workload.warmup;
  start.sessions = start_of(workload.sessions, count);
  start.classes = workload.classes;
  start.class_of = start_of(workload.class_of, count);
  start.priorities = start_of(workload.priorities, count);
  start.adapters = start_of(workload.adapters, count);
  start.images = workload.images;
  start.request_images = start_of(workload.request_images, count);
  start.max_idle = workload.max_idle;
  start.patience = start_of(workload.patience, count);
  start.patient_once_served = workload.patient_once_served;
  return start;
}

std::string to_mooncake(const Workload& workload) {
  DYN_ASSERT(workload.block_tokens == kMooncakeBlock, "Mooncake's blocks are of 512 tokens");
  DYN_ASSERT(workload.follow_ups.empty(), "Mooncake's requests wait for no other");
  std::string out;
  Numbering number;
  for (const WorkloadRequest& request : workload.requests) {
    out += "{\"timestamp\": ";
    append_millis(out, request.arrival);
    fmt::format_to(std::back_inserter(out),
                   ", \"input_length\": {}, \"output_length\": {}, \"hash_ids\": [",
                   request.input_tokens, request.output_tokens);
    const std::int64_t count = (request.input_tokens + kMooncakeBlock - 1) / kMooncakeBlock;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto index = request.first_block + static_cast<std::size_t>(i);
      const std::uint64_t id =
          i < request.block_count ? number(workload.blocks[index]) : number.fresh();
      fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : ", ", id);
    }
    out += "]}\n";
  }
  return out;
}

namespace {

/// The longest prompt and answer that every engine takes, where the recipe says so.
std::optional<std::int64_t> context_of(const Recipe& recipe) {
  std::optional<std::int64_t> context = recipe.engine.max_model_len;
  if (recipe.deployment) {
    context.reset();
    for (const DeploymentPool& pool : recipe.deployment->pools) {
      if (pool.engine && pool.engine->max_model_len) {
        context =
            std::min(context.value_or(*pool.engine->max_model_len), *pool.engine->max_model_len);
      }
    }
  }
  return context;
}

/// The largest block size of the recipe's engines.
int block_size_of(const Recipe& recipe) {
  int size = recipe.engine.block_size;
  if (recipe.deployment) {
    for (const DeploymentPool& pool : recipe.deployment->pools) {
      size = pool.engine ? std::max(size, pool.engine->block_size) : size;
    }
  }
  return size;
}

}  // namespace

namespace {

/// What requests of a trace may ask for by name, where the engines have slots for adapters.
std::optional<ModelNames> names_of(const Recipe& recipe, const ModelSpec& model) {
  std::vector<const EngineConfig*> engines{&recipe.engine};
  if (recipe.deployment) {
    for (const DeploymentPool& pool : recipe.deployment->pools) {
      if (pool.engine) {
        engines.push_back(&*pool.engine);
      }
    }
  }
  std::optional<ModelNames> out;
  for (const EngineConfig* engine : engines) {
    if (!engine->lora) {
      continue;
    }
    if (!out) {
      out = ModelNames{{recipe.model, model.name}, engine->lora->names};
    } else if (out->adapters != engine->lora->names) {
      throw Error(ErrorKind::bad_input, "the engines of the pools name different adapters",
                  "give all the same lora.names");
    }
  }
  return out;
}

}  // namespace

Workload make_workload(const Recipe& recipe, const std::string& recipe_path, int threads) {
  if (recipe.traffic.trace) {
    const ModelSpec model = find_model(model_reference(recipe_path, recipe.model));
    TraceOptions options;
    options.model = &model;
    options.names = names_of(recipe, model);
    options.traffic = recipe.traffic;
    options.seed = recipe.seed;
    options.block_tokens = block_size_of(recipe);
    options.max_context = context_of(recipe);
    options.threads = threads;
    return load_trace(resolve_beside(recipe_path, *recipe.traffic.trace), options);
  }
  std::optional<ModelSpec> model;
  if (has_images(recipe.traffic)) {
    model = find_model(model_reference(recipe_path, recipe.model));
  }
  return make_synthetic(recipe.traffic, recipe.seed, recipe.engine.block_size, recipe_path,
                        model ? &*model : nullptr);
}

}  // namespace dyn::sim
