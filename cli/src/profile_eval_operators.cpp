#include "profile_eval_operators.h"

#include <utility>

#include "dyn/profiler/operator_scores.h"

namespace dyn::cli {

int evaluate_operators(const Context& context, const OperatorFlags& flags,
                       std::function<Profile(const std::string&)> profile) {
  profiler::ScoreOptions options;
  options.path = flags.path;
  options.gpus = flags.gpus;
  options.profile = std::move(profile);
  options.cancelled = &Context::interrupted();
  options.progress = [&context](const std::string& gpu) {
    context.note("reading the tables of " + gpu);
  };
  const profiler::OperatorScores scores = profiler::score_operators(options);
  if (!flags.markdown.empty()) {
    std::string command = "dyn profile eval --operators AICONFIGURATOR_CORE";
    for (const std::string& gpu : flags.gpus) {
      command += " --gpu " + gpu;
    }
    write_file(flags.markdown, profiler::to_markdown(scores, command + " --markdown FILE"));
    context.note("wrote " + flags.markdown);
  }
  context.print(profiler::to_text(scores));
  context.print_json(profiler::to_json(scores));
  return kOk;
}

}  // namespace dyn::cli
