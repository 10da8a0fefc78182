#include "dyn/cli/app.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "dyn/core/error.h"
#include "dyn/core/version.h"
#include "output.h"

namespace dyn::cli {
namespace {

constexpr const char* kDescription =
    "dyn - which deployment of a language model meets your latency targets at the least cost?\n"
    "Measures hardware (profile), explores and simulates deployments (simulate), writes the\n"
    "chosen one down (plan) and runs it (serve).";
constexpr const char* kExample =
    "Example:\n"
    "  dyn simulate recipes/qwen3-32b-h200-chat.yaml -o out\n"
    "  dyn plan out/result.json -o plan.json\n"
    "  dyn serve plan.json --port 8000";

std::atomic<bool> g_interrupted{false};

extern "C" void on_signal(int signal) {
  if (g_interrupted.exchange(true)) {
    std::_Exit(128 + signal);  // The second one means now.
  }
}

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void add_common_flags(CLI::App& app, Context& context) {
  app.add_flag("--json", context.json, "Print one machine-readable document on stdout");
  app.add_flag("--quiet", context.quiet, "Print no progress and no notes");
  app.add_option("--log-level", context.log_level,
                 "Log lines on stderr from this level on: trace, debug, info, warn, error, off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  app.set_help_flag("--help,-h", "Print this help and exit");
}

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::failed:
      return kFailed;
    case ErrorKind::usage:
      return kUsage;
    case ErrorKind::bad_input:
      return kBadInput;
    case ErrorKind::infeasible:
      return kInfeasible;
    case ErrorKind::bug:
      return kBug;
  }
  return kBug;
}

/// The subcommand in use, at whatever depth, or the program; `name`, if given, becomes what a user
/// types for it.
const CLI::App& in_use(const CLI::App& app, std::string* name = nullptr) {
  const CLI::App* used = &app;
  if (name != nullptr) {
    *name = "dyn";
  }
  while (!used->get_subcommands().empty()) {
    used = used->get_subcommands().front();
    if (name != nullptr) {
      *name += ' ' + used->get_name();
    }
  }
  return *used;
}

/// Every long flag of the subcommand in use, or the names of its subcommands.
std::vector<std::string> candidates(const CLI::App& app, bool flags) {
  std::vector<std::string> names;
  const CLI::App& used = in_use(app);
  if (!flags) {
    for (const CLI::App* sub : used.get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(sub->get_name());
    }
    return names;
  }
  for (const CLI::Option* option : used.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  return names;
}

/// The first word of the command line that no option or subcommand took.
std::string first_extra(const CLI::App& app) {
  for (const std::string& extra : app.remaining(true)) {
    if (extra != "--") {
      return extra;
    }
  }
  return {};
}

/// CLI11's words for a value that is no number, such as "Could not convert: --seed = abc", as ours.
std::string not_a_number(const CLI::App& app, const std::string& text) {
  const std::size_t colon = text.find(": ");
  const std::size_t equals = text.find(" = ");
  if (colon == std::string::npos || equals == std::string::npos || equals < colon) {
    return text;
  }
  const std::string name = text.substr(colon + 2, equals - colon - 2);
  const CLI::Option* option = in_use(app).get_option_no_throw(name);
  const bool whole = option != nullptr && option->get_type_name().find("INT") != std::string::npos;
  return name + ": expected " + (whole ? "a whole number" : "a number") + ", got '" +
         text.substr(equals + 3) + "'";
}

Error usage_error(const CLI::App& app, const CLI::ParseError& error) {
  std::string message = error.what();
  std::string hint;
  const std::string extra = first_extra(app);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !extra.empty()) {
    const bool is_flag = extra.starts_with("-");
    message = (is_flag ? "unknown flag '" : "unknown command or argument '") + extra + "'";
    if (const auto near = nearest(extra.substr(0, extra.find('=')), candidates(app, is_flag))) {
      hint = "did you mean '" + *near + "'?";
    }
  }
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    message = not_a_number(app, message);
  }
  std::string command;
  in_use(app, &command);
  hint += (hint.empty() ? "" : " ") + ("see '" + command + " --help'");
  return Error(ErrorKind::usage, message, hint);
}

int report(const Context& context, const Error& error) {
  try {
    print_error(context, error);
  } catch (const Error&) {
    // Whoever read stdout has left: there is nobody to tell.
  }
  return exit_code(error.kind());
}

int parse_and_run(CLI::App& app, Context& context, Action& action, int argc,
                  const char* const* argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    context.write_out(app.help());  // of the subcommand that was named, else of the program
    return kOk;
  } catch (const CLI::CallForVersion&) {
    const std::string number(version());
    context.write_out(app.count("--json") > 0
                          ? "{\"schema\": \"dyn.version/1\", \"version\": \"" + number + "\"}\n"
                          : "dyn " + number + '\n');
    return kOk;
  } catch (const CLI::ParseError& error) {
    return report(context, usage_error(app, error));
  }
  if (!action) {
    if (!context.json && !context.quiet) {
      std::cerr << app.help() << '\n';
    }
    return report(context,
                  Error(ErrorKind::usage, "a command is needed: profile, simulate, plan or serve",
                        "see 'dyn --help'"));
  }
  install_log(context);
  const int code = action();
  context.progress_done();
  return code;
}

}  // namespace

const std::atomic<bool>& Context::interrupted() {
  return g_interrupted;
}

int run(int argc, const char* const* argv) {
  CLI::App app(kDescription, "dyn");
  app.footer(kExample);
  app.set_version_flag("--version,-V", std::string("dyn ") + std::string(version()),
                       "Print the version and exit");
  app.require_subcommand(0, 1);
  Context context;
  Action action;
  add_profile(app, context, action);
  add_simulate(app, context, action);
  add_plan(app, context, action);
  add_serve(app, context, action);
  add_common_flags(app, context);
  for (CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    add_common_flags(*sub, context);
    for (CLI::App* nested : sub->get_subcommands([](const CLI::App*) { return true; })) {
      add_common_flags(*nested, context);
    }
  }
  install_signal_handlers();
  try {
    const int code = parse_and_run(app, context, action, argc, argv);
    return code;
  } catch (const Error& error) {
    context.progress_done();
    return g_interrupted ? static_cast<int>(kInterrupted) : report(context, error);
  } catch (const std::bad_alloc&) {
    context.progress_done();
    return report(context, Error(ErrorKind::failed, "out of memory"));
  } catch (const std::exception& error) {
    context.progress_done();
    return report(context, Error(ErrorKind::bug, error.what(),
                                 "this is a bug in dyn: please report the command line"));
  }
}

}  // namespace dyn::cli
