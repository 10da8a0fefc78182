#include "dyn/core/gpu_spec.h"

#include <vector>

#include "dyn/core/error.h"

namespace dyn {

FlopsPerSec GpuSpec::peak_for(Precision p) const {
  // From narrow to wide; bf16 and fp16 have the same rate on every GPU that has both.
  std::vector<Precision> formats;
  switch (compute_precision(p)) {
    case Precision::fp4:
      formats = {Precision::fp4, Precision::fp8, Precision::bf16, Precision::fp16, Precision::fp32};
      break;
    case Precision::fp8:
      formats = {Precision::fp8, Precision::bf16, Precision::fp16, Precision::fp32};
      break;
    case Precision::int8:
      formats = {Precision::int8, Precision::bf16, Precision::fp16, Precision::fp32};
      break;
    case Precision::fp32:
      formats = {Precision::fp32};
      break;
    default:
      formats = {Precision::bf16, Precision::fp16, Precision::fp32};
      break;
  }
  for (const Precision format : formats) {
    if (const auto found = peak.find(format); found != peak.end()) {
      return found->second;
    }
  }
  throw Error(ErrorKind::bad_input,
              "device '" + id + "' has no peak rate for these weights or any wider format",
              "add bf16 or fp32 to the device's peak rates");
}

}  // namespace dyn
