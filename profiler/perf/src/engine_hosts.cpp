#include "engine_hosts.h"

#include <string>

namespace dyn::perf {

namespace {

EngineHost host(const char* engine, const char* version, double base_us, double per_sequence_us,
                double frontend_ms, bool overlapped, Provenance provenance,
                const std::string& source) {
  EngineHost h;
  h.engine = engine;
  h.version = version;
  h.step_base = Duration(static_cast<std::int64_t>(base_us * 1e3));
  h.step_per_sequence = Duration(static_cast<std::int64_t>(per_sequence_us * 1e3));
  h.overlapped = overlapped;
  h.frontend_per_request = Duration(static_cast<std::int64_t>(frontend_ms * 1e6));
  h.relative_error = 0.6;
  h.provenance = provenance;
  h.source = source;
  return h;
}

}  // namespace

std::vector<EngineHost> builtin_engine_hosts() {
  const std::string runs = std::string("calibrated on ") + kSiliconSource;
  return {
      host("vllm", "0.12", 1650, 36, 20, false, Provenance::extrapolated,
           runs + "; 1.5 ms a step also reproduces a public run on an RTX PRO 6000 "
                  "(casys-kaist/LLMServingSim 5daddb2, MIT)"),
      host("vllm", "0.14", 1650, 36, 20, true, Provenance::extrapolated,
           runs + " of 0.12; asynchronous scheduling, on by default since 0.14, hides it behind "
                  "the step"),
      host("sglang", "0.5", 1000, 10, 5, true, Provenance::specification,
           "SGLang schedules the next batch while the GPU runs; 1 ms a step assumed"),
      host("trtllm", "1.0", 600, 12.5, 5, false, Provenance::extrapolated, runs),
  };
}

}  // namespace dyn::perf
