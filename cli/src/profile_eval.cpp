#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dyn/cli/app.h"
#include "dyn/core/error.h"
#include "dyn/eval/evaluate.h"
#include "dyn/eval/report.h"
#include "dyn/perf/builtin_profiles.h"
#include "profile_eval_operators.h"

namespace dyn::cli {
namespace {

constexpr const char* kExample =
    "Examples:\n"
    "  dyn profile eval --against measured.csv                     errors by slice\n"
    "  dyn profile eval --against measured.csv --csv answers.csv   predictions, one a line\n"
    "  dyn profile eval --against measured.csv --cross-validate --html accuracy.html\n"
    "  dyn profile eval --operators ./aiconfigurator_core --gpu h200  profiles, by operator";

struct Flags {
  std::string against;
  OperatorFlags operators;
  std::string csv;
  std::string html;
  std::string markdown;
  std::string features;
  std::string corrections;
  std::vector<std::string> profiles;
  bool cross_validate = false;
  int threads = 0;
};

/// Built-in profiles, but for the GPUs that a file was given of.
eval::ProfileSource profile_source(const std::vector<std::string>& files) {
  auto given = std::make_shared<std::map<std::string, Profile>>();
  for (const std::string& file : files) {
    Profile profile = load_profile(file);
    (*given)[profile.device.id] = std::move(profile);
  }
  return [given](const std::string& gpu) {
    const auto found = given->find(gpu);
    return found != given->end() ? found->second : perf::builtin_profile(gpu);
  };
}

/// What cross-validation of a table says.
struct CrossValidated {
  std::vector<eval::TitledAccuracy> results;
  std::string sections;  ///< of docs/accuracy.md, behind the tables
};

/// Nothing where it was interrupted.
CrossValidated cross_validate(const std::vector<eval::MeasuredRow>& table,
                              const eval::ProfileSource& profiles,
                              const eval::EvaluateOptions& options) {
  const eval::PredictWith predict = [&](const std::vector<eval::MeasuredRow>& rows,
                                        const eval::FactorsByEngine& factors) {
    const eval::PointPredictor predictor(eval::with_serving_factors(profiles, factors));
    std::vector<eval::EvaluatedRow> predicted = eval::predict_rows(rows, predictor, options);
    return Context::interrupted() ? std::vector<eval::EvaluatedRow>() : predicted;
  };
  const std::vector<eval::EvaluatedRow> alone = predict(table, {});
  CrossValidated out;
  const auto add = [&](const char* title, const std::vector<eval::EvaluatedRow>& rows,
                       bool raw = false) {
    out.results.push_back({title, eval::summarize(rows, raw)});
  };
  std::vector<eval::EvaluatedRow> folds = eval::cross_validate(alone, eval::Folds::groups, predict);
  add("The model alone, without correction, by what was fitted without the row's deployment", folds,
      true);
  add("Five folds by group: fitted without the row's deployment", folds);
  out.sections = eval::to_markdown(eval::engine_spreads(folds)) +
                 eval::to_markdown(eval::fit_serving_factors(alone));
  std::erase_if(folds, [](const eval::EvaluatedRow& row) { return row.row.other_client(); });
  add("The same, without the gap-analysis rows", folds);
  add("Leave one model out: fitted without the row's model",
      eval::cross_validate(alone, eval::Folds::models, predict));
  add("Leave one shape out: without any checkpoint of the row's architecture and size",
      eval::cross_validate(alone, eval::Folds::shapes, predict));
  return out;
}

int evaluate(const Context& context, const Flags& flags) {
  const eval::MeasuredTable table = eval::load_measured(flags.against);
  const eval::ProfileSource profiles = profile_source(flags.profiles);
  const eval::PointPredictor predictor(profiles);
  predictor.check_times(table);
  eval::EvaluateOptions options;
  options.threads = flags.threads;
  options.progress = [&](double done) { context.progress(done, "predicting"); };
  options.cancelled = &Context::interrupted();
  std::vector<eval::EvaluatedRow> rows = eval::predict_rows(table.rows, predictor, options);
  CrossValidated validated;
  if (flags.cross_validate && flags.corrections.empty() && !Context::interrupted()) {
    validated = cross_validate(table.rows, profiles, options);
  }
  context.progress_done();
  if (Context::interrupted()) {
    context.note("interrupted: nothing was written");
    return kInterrupted;
  }
  if (!flags.corrections.empty()) {
    context.progress(1, "fitting corrections");
    const std::string source = std::filesystem::path(flags.against).filename().string();
    write_file(flags.corrections, eval::CorrectionModel::fit(rows).to_json(source));
    context.progress_done();
    context.note("wrote " + flags.corrections);
    return kOk;
  }
  eval::correct(eval::CorrectionModel::builtin(), rows);
  std::vector<eval::TitledAccuracy> results = std::move(validated.results);
  results.insert(results.begin(), {"As dyn answers", eval::summarize(rows)});
  const auto write = [&](const std::string& path, const std::string& text) {
    write_file(path, text);
    context.note("wrote " + path);
  };
  if (!flags.csv.empty()) {
    write(flags.csv, eval::answers_csv(rows));
  }
  if (!flags.html.empty()) {
    write(flags.html, eval::to_html(results, rows, flags.against));
  }
  if (!flags.markdown.empty()) {
    const std::string file = std::filesystem::path(flags.against).filename().string();
    write(flags.markdown,
          eval::to_markdown(results, "dyn profile eval --against " + file +
                                         (flags.cross_validate ? " --cross-validate" : "") +
                                         " --markdown FILE") +
              validated.sections);
  }
  if (!flags.features.empty()) {
    write(flags.features, eval::features_csv(rows));
  }
  if (const std::string refusals = eval::refusals_text(rows); !refusals.empty()) {
    context.note(refusals.substr(0, refusals.size() - 1));
  }
  for (const eval::TitledAccuracy& result : results) {
    context.print(result.title + '\n' + eval::to_text(result.accuracy));
  }
  context.print_json(eval::to_json(results, flags.against));
  return kOk;
}

}  // namespace

void add_profile_eval(CLI::App& profile, Context& context, Action& action) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* sub =
      profile.add_subcommand("eval", "Predict measured deployments or operators, report errors");
  sub->footer(kExample);
  CLI::Option* against =
      sub->add_option("--against", flags->against, "Table of measured runs (CSV)")
          ->type_name("FILE");
  sub->add_option("--operators", flags->operators.path,
                  "Unpacked aiconfigurator-core: score profiles on rows held out, by operator")
      ->excludes(against)
      ->type_name("PATH");
  sub->add_option("--gpu", flags->operators.gpus,
                  "Only this GPU's operators; repeatable. Default: all that there are tables of")
      ->excludes(against)
      ->allow_extra_args(false)
      ->type_name("NAME");
  sub->add_option("--csv", flags->csv, "Write the predictions with their intervals, one a line")
      ->type_name("FILE");
  sub->add_option("--html", flags->html, "Write a page with tables and scatter plots")
      ->type_name("FILE");
  sub->add_option("--markdown", flags->markdown, "Write the tables, as in docs/accuracy.md")
      ->type_name("FILE");
  sub->add_flag("--cross-validate", flags->cross_validate,
                "Also report what is fitted on this table without the rows it answers");
  sub->add_option("--profile", flags->profiles,
                  "Profile to use instead of the built-in one of its GPU; repeatable")
      ->allow_extra_args(false)
      ->type_name("FILE");
  sub->add_option("--threads", flags->threads, "Rows at a time; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub->add_option("--dump-features", flags->features,
                  "Write what happened in each simulation, uncorrected, for fitting corrections")
      ->type_name("FILE")
      ->group("Advanced");
  sub->add_option("--fit-corrections", flags->corrections,
                  "Fit the corrections on this table and write them; nothing else is done")
      ->type_name("FILE")
      ->group("Advanced");
  sub->callback([flags, &context, &action] {
    action = [flags, &context] {
      if (!flags->operators.path.empty()) {
        flags->operators.markdown = flags->markdown;
        return evaluate_operators(context, flags->operators, profile_source(flags->profiles));
      }
      if (flags->against.empty()) {
        throw Error(ErrorKind::usage, "--against FILE or --operators PATH is needed",
                    "see 'dyn profile eval --help'");
      }
      return evaluate(context, *flags);
    };
  });
}

}  // namespace dyn::cli
