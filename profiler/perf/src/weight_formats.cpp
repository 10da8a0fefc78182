#include "dyn/perf/perf_model.h"

namespace dyn::perf {

WeightFormats weight_formats(const PerfTarget& target) {
  WeightFormats formats{target.weights, target.weights, target.weights};
  if (bytes_per_value(target.weights) < 1) {
    switch (target.model.four_bit) {
      case FourBitScope::all:
        break;
      case FourBitScope::experts:
        if (target.model.moe) {
          formats.dense = Precision::bf16;
        }
        [[fallthrough]];
      case FourBitScope::mlp:
        formats.attention = Precision::bf16;
        break;
    }
  }
  formats.attention = target.attention_weights.value_or(formats.attention);
  formats.experts = target.expert_weights.value_or(formats.experts);
  return formats;
}

}  // namespace dyn::perf
