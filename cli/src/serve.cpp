#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "dyn/cli/app.h"
#include "dyn/core/plan.h"
#include "dyn/core/version.h"
#include "dyn/serve/server.h"

namespace dyn::cli {
namespace {

constexpr const char* kFooter =
    "Answers POST /v1/chat/completions and /v1/completions, GET /v1/models, /health, /live and\n"
    "/metrics. SIGTERM and SIGINT drain the requests in flight; a second one ends at once.\n"
    "Example:\n"
    "  dyn serve plan.json --port 8000";

struct ServeFlags {
  std::string plan;
  serve::ServeOptions options;
  double drain_seconds = 30;
};

std::string json_escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out;
}

std::string describe(const Plan& plan) {
  std::string text;
  for (const PoolSpec& pool : plan.pools) {
    const bool real = pool.engine.kind == EngineKind::openai;
    const char* role = pool.role == WorkerRole::prefill  ? "prefill"
                       : pool.role == WorkerRole::decode ? "decode"
                                                         : "aggregated";
    text += fmt::format("{}{} {} {} worker(s)", text.empty() ? "" : ", ",
                        real ? pool.engine.url.size() : static_cast<std::size_t>(pool.replicas),
                        real ? "running" : "simulated", role);
  }
  return text;
}

int serve_plan(const Context& context, ServeFlags flags) {
  Plan plan = load_plan(flags.plan);
  const std::string model = plan.model.name;
  const std::string what = describe(plan);
  for (const std::string& key : serve::simulated_only(plan)) {
    context.note("simulated only: " + key);
  }
  flags.options.handle_signals = true;
  flags.options.drain_timeout = from_seconds(flags.drain_seconds);
  serve::Server server(std::move(plan), flags.options);
  context.print(fmt::format("listening on {}\n", server.url()));
  context.print_json(
      fmt::format("{{\"schema\": \"dyn.serve/1\", \"dyn_version\": \"{}\", \"listening\": \"{}\", "
                  "\"model\": \"{}\", \"plan\": \"{}\"}}\n",
                  version(), server.url(), json_escape(model), json_escape(flags.plan)));
  context.note(fmt::format("serving {} with {}", model, what));
  const serve::ServeEnd end = server.run();
  context.note(end.drained ? "drained: every request in flight was answered"
                           : "ended before every request in flight was answered");
  if (end.signal == SIGINT) {
    return kInterrupted;
  }
  return end.drained ? kOk : kFailed;
}

}  // namespace

void add_serve(CLI::App& app, Context& context, Action& action) {
  CLI::App* command = app.add_subcommand("serve", "Run the deployment of a plan on this machine");
  command->footer(kFooter);
  auto flags = std::make_shared<ServeFlags>();
  serve::ServeOptions& options = flags->options;
  command->add_option("PLAN", flags->plan, "Plan file, as dyn plan writes it")->required();
  command->add_option("--host", options.host, "Address to listen on")->capture_default_str();
  command->add_option("--port", options.port, "Port to listen on; 0 takes a free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command
      ->add_option("--time-scale", options.time_scale,
                   "Simulated engines run so many times faster than real time")
      ->capture_default_str();
  command->add_option(
      "--log-requests", options.log_requests,
      "Write each served request to this JSONL file, which dyn simulate can replay");
  command
      ->add_option("--drain-timeout", flags->drain_seconds,
                   "Seconds that requests in flight may take to end after a signal")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  command->add_option("--threads", options.threads, "Threads that serve connections")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->callback([&context, &action, flags] {
    action = [&context, flags] { return serve_plan(context, *flags); };
  });
}

}  // namespace dyn::cli
