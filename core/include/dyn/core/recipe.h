#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/autoscaler.h"
#include "dyn/core/deployment.h"
#include "dyn/core/disaggregation.h"
#include "dyn/core/engine_config.h"
#include "dyn/core/faults.h"
#include "dyn/core/kv_tiers.h"
#include "dyn/core/network.h"
#include "dyn/core/precision.h"
#include "dyn/core/quantity.h"
#include "dyn/core/router_config.h"
#include "dyn/core/slo.h"
#include "dyn/core/step_timing.h"
#include "dyn/core/traffic.h"

namespace dyn {

class Document;

/// An inclusive range of whole numbers; text form `8` or `8-32`.
struct IntRange {
  int low = 1;
  int high = 1;
  bool operator==(const IntRange&) const = default;
};

struct Hardware {
  std::string gpu;                     ///< catalogue id, such as h200; empty: none is given
  IntRange count{1, 8};                ///< GPUs a deployment may use
  std::optional<std::string> profile;  ///< profile file; default the built-in one of `gpu`
  std::optional<DollarsPerHour> price_per_gpu;
};

enum class Objective { throughput_per_gpu, throughput, goodput_per_gpu, ttft, itl, e2e, gpus };

/// What to explore; every list empty means all that fits.
struct SearchSpace {
  bool aggregated = true;
  bool disaggregated = true;
  std::vector<int> tensor;       ///< TP sizes
  std::vector<int> pipeline{1};  ///< PP sizes
  std::vector<std::int64_t> max_num_batched_tokens;
  std::vector<int> max_num_seqs;
  int replay = 10;  ///< how many of the best are simulated in full
};

/// A question to `dyn simulate` (schema dyn.recipe/1).
struct Recipe {
  std::string model;                  ///< catalogue name, or path of a config.json
  std::optional<Precision> weights;   ///< default what the checkpoint holds
  std::optional<Precision> kv_cache;  ///< default bf16, or fp8 where the weights are
  Hardware hardware;
  Traffic traffic;
  Slo slo;
  Objective objective = Objective::throughput_per_gpu;
  EngineConfig engine;
  RouterConfig router;
  NetworkSpec network;
  DisaggregationSpec disaggregation;
  AutoscalerSpec autoscaler;
  FaultSpec faults;
  KvTiers kv_tiers;
  StepTiming timing;
  SearchSpace search;
  std::optional<Deployment> deployment;  ///< this fleet instead of a search
  std::uint64_t seed = 1;
};

/// Reads and checks a recipe. `overrides` are the `--set key.path=value` of the command line,
/// applied before checking. Throws Error(bad_input) with every problem found, unknown models and
/// GPUs and files that are not there included. Paths in it stay as written; resolve them against
/// the recipe's folder with `resolve_beside`.
Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides = {});
/// The same for a document, but looks at no other file and in no catalogue.
Recipe parse_recipe(const Document& document);

/// What `find_model` is to be asked for a recipe's model: a path beside the recipe, or the name.
std::string model_reference(const std::string& recipe_path, const std::string& model);

/// `path` as seen from the folder of `file`, unless it is absolute.
std::string resolve_beside(const std::string& file, const std::string& path);

/// One `key = value  # reason` line per default of a recipe, for --explain-defaults.
std::string explain_recipe_defaults();
/// The same as a JSON document (dyn.defaults/1).
std::string recipe_defaults_json();

}  // namespace dyn
