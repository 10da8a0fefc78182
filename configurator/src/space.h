#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dyn/configurator/explore.h"
#include "dyn/core/model_spec.h"
#include "dyn/core/profile.h"
#include "dyn/perf/cache_groups.h"
#include "dyn/perf/image_timer.h"
#include "dyn/perf/memory_model.h"
#include "dyn/perf/perf_model.h"
#include "dyn/perf/speculation.h"
#include "dyn/sim/workload.h"
#include "workload_stats.h"

namespace dyn::configurator {

/// A recipe with everything looked up.
struct Problem {
  const Recipe* recipe = nullptr;
  ModelSpec model;
  Precision weights = Precision::bf16;
  Precision kv_cache = Precision::bf16;
  Profile profile;
  WorkloadStats stats;

  perf::PerfTarget target(const ParallelLayout& layout) const {
    perf::PerfTarget target;
    target.model = model;
    target.weights = weights;
    target.kv_cache = kv_cache;
    target.layout = layout;
    target.engine = recipe->engine.kind;
    target.engine_version = recipe->engine.version.value_or("");
    target.encodes_images = engines_encode();
    if (recipe->engine.speculation) {
      target.speculation = perf::speculation_of(model, *recipe->engine.speculation);
    }
    return target;
  }
  bool has_images() const {
    return sim::has_images(recipe->traffic) || stats.images_per_request > 0;
  }
  /// Whether requests have images that who computes a prompt encodes.
  bool engines_encode() const {
    return has_images() && !(recipe->deployment && recipe->deployment->encode);
  }
  /// What prices the images that such a worker encodes; none where nothing is to be predicted.
  std::optional<perf::PerfTarget> image_target(const StepTiming& timing, int tensor,
                                               const std::string& engine) const {
    const bool predicted = has_images() && model.vision && !timing.image_time;
    return predicted ? std::optional(perf::vision_target(model, tensor, engine)) : std::nullopt;
  }
  /// Tokens that one request may have: the recipe's limit, else the model's context or the load's
  /// longest request, whichever is more.
  std::int64_t wanted_context() const;
};

/// How a worker may spread the model, compiled once and shared by every shape and topology.
struct LayoutChoice {
  ParallelLayout layout;
  std::shared_ptr<const perf::PerfModel> model;    ///< null where rejected
  std::shared_ptr<const perf::ImageTimer> images;  ///< where requests have images
  std::string rejected;                            ///< why it cannot be, or empty
};

/// Settles what a recipe leaves to the engine: vLLM's layers with windows keep the whole context
/// where tiers are below the device.
void resolve_hybrid_cache(const Problem& problem, EngineConfig& config);

/// Writes down how many linear states the memory leaves, where SGLang has a pool of them.
void resolve_states(const perf::MemoryUse& use, EngineConfig& config);

/// A worker: a layout and its scheduler's limits, with kv_blocks and max_model_len resolved.
struct Shape {
  std::uint32_t layout = 0;  ///< into Space::layouts
  WorkerRole role = WorkerRole::aggregated;
  EngineConfig config;
  std::string rejected;  ///< why it cannot be, or empty

  std::int64_t kv_tokens() const { return config.kv_blocks.value_or(0) * config.block_size; }
};

/// A deployment: replicas of one shape, or of a prefill and of a decode shape.
struct Topology {
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  std::uint32_t first = 0;       ///< into Space::shapes: the aggregated or the prefill workers
  std::uint32_t second = kNone;  ///< the decode workers
  std::uint16_t first_replicas = 1;
  std::uint16_t second_replicas = 0;

  bool disaggregated() const { return second != kNone; }
  bool operator==(const Topology&) const = default;
};

/// Every topology that a recipe allows, in a fixed order.
struct Space {
  std::vector<LayoutChoice> layouts;
  std::vector<Shape> shapes;
  std::vector<Topology> topologies;  ///< those that can run
  std::int64_t explored = 0;         ///< those and the rejected ones
  std::vector<Rejection> rejected;   ///< most frequent first

  const ParallelLayout& layout(const Shape& shape) const { return layouts[shape.layout].layout; }
  int gpus(const Topology& topology) const;
};

Space enumerate(const Problem& problem);

/// What the latency model prices of a pool: its steps, and the images that it encodes.
std::vector<perf::PerfTarget> targets_of(const Problem& problem, const Plan& plan,
                                         const PoolSpec& pool);

/// The plan that realises a topology.
Plan make_plan(const Problem& problem, const Space& space, const Topology& topology);

/// The link between a plan's prefill and decode workers.
TransferSpec make_transfer(const Problem& problem);

/// Gives a plan what the recipe says of routers, links, hand-overs and scaling.
void follow_recipe(const Recipe& recipe, Plan& plan);

/// Writes down the acceptance length that a recipe leaves to what was measured.
void resolve_speculation(const Problem& problem, EngineConfig& config);

/// What the model would need, for the error that nothing fits; a sentence.
std::string what_would_fit(const Problem& problem);

}  // namespace dyn::configurator
