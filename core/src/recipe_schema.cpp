#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>

#include "deployment_rules.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/json_writer.h"
#include "dyn/core/node.h"
#include "dyn/core/schemas.h"

namespace dyn {
namespace {

constexpr std::int64_t kMostTokens = 100'000'000;

template <class T>
void check_unique(const std::vector<T>& values, const char* key, Checker& checker) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::find(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values[i]) !=
        values.begin() + static_cast<std::ptrdiff_t>(i)) {
      checker.error(key, i, "given twice: " + std::to_string(values[i]));
    }
  }
}

/// Whether the engines of every pool have slots for LoRA adapters.
bool takes_adapters(const Recipe& recipe) {
  const auto has = [](const DeploymentPool& pool) { return pool.engine && pool.engine->lora; };
  return recipe.engine.lora ||
         (recipe.deployment &&
          std::all_of(recipe.deployment->pools.begin(), recipe.deployment->pools.end(), has));
}

}  // namespace

void describe(EnumSchema<Objective>& s) {
  s.value(Objective::throughput_per_gpu, "throughput_per_gpu",
          "output tokens/s per GPU, most first.")
      .value(Objective::throughput, "throughput", "output tokens/s, most first.")
      .value(Objective::goodput_per_gpu, "goodput_per_gpu",
             "requests/s that meet every target, per GPU, most first.")
      .value(Objective::ttft, "ttft", "mean time to first token, least first.")
      .value(Objective::itl, "itl", "mean inter-token latency, least first.")
      .value(Objective::e2e, "e2e", "mean request latency, least first.")
      .value(Objective::gpus, "gpus", "fewest GPUs that meet the targets.");
}

void describe(ObjectSchema<Slo>& s) {
  s.about("slo",
          "Latency targets. A percentile holds over the requests of a run; TTFT is from the send "
          "to the first token, ITL is (E2E - TTFT) / (output tokens - 1) of a request, E2E is from "
          "the send to the last token.");
  const auto target = [&s](const char* key, std::optional<Duration> Slo::*member,
                           const std::string& statistic, const char* metric) {
    s.field(key, member, statistic + ' ' + metric + " at most this.")
        .above(Duration{0})
        .unset("no target");
  };
  constexpr const char* kTtft = "time to first token";
  constexpr const char* kItl = "inter-token latency";
  constexpr const char* kE2e = "request latency";
  target("ttft_mean", &Slo::ttft_mean, "Mean", kTtft);
  target("ttft_p50", &Slo::ttft_p50, "Median", kTtft);
  target("ttft_p90", &Slo::ttft_p90, "90th percentile of", kTtft);
  target("ttft_p95", &Slo::ttft_p95, "95th percentile of", kTtft);
  target("ttft_p99", &Slo::ttft_p99, "99th percentile of", kTtft);
  target("itl_mean", &Slo::itl_mean, "Mean", kItl);
  target("itl_p50", &Slo::itl_p50, "Median", kItl);
  target("itl_p90", &Slo::itl_p90, "90th percentile of", kItl);
  target("itl_p95", &Slo::itl_p95, "95th percentile of", kItl);
  target("itl_p99", &Slo::itl_p99, "99th percentile of", kItl);
  target("e2e_mean", &Slo::e2e_mean, "Mean", kE2e);
  target("e2e_p50", &Slo::e2e_p50, "Median", kE2e);
  target("e2e_p90", &Slo::e2e_p90, "90th percentile of", kE2e);
  target("e2e_p95", &Slo::e2e_p95, "95th percentile of", kE2e);
  target("e2e_p99", &Slo::e2e_p99, "99th percentile of", kE2e);
}

void describe(ObjectSchema<Hardware>& s) {
  s.about("hardware", "The GPUs that a deployment may use.");
  s.field("gpu", &Hardware::gpu, "Catalogue id of the GPU (dyn profile list).")
      .required()
      .not_empty()
      .example("h200");
  s.field("count", &Hardware::count,
          "How many GPUs a deployment may use: 32 means 1 to 32, 8-32 at least 8.")
      .because("one node");
  s.field("profile", &Hardware::profile, "Path of a profile file, relative to the recipe.")
      .not_empty()
      .unset("the built-in profile of the GPU");
  s.field("price_per_gpu", &Hardware::price_per_gpu, "Price of one GPU, for the cost per token.")
      .above(DollarsPerHour(0))
      .unset("no cost is reported");
}

