#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checks.h"
#include "dyn/cli/app.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/eval/calibrate.h"
#include "dyn/profiler/show.h"

namespace dyn::cli {
namespace {

constexpr const char* kExample =
    "Examples:\n"
    "  dyn profile calibrate --from c1.jsonl --from c8.jsonl --profile h100 --model Qwen/Qwen3-8B "
    "\\\n"
    "    -o mine.json                                   two short runs adjust a profile\n"
    "  dyn profile calibrate --from profile_export_aiperf.json --fit step_base ...\n"
    "  dyn profile calibrate --from measured.csv -o mine.json     rows of one deployment\n"
    "  ... --predict other.jsonl                        and how well another run is predicted";

struct Flags {
  std::vector<std::string> from;
  std::vector<std::string> predict;
  std::vector<std::string> fit;
  std::string output;
  std::string profile;
  std::string model;
  std::string engine = "vllm";
  std::string weights = "bf16";
  std::string kv_cache = "bf16";
  int tensor = 1;
  EngineConfig config;
  std::optional<std::int64_t> kv_blocks;
};

const std::map<std::string, Precision>& precisions() {
  static const std::map<std::string, Precision> names{
      {"fp32", Precision::fp32},   {"bf16", Precision::bf16}, {"fp16", Precision::fp16},
      {"fp8", Precision::fp8},     {"int8", Precision::int8}, {"fp4", Precision::fp4},
      {"mxfp4", Precision::mxfp4}, {"int4", Precision::int4}, {"fp8_block", Precision::fp8_block}};
  return names;
}

std::vector<eval::Constant> constants(const std::vector<std::string>& names) {
  using eval::Constant;
  const std::vector<Constant> all{Constant::step_base, Constant::step_per_sequence,
                                  Constant::frontend, Constant::prefill_time,
                                  Constant::decode_time};
  std::vector<Constant> chosen;
  for (const std::string& name : names) {
    std::vector<std::string> known;
    for (const Constant constant : all) {
      known.emplace_back(eval::to_text(constant));
      if (known.back() == name) {
        chosen.push_back(constant);
      }
    }
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const auto guess = nearest(name, known);
      throw Error(ErrorKind::usage, "--fit: unknown constant '" + name + "'",
                  guess ? "did you mean '" + *guess + "'?" : std::string());
    }
  }
  return chosen;
}

eval::Deployment deployment(const Flags& flags) {
  if (flags.model.empty() || flags.profile.empty()) {
    throw Error(ErrorKind::usage, "--model and --profile are needed to simulate recorded requests",
                "a measured table (.csv) names both itself");
  }
  eval::Deployment out;
  out.profile = profiler::open_profile(flags.profile);
  out.model = find_model(flags.model);
  out.weights = precisions().at(flags.weights);
  out.kv_cache = precisions().at(flags.kv_cache);
  out.layout.tensor = flags.tensor;
  out.config = flags.config;
  out.config.kind = flags.engine;
  out.config.prefix_caching = false;
  out.config.kv_blocks = flags.kv_blocks;
  return out;
}

/// The runs of these files; a table (.csv) has one a row.
std::vector<eval::RecordedRun> load(const std::vector<std::string>& files) {
  std::vector<eval::RecordedRun> runs;
  for (const std::string& file : files) {
    if (file.ends_with(".csv")) {
      std::vector<eval::RecordedRun> rows = eval::runs_of(eval::load_measured(file)).runs;
      std::move(rows.begin(), rows.end(), std::back_inserter(runs));
    } else {
      runs.push_back(eval::load_recorded_run(file));
    }
  }
  return runs;
}

int calibrate(const Context& context, const Flags& flags) {
  const std::vector<eval::Constant> chosen = constants(flags.fit);
  eval::MeasuredRuns given;
  if (flags.from.size() == 1 && flags.from.front().ends_with(".csv")) {
    given = eval::runs_of(eval::load_measured(flags.from.front()));
    if (!flags.profile.empty()) {
      given.deployment.profile = profiler::open_profile(flags.profile);
    }
    if (flags.config.version) {
      given.deployment.config.version = flags.config.version;
    }
  } else {
    given = {load(flags.from), deployment(flags)};
  }
  for (const eval::RecordedRun& run : given.runs) {
    context.note(run.name + ": " + std::to_string(run.requests.size()) + " requests, " +
                 (run.concurrency > 0 ? "closed loop of " + std::to_string(run.concurrency)
                                      : std::string("open loop")));
  }
  const eval::Calibration result =
      eval::calibrate(given.deployment, given.runs, chosen, load(flags.predict));
  if (!flags.output.empty()) {
    const std::string json = to_json(result.profile);
    write_file(flags.output, json.ends_with('\n') ? json : json + '\n');
    context.note("wrote " + flags.output);
  } else if (!context.json) {
    context.note("nothing was written; -o FILE keeps the profile");
  }
  context.print(eval::to_text(result));
  context.print_json(eval::to_json(result));
  return kOk;
}

}  // namespace

