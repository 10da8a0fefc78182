#pragma once

#include <atomic>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace dyn::cli {

/// Exit codes; those of errors follow from ErrorKind.
enum ExitCode : int {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kBadInput = 3,
  kInfeasible = 4,
  kBug = 70,
  kInterrupted = 130,
};

/// Flags that every subcommand has, and the only ways to print. Results go to stdout, progress
/// and log lines to stderr.
class Context {
 public:
  bool json = false;
  bool quiet = false;
  std::string log_level = "warn";

  /// Prints a result for people; nothing with --json.
  void print(const std::string& text) const;
  /// Prints the one machine-readable document of --json; nothing without.
  void print_json(const std::string& text) const;
  /// A message on stderr, unless --quiet.
  void note(const std::string& text) const;
  /// Overwrites one progress line on stderr; only on a terminal, never with --quiet.
  void progress(double fraction, const std::string& what) const;
  void progress_done() const;
  /// Writes to stdout as it is and flushes. Throws Error(failed) if that fails.
  void write_out(const std::string& text) const;

  /// Set by the first SIGINT or SIGTERM.
  static const std::atomic<bool>& interrupted();
};

/// What a subcommand runs once its flags are parsed; returns the exit code.
using Action = std::function<int()>;

// Each registers its flags on a subcommand of `app` and sets `action` when it is chosen. The
// context outlives the action.
void add_profile(CLI::App& app, Context& context, Action& action);
void add_profile_calibrate(CLI::App& profile, Context& context, Action& action);
void add_profile_eval(CLI::App& profile, Context& context, Action& action);
void add_simulate(CLI::App& app, Context& context, Action& action);
void add_plan(CLI::App& app, Context& context, Action& action);
void add_serve(CLI::App& app, Context& context, Action& action);

/// The whole program but for argv: parses, runs, prints errors, returns the exit code.
int run(int argc, const char* const* argv);

/// Writes a file whole or not at all (temporary file, then rename). Throws Error(failed).
void write_file(const std::string& path, const std::string& content);

}  // namespace dyn::cli
