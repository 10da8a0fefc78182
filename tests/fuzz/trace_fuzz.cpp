// Any bytes are a trace or an error that says where; what is a trace can be written and read back.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/sim/workload.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  dyn::Traffic traffic;
  traffic.format = dyn::TraceFormat::mooncake;
  dyn::sim::Workload workload;
  try {
    workload = dyn::sim::parse_trace(text, "fuzz.jsonl", traffic, 1);
  } catch (const dyn::Error& error) {
    DYN_ASSERT(error.kind() == dyn::ErrorKind::bad_input, "a bad trace is bad input");
    DYN_ASSERT(!error.items().empty() && error.items()[0].where, "an error says where");
    return 0;
  }
  DYN_ASSERT(!workload.requests.empty(), "a trace has requests");
  std::int64_t tokens = 0;
  for (const dyn::sim::WorkloadRequest& request : workload.requests) {
    tokens += request.input_tokens;
    workload.prompt_blocks(request, 16);
  }
  if (tokens > 10'000'000) {
    return 0;  // a few bytes may ask for gigabytes of written ids
  }
  traffic.spread_ticks = false;
  const std::string written = dyn::sim::to_mooncake(workload);
  const dyn::sim::Workload again = dyn::sim::parse_trace(written, "again.jsonl", traffic, 1);
  DYN_ASSERT(again.requests.size() == workload.requests.size(), "nothing is lost in writing");
  DYN_ASSERT(dyn::sim::to_mooncake(again) == written, "writing is a fixed point");
  return 0;
}
