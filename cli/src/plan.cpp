#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "dyn/cli/app.h"
#include "dyn/configurator/emit.h"
#include "dyn/configurator/result.h"
#include "dyn/configurator/text.h"
#include "dyn/core/error.h"

namespace dyn::cli {
namespace {

constexpr const char* kExample =
    "Examples:\n"
    "  dyn plan out/result.json\n"
    "  dyn plan out/result.json --pick 2 -o plan.json --emit compose,kubernetes --emit-dir deploy";

struct PlanFlags {
  std::string result;
  int pick = 1;
  std::string out = "plan.json";
  std::string emit;
  std::string emit_dir = "deploy";
};

std::vector<configurator::EmitTarget> parse_targets(const std::string& list) {
  std::vector<configurator::EmitTarget> targets;
  std::istringstream parts(list);
  std::string name;
  while (std::getline(parts, name, ',')) {
    targets.push_back(configurator::parse_emit_target(name));
  }
  return targets;
}

const char* folder_of(configurator::EmitTarget target) {
  return target == configurator::EmitTarget::compose ? "compose" : "kubernetes";
}

int run_plan(const Context& context, const PlanFlags& flags) {
  const std::vector<configurator::EmitTarget> targets = parse_targets(flags.emit);
  const configurator::StoredResult result = configurator::load_result(flags.result);
  const auto count = static_cast<int>(result.plans.size());
  if (flags.pick < 1 || flags.pick > count) {
    throw Error(ErrorKind::usage, "--pick: " + flags.result + " ranks 1 to " +
                                      std::to_string(count) + ", got " +
                                      std::to_string(flags.pick));
  }
  const Plan& plan = result.plans[static_cast<std::size_t>(flags.pick - 1)];
  // Everything is made before anything is written.
  std::vector<configurator::EmittedFile> files{{flags.out, to_json(plan)}};
  for (const configurator::EmitTarget target : targets) {
    for (configurator::EmittedFile& file : configurator::emit(plan, target)) {
      const auto folder = std::filesystem::path(flags.emit_dir) / folder_of(target);
      files.push_back({(folder / file.path).string(), std::move(file.content)});
    }
  }
  std::string written;
  for (const configurator::EmittedFile& file : files) {
    write_file(file.path, file.content);
    written += "wrote " + file.path + '\n';
  }
  context.print(configurator::summary(plan) + written);
  context.print_json(files.front().content);
  return kOk;
}

}  // namespace

void add_plan(CLI::App& app, Context& context, Action& action) {
  auto flags = std::make_shared<PlanFlags>();
  CLI::App* sub = app.add_subcommand("plan", "Write a simulated deployment down");
  sub->footer(kExample);
  sub->add_option("RESULT", flags->result, "result.json of dyn simulate -o")->required();
  sub->add_option("--pick", flags->pick, "Rank of the deployment")->capture_default_str();
  sub->add_option("-o,--output", flags->out, "The plan, as dyn serve reads it")
      ->capture_default_str();
  sub->add_option("--emit", flags->emit,
                  "Also manifests that run it on real engines: compose, kubernetes, or both")
      ->type_name("TARGET[,TARGET]");
  sub->add_option("--emit-dir", flags->emit_dir, "Folder of the manifests, one below it a target")
      ->capture_default_str();
  sub->callback([flags, &context, &action] {
    action = [flags, &context] { return run_plan(context, *flags); };
  });
}

}  // namespace dyn::cli
