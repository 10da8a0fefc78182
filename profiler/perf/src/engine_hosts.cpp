#include "engine_hosts.h"

#include <string>

#include "dyn/core/engine_version.h"
#include "dyn/perf/engine_host.h"
#include "dyn/perf/operator_work.h"

namespace dyn::perf {

namespace {

/// As docs/accuracy.md has them.
ServingFactors factors(double gemm, double attention, double experts, double collective,
                       double elementwise, const std::string& runs) {
  return {gemm,        attention,
          experts,     collective,
          elementwise, runs + " measured runs (ai-dynamo/aiconfigurator 095f58a, Apache-2.0)"};
}

EngineHost host(const char* engine, const char* version, double base_us, double per_sequence_us,
                double frontend_ms, bool overlapped, const ServingFactors& serving,
                Provenance provenance, const std::string& source) {
  EngineHost h;
  h.engine = engine;
  h.version = version;
  h.step_base = Duration(static_cast<std::int64_t>(base_us * 1e3));
  h.step_per_sequence = Duration(static_cast<std::int64_t>(per_sequence_us * 1e3));
  h.overlapped = overlapped;
  h.frontend_per_request = Duration(static_cast<std::int64_t>(frontend_ms * 1e6));
  h.serving = serving;
  h.relative_error = 0.6;
  h.provenance = provenance;
  h.source = source;
  return h;
}

}  // namespace

std::vector<EngineHost> builtin_engine_hosts(const GpuSpec& device) {
  const std::string runs = std::string("calibrated on ") + kSiliconSource;
  const ServingFactors vllm = factors(0.84, 1, 1.32, 1.37, 1.18, "551");
  const ServingFactors sglang = factors(1, 1.52, 1, 1.82, 1.12, "425");
  const ServingFactors trtllm = factors(0.83, 1.1, 0.81, 1.17, 1.19, "506");
  std::vector<EngineHost> hosts = {
      host("vllm", "0.12", 1650, 36, 20, false, vllm, Provenance::extrapolated,
           runs + "; 1.5 ms a step also reproduces a public run on an RTX PRO 6000 "
                  "(casys-kaist/LLMServingSim 5daddb2, MIT)"),
      host("vllm", "0.14", 1650, 36, 20, true, vllm, Provenance::extrapolated,
           runs + " of 0.12; asynchronous scheduling, on by default since 0.14, hides it behind "
                  "the step"),
      host("sglang", "0.5", 1000, 10, 5, true, sglang, Provenance::specification,
           "SGLang schedules the next batch while the GPU runs; 1 ms a step assumed"),
      host("trtllm", "1.0", 600, 12.5, 5, false, trtllm, Provenance::extrapolated, runs),
  };
  for (EngineHost& each : hosts) {
    each.overlapped = each.overlapped && device.vendor != "cpu";
  }
  return hosts;
}

const EngineHost* engine_host(const Profile& profile, std::string_view engine,
                              std::string_view version) {
  const std::vector<int> wanted = version_numbers(version);
  const EngineHost* best = nullptr;
  for (const EngineHost& host : profile.engines) {
    if (host.engine != engine) {
      continue;
    }
    if (best == nullptr) {
      best = &host;
      continue;
    }
    const std::vector<int> known = version_numbers(host.version);
    const std::vector<int> chosen = version_numbers(best->version);
    const bool usable = wanted.empty() || known <= wanted;
    const bool chosen_usable = wanted.empty() || chosen <= wanted;
    if (usable != chosen_usable ? usable : (usable ? known > chosen : known < chosen)) {
      best = &host;
    }
  }
  return best;
}

double serving_factor(const EngineHost& host, OperatorKind kind) {
  if (!host.serving) {
    return 1;
  }
  if (is_collective(kind)) {
    return host.serving->collective;
  }
  switch (kind) {
    case OperatorKind::gemm:
      return host.serving->gemm;
    case OperatorKind::moe:
    case OperatorKind::moe_dispatched:
      return host.serving->experts;
    case OperatorKind::elementwise:
      return host.serving->elementwise;
    case OperatorKind::sampling:
      return 1;
    default:
      return host.serving->attention;
  }
}

}  // namespace dyn::perf
