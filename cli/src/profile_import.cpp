#include "profile_import.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/core/profile.h"
#include "dyn/profiler/import.h"
#include "dyn/profiler/show.h"

namespace dyn::cli {
namespace {

constexpr const char* kExample =
    "Examples:\n"
    "  dyn profile import aiconfigurator ./aiconfigurator_core --gpu h200 -o h200.json\n"
    "  dyn profile import vllm-layers ./vllm019 --gpu rtx-4090 -o rtx-4090.json\n"
    "  dyn simulate recipe.yaml --set hardware.profile=$PWD/h200.json";

struct Flags {
  std::string path;
  std::string gpu;
  std::string base;
  std::string output;
};

using Importer = Profile (*)(const profiler::ImportOptions&);

int import(const Context& context, const Flags& flags, Importer importer) {
  profiler::ImportOptions options;
  options.path = flags.path;
  options.gpu = flags.gpu;
  if (!flags.base.empty()) {
    options.base = load_profile(flags.base);
    if (options.base->device.id != find_gpu(flags.gpu).id) {
      throw Error(ErrorKind::usage, "--base is a profile of " + options.base->device.id,
                  "name the same GPU with --gpu");
    }
  }
  options.cancelled = &Context::interrupted();
  options.note = [&context](const std::string& text) { context.note(text); };
  const Profile profile = importer(options);
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

struct Source {
  const char* name;
  const char* about;
  const char* path;
  Importer importer;
};

constexpr Source kSources[] = {
    {"aiconfigurator", "From the operator tables of the PyPI package aiconfigurator-core",
     "The unpacked package, or its folder of tables", profiler::import_aiconfigurator},
    {"vllm-layers", "From layer times measured inside vLLM",
     "Folder with MODEL/PRECISION/tpN, or its parent by GPU", profiler::import_vllm_layers},
    {"vidur", "From Vidur's tables of FP16 layers and NCCL",
     "Folder with compute/GPU and network/GPU_dgx", profiler::import_vidur},
};

}  // namespace

void add_profile_import(CLI::App& profile, Context& context, Action& action) {
  CLI::App* from =
      profile.add_subcommand("import", "Make a profile from others' published measurements");
  from->footer(kExample);
  from->require_subcommand(1);
  for (const Source& source : kSources) {
    const auto flags = std::make_shared<Flags>();
    CLI::App* sub = from->add_subcommand(source.name, source.about);
    sub->footer(kExample);
    sub->add_option("PATH", flags->path, source.path)->required();
    sub->add_option("--gpu", flags->gpu, "GPU whose tables to read")->type_name("NAME")->required();
    sub->add_option("--base", flags->base, "Profile to add to; what it has measured it keeps")
        ->type_name("FILE");
    sub->add_option("-o,--output", flags->output, "File to write the profile to")
        ->type_name("FILE");
    sub->callback([&context, &action, flags, importer = source.importer] {
      action = [&context, flags, importer] { return import(context, *flags, importer); };
    });
  }
}

}  // namespace dyn::cli