void describe(ObjectSchema<SearchSpace>& s) {
  s.about("search", "What to explore; an empty list means all that fits.");
  s.field("aggregated", &SearchSpace::aggregated, "Explore workers that do prefill and decode.")
      .because("the usual deployment");
  s.field("disaggregated", &SearchSpace::disaggregated,
          "Explore pools of prefill workers with pools of decode workers.")
      .because("often the better one for long prompts");
  s.field("tensor", &SearchSpace::tensor, "Tensor-parallel sizes.")
      .between(1, 1024)
      .because("every size that divides the model and fits a node");
  s.field("pipeline", &SearchSpace::pipeline, "Pipeline-parallel sizes.")
      .between(1, 256)
      .because("stages lengthen every step; only needed where a node is too small");
  s.field("max_num_batched_tokens", &SearchSpace::max_num_batched_tokens,
          "Token budgets of a step.")
      .between(1, kMostTokens)
      .because("the engine's own");
  s.field("max_num_seqs", &SearchSpace::max_num_seqs, "Batch limits.")
      .between(1, 1'000'000)
      .because("the engine's own");
  s.field("replay", &SearchSpace::replay, "How many of the best topologies are simulated in full.")
      .between(1, 10'000)
      .because("the closed-form score orders the rest well enough to leave them out");
  s.check([](const SearchSpace& search, Checker& checker) {
    if (!search.aggregated && !search.disaggregated) {
      checker.error("disaggregated", "neither aggregated nor disaggregated: nothing to explore");
    }
    check_unique(search.tensor, "tensor", checker);
    check_unique(search.pipeline, "pipeline", checker);
    check_unique(search.max_num_batched_tokens, "max_num_batched_tokens", checker);
    check_unique(search.max_num_seqs, "max_num_seqs", checker);
  });
}

void describe(ObjectSchema<Recipe>& s) {
  s.about("recipe",
          "A question to `dyn simulate`: which deployment of this model on this hardware "
          "meets these targets under this traffic, and at what cost?");
  s.field("model", &Recipe::model,
          "Catalogue name of the model, or path of a config.json, relative to the recipe.")
      .required()
      .not_empty()
      .example("Qwen/Qwen3-32B");
  s.field("weights", &Recipe::weights, "How the weights are stored.")
      .example("fp8")
      .unset("what the checkpoint holds");
  s.field("kv_cache", &Recipe::kv_cache, "How the KV cache is stored.")
      .unset("bf16, or fp8 where the weights are");
  s.field("hardware", &Recipe::hardware,
          "The GPUs that may be used. Needed unless a deployment with its kv_blocks has step times "
          "of its own.");
  s.field("traffic", &Recipe::traffic, "The requests to serve.").required();
  s.field("slo", &Recipe::slo, "The latency targets to meet.");
  s.field("objective", &Recipe::objective,
          "What to rank by, among the topologies that meet the targets.")
      .because("cost per token falls as it rises");
  s.field("engine", &Recipe::engine, "Limits of each engine.");
  s.field("router", &Recipe::router, "How requests are spread over workers.");
  s.field("network", &Recipe::network, "The links between GPUs, hosts and nodes.").brief();
  s.field("disaggregation", &Recipe::disaggregation, "How prompts are handed over.").brief();
  s.field("autoscaler", &Recipe::autoscaler, "How pools grow and shrink during a run.").brief();
  s.field("faults", &Recipe::faults, "What goes wrong during a run.").brief();
  s.field("kv_tiers", &Recipe::kv_tiers, "Where KV blocks go beyond the device's memory.").brief();
  s.field("timing", &Recipe::timing, "Where step times come from.");
  s.field("search", &Recipe::search, "What to explore.");
  s.field("deployment", &Recipe::deployment, "A fleet to simulate as it is, instead of a search.")
      .unset("a search");
  s.field("seed", &Recipe::seed, "Seed of every random stream.")
      .because("equal input gives equal output");
  s.check(check_deployment);
  s.check([](const Recipe& recipe, Checker& checker) {
    if (const std::optional<TierProblem> problem =
            problem_of(recipe.kv_tiers, recipe.engine, !recipe.traffic.concurrency)) {
      checker.error("kv_tiers", problem->message, problem->hint);
    }
    if (recipe.traffic.adapters && !takes_adapters(recipe)) {
      checker.error("traffic", "'adapters' are used, but engines have no slots for them",
                    "give engine.lora, such as engine: {lora: {slots: 4}}");
    }
    const bool encoders = recipe.deployment && recipe.deployment->encode;
    if (!encoders && std::any_of(recipe.faults.schedule.begin(), recipe.faults.schedule.end(),
                                 [](const FaultEvent& fault) { return fault.encode; })) {
      checker.error("faults", "a fault befalls an encode worker, but there are none",
                    "such as deployment: {encode: {}, pools: [{}]}");
    }
    const std::vector<int>& tensor = recipe.search.tensor;
    const auto smallest = std::min_element(tensor.begin(), tensor.end());
    if (smallest != tensor.end() && *smallest > recipe.hardware.count.high) {
      checker.error("search", "every tensor-parallel size is larger than hardware.count (" +
                                  std::to_string(recipe.hardware.count.high) + ")");
    }
  });
}

const DocumentSchema& recipe_schema() {
  static const DocumentSchema schema = document_schema<Recipe>(
      "dyn.recipe", 1, "Recipes",
      "A recipe is the question that `dyn simulate` answers. Paths in it "
      "are relative to its folder; `--set key.path=value` overrides a value on the command line.");
  return schema;
}

Recipe parse_recipe(const Document& document) {
  Recipe recipe;
  read_document(recipe_schema(), document, &recipe);
  complete_deployment(document, recipe);
  return recipe;
}

namespace {

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// The text at a key of the recipe or of one of its objects, if there is one.
std::optional<Node> text_at(const Node& root, const char* outer, const char* key) {
  std::optional<Node> node = root;
  for (const char* step : {outer, key}) {
    if (node && *step != '\0') {
      node = node->is_object() ? node->find(step) : std::nullopt;
    }
  }
  return node && node->kind() == NodeKind::text ? node : std::nullopt;
}

void check_file(const std::optional<Node>& node, const std::string& recipe_path, const char* what,
                Problems& problems) {
  if (!node) {
    return;
  }
  const std::string file = resolve_beside(recipe_path, node->text());
  if (!exists(file)) {
    problems.add(*node, "there is no file " + file,
                 std::string(what) + " lies beside its recipe, or has an absolute path");
  }
}

/// A name that no catalogue has is an error here, so that it comes with the others of the file;
/// what a model's own file says is read later.
void check_model(const std::optional<Node>& node, const std::string& recipe_path,
                 Problems& problems) {
  if (!node) {
    return;
  }
  const std::string wanted = model_reference(recipe_path, node->text());
  if (wanted.ends_with(".json")) {
    check_file(node, recipe_path, "a model's config.json", problems);
    return;
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(wanted, ignored)) {
    return;
  }
  try {
    find_model(wanted);
  } catch (const Error& error) {
    problems.add(*node, error.items().front().message, error.items().front().hint);
  }
}

void check_gpu(const std::optional<Node>& node, Problems& problems) {
  if (!node) {
    return;
  }
  try {
    find_gpu(node->text());
  } catch (const Error& error) {
    problems.add(*node, error.items().front().message, error.items().front().hint);
  }
}

}  // namespace

Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  Problems problems;
  Document document = Document::read_file(path, problems);
  for (const std::string& assignment : overrides) {
    document.set(assignment);
  }
  Recipe recipe;
  read_document(recipe_schema(), document, &recipe, problems);
  const Node root = document.root();
  check_model(text_at(root, "", "model"), path, problems);
  check_file(text_at(root, "traffic", "trace"), path, "a trace", problems);
  if (const auto profile = text_at(root, "hardware", "profile")) {
    check_file(profile, path, "a profile", problems);
  } else {
    check_gpu(text_at(root, "hardware", "gpu"), problems);
  }
  problems.throw_if_any();
  return recipe;
}

