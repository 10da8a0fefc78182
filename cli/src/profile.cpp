#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <string>

#include "dyn/cli/app.h"
#include "dyn/core/error.h"
#include "dyn/profiler/measure.h"
#include "dyn/profiler/show.h"
#include "profile_explain.h"
#include "profile_import.h"

namespace dyn::cli {
namespace {

constexpr const char* kMeasureExample =
    "Examples:\n"
    "  dyn profile --gpu cpu -o cpu.json     measure this machine's processors\n"
    "  dyn profile list                      the built-in profiles\n"
    "  dyn profile show h200                 the figures of one, with their sources";
constexpr const char* kListExample =
    "Example:\n"
    "  dyn profile list --json";
constexpr const char* kShowExample =
    "Examples:\n"
    "  dyn profile show h200\n"
    "  dyn profile show ./cpu.json --json";

struct Flags {
  std::string gpu = "cpu";
  std::string output;
  double seconds = 4;
  std::string folder;
  bool no_disk = false;
  std::string shown;
};

/// The command line that repeats the measurement.
std::string command_of(const Flags& flags) {
  std::string command = "dyn profile --gpu cpu";
  if (flags.seconds != Flags().seconds) {
    std::string seconds = std::to_string(flags.seconds);
    seconds.erase(seconds.find_last_not_of('0') + 1);
    command += " --seconds " + (seconds.ends_with('.') ? seconds + '0' : seconds);
  }
  return flags.no_disk ? command + " --no-disk" : command;
}

bool is_cpu(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name == "cpu";
}

int measure(const Context& context, const Flags& flags) {
  if (!is_cpu(flags.gpu)) {
    profiler::refuse_device(flags.gpu);
  }
  profiler::MeasureOptions options;
  options.budget = from_seconds(flags.seconds);
  if (!flags.no_disk) {
    options.disk_folder =
        flags.folder.empty() ? std::filesystem::temp_directory_path().string() : flags.folder;
  }
  options.command = command_of(flags);
  options.cancelled = &Context::interrupted();
  options.progress = [&](double fraction, const std::string& what) {
    context.progress(fraction, what);
  };
  const auto measured = profiler::measure_cpu(options);
  context.progress_done();
  if (!measured || Context::interrupted()) {
    context.note("interrupted: nothing was written");
    return kInterrupted;
  }
  for (const std::string& warning : measured->warnings) {
    context.note("warning: " + warning);
  }
  const std::string json = to_json(measured->profile);
  if (!flags.output.empty()) {
    write_file(flags.output, json.ends_with('\n') ? json : json + '\n');
    context.note("wrote " + flags.output);
  } else if (!context.json) {
    context.note("nothing was written; -o FILE keeps the profile");
  }
  context.print(profiler::profile_text(measured->profile));
  context.print_json(json);
  return kOk;
}

int list(const Context& context) {
  context.print(profiler::builtin_list_text());
  context.print_json(context.json ? profiler::builtin_list_json() : std::string());
  return kOk;
}

int show(const Context& context, const Flags& flags) {
  const Profile profile = profiler::open_profile(flags.shown);
  context.print(profiler::profile_text(profile));
  context.print_json(to_json(profile));
  return kOk;
}

}  // namespace

void add_profile(CLI::App& app, Context& context, Action& action) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* profile =
      app.add_subcommand("profile", "Measure this machine's device, or show what is known of one");
  profile->footer(kMeasureExample);
  profile->require_subcommand(0, 1);
  profile->add_option("--gpu", flags->gpu, "Device to measure: cpu, or the name of a GPU")
      ->type_name("NAME")
      ->capture_default_str();
  profile->add_option("-o,--output", flags->output, "File to write the profile to")
      ->type_name("FILE");
  profile->add_option("--seconds", flags->seconds, "About how long to measure")
      ->type_name("S")
      ->check(CLI::Range(0.1, 600.0))
      ->capture_default_str();
  profile
      ->add_option("--dir", flags->folder,
                   "Folder on the disk to measure; default the one for temporary files")
      ->type_name("DIR");
  profile->add_flag("--no-disk", flags->no_disk, "Do not measure the disk");
  profile->callback([&context, &action, flags, profile] {
    if (profile->get_subcommands().empty()) {
      action = [&context, flags] { return measure(context, *flags); };
    }
  });

  add_profile_eval(*profile, context, action);
  add_profile_calibrate(*profile, context, action);
  CLI::App* listed = profile->add_subcommand("list", "The built-in profiles");
  listed->footer(kListExample);
  listed->callback([&context, &action] { action = [&context] { return list(context); }; });

  add_profile_explain(*profile, context, action);
  add_profile_import(*profile, context, action);

  CLI::App* shown = profile->add_subcommand("show", "The figures of a profile, with sources");
  shown->footer(kShowExample);
  shown->add_option("NAME", flags->shown, "Name of a built-in profile, or path of a profile file")
      ->required();
  shown->callback(
      [&context, &action, flags] { action = [&context, flags] { return show(context, *flags); }; });
}

}  // namespace dyn::cli
