#include "profile_import.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "dyn/core/profile.h"
#include "dyn/profiler/import.h"
#include "dyn/profiler/show.h"

namespace dyn::cli {
namespace {

constexpr const char* kExample =
    "Examples:\n"
    "  dyn profile import aiconfigurator ./aiconfigurator_core --gpu h200 -o h200.json\n"
    "  dyn simulate recipe.yaml --set hardware.profile=$PWD/h200.json";

struct Flags {
  std::string path;
  std::string gpu;
  std::string output;
};

int import(const Context& context, const Flags& flags) {
  profiler::ImportOptions options;
  options.path = flags.path;
  options.gpu = flags.gpu;
  options.cancelled = &Context::interrupted();
  options.note = [&context](const std::string& text) { context.note(text); };
  const Profile profile = profiler::import_aiconfigurator(options);
  const std::string json = to_json(profile);
  if (!flags.output.empty()) {
    write_file(flags.output, json.ends_with('\n') ? json : json + '\n');
    context.note("wrote " + flags.output);
  } else if (!context.json) {
    context.note("nothing was written; -o FILE keeps the profile");
  }
  context.print(profiler::profile_text(profile));
  context.print_json(json);
  return kOk;
}

}  // namespace

void add_profile_import(CLI::App& profile, Context& context, Action& action) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* from =
      profile.add_subcommand("import", "Make a profile from others' published measurements");
  from->footer(kExample);
  from->require_subcommand(1);
  CLI::App* aic = from->add_subcommand(
      "aiconfigurator", "From the operator tables of the PyPI package aiconfigurator-core");
  aic->footer(kExample);
  aic->add_option("PATH", flags->path, "The unpacked package, or its folder of tables")->required();
  aic->add_option("--gpu", flags->gpu, "GPU whose tables to read")->type_name("NAME")->required();
  aic->add_option("-o,--output", flags->output, "File to write the profile to")->type_name("FILE");
  aic->callback([&context, &action, flags] {
    action = [&context, flags] { return import(context, *flags); };
  });
}

}  // namespace dyn::cli
