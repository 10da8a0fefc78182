#include <malloc.h>
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "dyn/cli/app.h"
#include "dyn/configurator/explore.h"
#include "dyn/configurator/located.h"
#include "dyn/configurator/result.h"
#include "dyn/configurator/text.h"
#include "dyn/core/error.h"
#include "dyn/core/recipe.h"
#include "dyn/core/report.h"
#include "dyn/core/request_export.h"
#include "dyn/sim/workload.h"
#include "simulate_explain.h"
#include "simulate_watch.h"
#include "write_pieces.h"

namespace dyn::cli {
namespace {

constexpr const char* kExample =
    "Examples:\n"
    "  dyn simulate recipes/qwen3-32b-h200-chat.yaml -o out\n"
    "  dyn simulate my.yaml --set hardware.count=16 --set slo.ttft_p99=1s\n"
    "  dyn simulate my.yaml --explain-request 17 --trace run.json        # for ui.perfetto.dev\n"
    "  dyn simulate my.yaml --baseline out/result.json --tolerance 5%    # exit 1 if worse\n"
    "  dyn simulate --make-trace chat.jsonl --requests 500 --span 600    # a seeded trace";

struct SimulateFlags {
  std::string recipe;
  std::string out;
  int threads = 0;
  std::optional<std::uint64_t> seed;
  std::optional<int> top;
  std::vector<std::string> set;
  std::string baseline;
  std::string tolerance = "5%";
  bool explain = false;
  bool explain_defaults = false;
  std::string trace;
  std::optional<std::uint32_t> explain_request;
  std::string make_trace;
  std::int64_t requests = 500;
  double span = 600;
};

/// `5%` or `0.05`, as a fraction. A bare 5 is more likely meant as 5 % than as 500 %.
double parse_tolerance(const std::string& text) {
  const bool percent = text.ends_with('%');
  const std::string number = percent ? text.substr(0, text.size() - 1) : text;
  std::istringstream stream(number);
  double value = -1;
  char rest = 0;
  const bool plain = number.find_first_not_of("0123456789.") == std::string::npos;
  const bool is_number = plain && stream >> value && !(stream >> rest) && value >= 0;
  if (!is_number || (!percent && value >= 1)) {
    throw Error(ErrorKind::usage,
                "--tolerance: expected a share such as 5% or 0.05, got \"" + text + '"',
                is_number ? "did you mean '" + text + "%'?" : "");
  }
  return percent ? value / 100 : value;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int make_trace(const Context& context, const SimulateFlags& flags) {
  const std::uint64_t seed = flags.seed.value_or(1);
  const sim::Workload workload =
      sim::make_conversation(flags.requests, from_seconds(flags.span), seed);
  write_file(flags.make_trace, sim::to_mooncake(workload));
  context.print("wrote " + std::to_string(workload.requests.size()) + " requests to " +
                flags.make_trace);
  context.print_json(
      "{\"schema\": \"dyn.trace/1\", \"requests\": " + std::to_string(workload.requests.size()) +
      ", \"seed\": " + std::to_string(seed) + "}");
  return kOk;
}

int threads_of(const SimulateFlags& flags) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  return flags.threads > 0 ? flags.threads : static_cast<int>(cores);
}

sim::Workload read_workload(const Recipe& recipe, const std::string& path, int threads) {
  sim::Workload workload;
  configurator::with_location(path, "/traffic", "",
                              [&] { workload = sim::make_workload(recipe, path, threads); });
  return workload;
}

/// Writes the winner's report in AIPerf's files, and what its fleet did.
void write_report(const std::string& folder, const configurator::ExploreResult& result,
                  int threads) {
  const std::filesystem::path out(folder);
  const Report& report = result.ranked.front().report;
  write_file((out / "profile_export_aiperf.json").string(), to_json(report));
  write_file((out / "profile_export_aiperf.csv").string(), to_csv(report));
  write_pieces((out / "profile_export.jsonl").string(), [&](const PieceSink& sink) {
    write_request_export(result.winner_records, sink, threads);
  });
  write_file((out / "fleet_history.json").string(), to_json(result.winner_fleet));
}

configurator::ResultSource source_of(const Recipe& recipe, const SimulateFlags& flags) {
  configurator::ResultSource source;
  source.recipe_name = std::filesystem::path(flags.recipe).filename().string();
  source.recipe_text = read_text(flags.recipe);
  source.overrides = flags.set;
  source.files = configurator::input_files(recipe, flags.recipe);
  return source;
}

/// Prints what changed against the baseline; 1 if something got worse.
int gate(const Context& context, const configurator::StoredResult& baseline,
         const configurator::ExploreResult& result, double tolerance) {
  const std::vector<configurator::FigureChange> changes =
      configurator::compare(baseline, result, tolerance);
  context.print('\n' + configurator::to_table(changes, tolerance));
  context.print_json(configurator::to_json(changes, tolerance, baseline.path));
  for (const configurator::FigureChange& change : changes) {
    if (change.worse) {
      return kFailed;
    }
  }
  return kOk;
}

/// Arrays as long as the load come and go with every run, and getting pages for them from the
/// system takes as long as a simulation of them: freed ones are kept, and the first of the heap are
/// huge where the system has such. A fixed fleet has two runs at a time, which do well with one
/// heap; many simulations at once have one each, as is malloc's default.
void prepare_memory(bool one_heap) {
  constexpr std::size_t kHugePage = 2 << 20;
  constexpr std::size_t kHugePages = 64 << 20;
  if (one_heap) {
    mallopt(M_ARENA_MAX, 1);
  }
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
  mallopt(M_TOP_PAD, 2 << 20);
  mallopt(M_MMAP_MAX, 0);  // from the heap, not a mapping of its own
  if (void* const start = std::malloc(kHugePages)) {
    const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(start) / kHugePage + 1;
    madvise(reinterpret_cast<void*>(first * kHugePage), kHugePages - kHugePage, MADV_HUGEPAGE);
    std::free(start);  // its pages come when they are used
  }
  mallopt(M_MMAP_MAX, 65'536);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
}

int simulate(const Context& context, const SimulateFlags& flags) {
  const double tolerance = parse_tolerance(flags.tolerance);
  const int threads = threads_of(flags);
  Recipe recipe = load_recipe(flags.recipe, flags.set);
  prepare_memory(recipe.deployment.has_value());
  recipe.seed = flags.seed.value_or(recipe.seed);
  recipe.search.replay = flags.top.value_or(recipe.search.replay);
  // What can fail fails before the work does.
  std::optional<configurator::StoredResult> baseline;
  if (!flags.baseline.empty()) {
    baseline = configurator::load_result(flags.baseline);
  }
  context.progress(0, "reading the load");
  const sim::Workload workload = read_workload(recipe, flags.recipe, threads);
  // What needs no simulation, or only its figures, is done beside the rest.
  const std::launch beside = threads == 1 ? std::launch::deferred : std::launch::async;
  configurator::ResultSource source = source_of(recipe, flags);
  std::future<std::string> digest = std::async(
      beside, [&source, &recipe] { return configurator::input_sha256(source, recipe.seed); });
  configurator::ExploreOptions options;
  options.threads = flags.threads;
  options.progress = [&](double fraction, const std::string& what) {
    context.progress(fraction, what);
  };
  options.cancelled = &Context::interrupted();
  options.timeline_points = flags.out.empty() ? 0 : kTimelinePoints;
  const configurator::ExploreResult result =
      configurator::explore(recipe, flags.recipe, workload, options);
  context.progress_done();
  if (result.cancelled) {
    context.note("interrupted; nothing was written");
    return kInterrupted;
  }
  std::future<void> report;
  if (!flags.out.empty()) {
    report = std::async(beside,
                        [&flags, &result, threads] { write_report(flags.out, result, threads); });
  }
  source.sha256 = digest.get();
  const std::string json = configurator::to_json(result, recipe, source);
  context.print(configurator::to_table(result, recipe));
  const bool unseen = !flags.out.empty() && !result.winner_timeline;
  Watched watched = watch(result.ranked.front().plan, workload, recipe,
                          {unseen, !flags.trace.empty(), flags.explain_request});
  if (result.winner_timeline) {
    watched.timeline = to_json(*result.winner_timeline);
  }
  if (!flags.trace.empty()) {
    write_file(flags.trace, watched.trace);
    context.note("wrote " + flags.trace);
  }
  if (!flags.out.empty()) {
    const std::filesystem::path out(flags.out);
    write_file((out / "timeline.json").string(), watched.timeline);
    report.get();
    // The result comes last: where it is, all is.
    write_file((out / "result.json").string(), json);
    context.note("wrote " + (out / "result.json").string());
  }
  if (flags.explain_request) {
    context.print('\n' + watched.explanation);
    context.print_json(watched.explanation_json);
    return kOk;
  }
  if (baseline) {
    return gate(context, *baseline, result, tolerance);
  }
  if (flags.explain) {
    const std::vector<profiler::ExplainedStep> steps = explain_winner(result);
    context.print('\n' + profiler::to_text(steps));
    context.print_json(profiler::to_json(steps));
    return kOk;
  }
  context.print_json(json);
  return kOk;
}

int run_simulate(const Context& context, const SimulateFlags& flags) {
  if (flags.explain_defaults) {
    context.print(explain_recipe_defaults());
    context.print_json(recipe_defaults_json());
    return kOk;
  }
  if (!flags.make_trace.empty()) {
    return make_trace(context, flags);
  }
  if (flags.recipe.empty()) {
    throw Error(ErrorKind::usage, "a recipe is needed", "see 'dyn simulate --help'");
  }
  return simulate(context, flags);
}

}  // namespace

void add_simulate(CLI::App& app, Context& context, Action& action) {
  auto flags = std::make_shared<SimulateFlags>();
  CLI::App* sub =
      app.add_subcommand("simulate", "Explore a recipe's deployments and replay the best of them");
  sub->footer(kExample);
  sub->add_option("RECIPE", flags->recipe, "What to explore (schema dyn.recipe/1)");
  sub->add_option("-o,--output", flags->out,
                  "Folder for result.json and the best deployment's report in AIPerf's files");
  sub->add_option("--threads", flags->threads, "Simulations at a time; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub->add_option("--seed", flags->seed, "Seed of all random streams, instead of the recipe's");
  sub->add_option("--top", flags->top,
                  "How many of the best deployments to simulate in full and rank, instead of the "
                  "recipe's search.replay")
      ->check(CLI::Range(1, 1000));
  sub->add_option("--set", flags->set, "key.path=value: overrides a key of the recipe; repeatable")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  sub->add_option("--baseline", flags->baseline,
                  "An earlier result.json: exit with 1 if the best deployment is worse")
      ->type_name("RESULT");
  sub->add_option("--tolerance", flags->tolerance, "How much worse is still well")
      ->capture_default_str();
  sub->add_flag("--explain", flags->explain,
                "Print the operators of the best deployment's steps: time, share, bound, interval, "
                "source; with --json in place of the result");
  sub->add_flag("--explain-defaults", flags->explain_defaults,
                "Print every default of a recipe with its reason, and exit");
  sub->add_option("--trace", flags->trace,
                  "Write the best deployment's run as a Chrome JSON trace, for Perfetto; the first "
                  "million events")
      ->type_name("FILE");
  sub->add_option("--explain-request", flags->explain_request,
                  "Say where the time of this request went (its number from 0, in the load's "
                  "order) at the best deployment")
      ->type_name("REQUEST");
  const char* group = "Making a trace";
  sub->add_option("--make-trace", flags->make_trace,
                  "Write a seeded trace of growing conversations in Mooncake's form, and exit")
      ->type_name("FILE")
      ->group(group);
  sub->add_option("--requests", flags->requests, "Requests of that trace")
      ->check(CLI::Range(1, 10'000'000))
      ->group(group)
      ->capture_default_str();
  sub->add_option("--span", flags->span, "Seconds that the trace lasts")
      ->check(CLI::Range(1.0, 1e7))
      ->group(group)
      ->capture_default_str();
  sub->callback([flags, &context, &action] {
    action = [flags, &context] { return run_simulate(context, *flags); };
  });
}

}  // namespace dyn::cli
