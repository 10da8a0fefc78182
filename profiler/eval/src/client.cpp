#include "client.h"

#include <algorithm>

#include "dyn/core/random.h"

namespace dyn::eval {

sim::Workload client(const MeasuredRow& row, int slots, double shortest, double tokens_per_step,
                     int prompts) {
  sim::Workload workload;
  workload.concurrency = slots;
  workload.block_tokens = 512;
  constexpr std::uint64_t kSeed = 1;
  RandomStream inputs(kSeed, "eval/input");
  RandomStream outputs(kSeed, "eval/output");
  const auto draw = [&](RandomStream& stream, int length) -> std::int64_t {
    const auto low = static_cast<std::int64_t>(length * shortest);
    const auto span = static_cast<std::uint64_t>(length - low + 1);
    return std::max<std::int64_t>(1, low + static_cast<std::int64_t>(stream.below(span)));
  };
  for (std::int64_t i = 0; i < std::int64_t{prompts} * slots; ++i) {
    sim::WorkloadRequest request;
    request.input_tokens = draw(inputs, row.isl);
    const auto rest = static_cast<double>(draw(outputs, row.osl) - 1) / tokens_per_step;
    request.output_tokens = 1 + std::max<std::int64_t>(1, static_cast<std::int64_t>(rest + 0.5));
    workload.requests.push_back(request);
  }
  return workload;
}

}  // namespace dyn::eval
