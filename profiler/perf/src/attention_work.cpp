#include "dyn/perf/attention_work.h"

#include <algorithm>

#include "dyn/core/check.h"
#include "operators.h"

namespace dyn::perf {

AttentionWork::AttentionWork(const PerfTarget& target, const GpuSpec& gpu, bool prefill) {
  const Driver wanted = prefill ? Driver::prefill : Driver::decode;
  for (const Operator& op : operator_graph(target, gpu)) {
    if (op.driver == wanted && op_ == nullptr) {
      op_ = std::make_unique<const Operator>(op);
    }
  }
  DYN_ASSERT(op_ != nullptr, "a model has attention");
}

AttentionWork::~AttentionWork() = default;
AttentionWork::AttentionWork(AttentionWork&&) noexcept = default;
AttentionWork& AttentionWork::operator=(AttentionWork&&) noexcept = default;

Work AttentionWork::at(const AttentionShape& s) const {
  const Operator& op = *op_;
  const bool prefill = op.driver == Driver::prefill;
  const double rows = s.sequences * s.queries;
  const double all_context = s.sequences * s.context;
  const double all_pairs = prefill ? rows * s.context + 0.5 * rows * (s.queries + 1) : all_context;
  double pairs = all_pairs;
  double context = all_context;
  if (op.window > 0) {
    pairs = std::min(pairs, rows * op.window);
    context = std::min(context, s.sequences * op.window);
  }
  const double written = op.row_bytes + (prefill ? op.bytes + op.index_bytes : 0);
  return {op.flops * pairs + op.index_flops * all_pairs + op.context_flops * context +
              op.row_flops * rows,
          op.fixed_bytes + op.bytes * context + op.index_bytes * all_context + written * rows};
}

}  // namespace dyn::perf