std::string model_reference(const std::string& recipe_path, const std::string& model) {
  const std::string beside = resolve_beside(recipe_path, model);
  std::error_code ignored;
  const bool file = model.size() > 5 && model.ends_with(".json");
  return file || std::filesystem::is_directory(beside, ignored) ? beside : model;
}

std::string resolve_beside(const std::string& file, const std::string& path) {
  const std::filesystem::path wanted(path);
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  if (wanted.is_absolute() || folder.empty()) {
    return path;
  }
  return (folder / wanted).lexically_normal().string();
}

std::string explain_recipe_defaults() {
  std::string text;
  for (const DefaultValue& value : explain_defaults(*recipe_schema().type)) {
    text += value.key + " = " + value.value;
    text += value.reason.empty() ? "\n" : "  # " + value.reason + '\n';
  }
  return text;
}

std::string recipe_defaults_json() {
  JsonWriter writer;
  writer.begin_object();
  writer.member("schema", "dyn.defaults/1");
  writer.member("of", recipe_schema().id());
  writer.key("defaults");
  writer.begin_list();
  for (const DefaultValue& value : explain_defaults(*recipe_schema().type)) {
    writer.begin_object();
    writer.member("key", value.key);
    writer.member("default", value.value);
    writer.member("reason", value.reason);
    writer.end_object();
  }
  writer.end_list();
  writer.end_object();
  return writer.finish() + '\n';
}

}  // namespace dyn
