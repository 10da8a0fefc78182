#include "profile_explain.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checks.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/core/schemas.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/operator_work.h"
#include "dyn/perf/perf_model.h"
#include "dyn/profiler/explain.h"
#include "dyn/profiler/show.h"

namespace dyn::cli {
namespace {

constexpr const char* kExample =
    "Examples:\n"
    "  dyn profile explain Qwen/Qwen3-32B --gpu h200 --tp 2 --decode 64 --context 4000\n"
    "  dyn profile explain deepseek-ai/DeepSeek-R1 --gpu b200 --dp 8 --ep 8 --engine sglang \\\n"
    "      --prefill 4096 --decode 32 --context 2000 --json";

struct Flags {
  std::string model;
  std::string gpu;
  std::string profile;
  perf::PerfTarget target;
  std::string weights;
  std::string kv_cache;
  int decode = 0;
  std::int64_t context = 1024;
  std::int64_t prefill = 0;
  std::int64_t prior = 0;
};

Precision precision_of(const std::string& text, Precision otherwise) {
  if (text.empty()) {
    return otherwise;
  }
  const auto precision = enum_from_text<Precision>(text);
  if (!precision) {
    throw Error(ErrorKind::usage, "\"" + text + "\" is no precision",
                "one of bf16, fp16, fp8, fp8_block, fp4, mxfp4, int4, int8, fp32");
  }
  return *precision;
}

/// An engine that the profile has neither host nor kernels of would be answered with another's.
void check_engine(const std::string& engine, const Profile& profile) {
  std::set<std::string> known;
  for (const EngineHost& host : profile.engines) {
    known.insert(host.engine);
  }
  for (const OperatorFit& fit : profile.operators) {
    known.insert(perf::is_collective(fit.kind) ? std::string() : fit.engine);
  }
  known.erase(std::string());
  if (known.empty() || known.contains(engine)) {
    return;
  }
  const std::vector<std::string> names(known.begin(), known.end());
  std::string list;
  for (const std::string& name : names) {
    list += (list.empty() ? "" : ", ") + name;
  }
  const auto guess = nearest(engine, names);
  throw Error(ErrorKind::usage,
              "--engine: '" + engine + "' is no engine of " + profile.name + "; it has " + list,
              guess ? "did you mean '" + *guess + "'?" : "name one of those");
}

int explain(const Context& context, const Flags& flags) {
  if (flags.decode == 0 && flags.prefill == 0) {
    throw Error(ErrorKind::usage, "the step is empty", "give --decode N, --prefill TOKENS or both");
  }
  perf::PerfTarget target = flags.target;
  target.model = find_model(flags.model);
  target.weights = precision_of(flags.weights, target.model.native_weights);
  target.kv_cache = precision_of(flags.kv_cache, Precision::bf16);
  const Profile profile = flags.profile.empty() ? perf::builtin_profile(flags.gpu)
                                                : profiler::open_profile(flags.profile);
  check_engine(target.engine, profile);
  perf::StepBatch batch;
  std::string title = target.model.name + " on " + profile.device.name + ", " + target.engine + ':';
  if (flags.prefill > 0) {
    batch.add_prefill(flags.prefill, flags.prior, true);
    title +=
        " " + std::to_string(flags.prefill) + " prompt tokens after " + std::to_string(flags.prior);
  }
  for (int i = 0; i < flags.decode; ++i) {
    batch.add_decode(flags.context);
  }
  if (flags.decode > 0) {
    title += std::string(flags.prefill > 0 ? "," : "") + " " + std::to_string(flags.decode) +
             " sequences decoding at " + std::to_string(flags.context) + " tokens";
  }
  const auto model = perf::PerfModel::compile(target, profile);
  const std::vector<profiler::ExplainedStep> steps{profiler::explain_step(*model, batch, title)};
  context.print(profiler::to_text(steps));
  context.print_json(profiler::to_json(steps));
  return kOk;
}

}  // namespace

void add_profile_explain(CLI::App& profile, Context& context, Action& action) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* sub = profile.add_subcommand(
      "explain", "The operators of one engine step: time, share, bound, interval, source");
  sub->footer(kExample);
  sub->add_option("MODEL", flags->model, "Name of a model in the catalogue")->required();
  CLI::Option* gpu = sub->add_option("--gpu", flags->gpu, "GPU whose built-in profile prices it")
                         ->type_name("NAME");
  sub->add_option("--profile", flags->profile, "Profile to price with instead")
      ->excludes(gpu)
      ->type_name("FILE");
  sub->add_option("--engine", flags->target.engine, "Whose kernels and host")
      ->capture_default_str()
      ->type_name("NAME");
  sub->add_option(
         "--engine-version", flags->target.engine_version,
         "Version of the engine, such as 0.19.0; default the newest that the profile knows")
      ->check(version_check());
  const auto count = [sub](const char* name, int& value, const char* what) {
    sub->add_option(name, value, what)->check(CLI::Range(1, 4096))->capture_default_str();
  };
  count("--tp", flags->target.layout.tensor, "Tensor parallelism");
  count("--pp", flags->target.layout.pipeline, "Pipeline parallelism");
  count("--dp", flags->target.layout.data, "Attention data parallelism; the step is one rank's");
  count("--ep", flags->target.layout.expert, "Expert parallelism");
  sub->add_option("--weights", flags->weights, "Precision of the weights; default the checkpoint's")
      ->type_name("NAME");
  sub->add_option("--kv-cache", flags->kv_cache, "Precision of the KV cache; default bf16")
      ->type_name("NAME");
  sub->add_option("--decode", flags->decode, "Sequences that decode")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  sub->add_option("--context", flags->context, "KV tokens of each of them")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000'000}))
      ->capture_default_str();
  sub->add_option("--prefill", flags->prefill, "Prompt tokens in the step")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{10'000'000}))
      ->capture_default_str();
  sub->add_option("--prior", flags->prior, "Tokens of that prompt computed before")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{100'000'000}))
      ->capture_default_str();
  sub->callback([flags, &context, &action] {
    action = [flags, &context] {
      if (flags->gpu.empty() && flags->profile.empty()) {
        throw Error(ErrorKind::usage, "--gpu NAME or --profile FILE is needed",
                    "see 'dyn profile explain --help'");
      }
      return explain(context, *flags);
    };
  });
}

}  // namespace dyn::cli