void add_profile_calibrate(CLI::App& profile, Context& context, Action& action) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* sub = profile.add_subcommand(
      "calibrate", "Adjust a profile's host constants and speeds to your own short runs");
  sub->footer(kExample);
  sub->add_option("--from", flags->from,
                  "A recorded run: requests (.jsonl), AIPerf's means (.json), or a table (.csv); "
                  "repeatable")
      ->required()
      ->allow_extra_args(false)
      ->type_name("FILE");
  sub->add_option("--predict", flags->predict,
                  "Another run of the deployment: predicted, not fitted; repeatable")
      ->allow_extra_args(false)
      ->type_name("FILE");
  sub->add_option("--fit", flags->fit,
                  "Constants to fit: step_base, step_per_sequence, frontend_per_request, "
                  "prefill_time, decode_time; default those that the runs can tell")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME");
  sub->add_option("-o,--output", flags->output, "File to write the adjusted profile to")
      ->type_name("FILE");
  const char* group = "What ran";
  sub->add_option("--profile", flags->profile, "Profile to adjust: a built-in one, or a file")
      ->type_name("NAME")
      ->group(group);
  sub->add_option("--model", flags->model, "Catalogue name, or path of a config.json")
      ->type_name("NAME")
      ->group(group);
  sub->add_option("--engine", flags->engine, "Engine whose constants these are")
      ->group(group)
      ->capture_default_str();
  sub->add_option("--engine-version", flags->config.version,
                  "Its version, such as 0.19.0; default the newest that the profile knows")
      ->check(version_check())
      ->group(group);
  std::vector<std::string> names;
  for (const auto& [name, precision] : precisions()) {
    names.push_back(name);
  }
  sub->add_option("--weights", flags->weights, "Precision of the weights")
      ->check(CLI::IsMember(names))
      ->group(group)
      ->capture_default_str();
  sub->add_option("--kv-cache", flags->kv_cache, "Precision of the KV cache")
      ->check(CLI::IsMember(names))
      ->group(group)
      ->capture_default_str();
  sub->add_option("--tensor", flags->tensor, "Tensor parallelism")
      ->check(CLI::Range(1, 1024))
      ->group(group)
      ->capture_default_str();
  sub->add_option("--max-num-seqs", flags->config.max_num_seqs, "As the engine was started")
      ->check(CLI::Range(1, 1'000'000))
      ->group(group)
      ->capture_default_str();
  sub->add_option("--max-num-batched-tokens", flags->config.max_num_batched_tokens,
                  "As the engine was started")
      ->check(CLI::Range(1, 100'000'000))
      ->group(group)
      ->capture_default_str();
  sub->add_option("--block-size", flags->config.block_size, "Tokens of a KV block")
      ->check(CLI::IsMember({1, 2, 4, 8, 16, 32, 64, 128, 256, 512}))
      ->group(group)
      ->capture_default_str();
  sub->add_option("--kv-blocks", flags->kv_blocks,
                  "KV blocks, as the engine reports; default what the memory model leaves")
      ->check(CLI::Range(1, 1'000'000'000))
      ->group(group);
  sub->callback([flags, &context, &action] {
    action = [flags, &context] { return calibrate(context, *flags); };
  });
}

}  // namespace dyn::cli
