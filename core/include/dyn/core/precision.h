#pragma once

namespace dyn {

/// How numbers are stored. `fp8_block` has a scale per 128x128 block; `fp4` is NVFP4 (a scale
/// byte per 16 values), `mxfp4` has one per 32; `int4` is weight-only.
enum class Precision { fp32, bf16, fp16, fp8, fp8_block, int8, fp4, mxfp4, int4 };

/// Bytes per value, scales included.
constexpr double bytes_per_value(Precision p) {
  switch (p) {
    case Precision::fp32:
      return 4.0;
    case Precision::bf16:
    case Precision::fp16:
      return 2.0;
    case Precision::fp8:
    case Precision::int8:
      return 1.0;
    case Precision::fp8_block:
      return 1.0 + 4.0 / (128.0 * 128.0);
    case Precision::fp4:
      return 0.5 + 1.0 / 16.0;
    case Precision::mxfp4:
      return 0.5 + 1.0 / 32.0;
    case Precision::int4:
      return 0.5 + 2.0 / 128.0;
  }
  return 0;
}

/// The precision the multiply runs in for weights of `p` (weight-only formats compute in bf16).
constexpr Precision compute_precision(Precision p) {
  switch (p) {
    case Precision::fp8:
    case Precision::fp8_block:
      return Precision::fp8;
    case Precision::fp4:
      return Precision::fp4;
    case Precision::int8:
      return Precision::int8;
    case Precision::fp32:
      return Precision::fp32;
    case Precision::bf16:
    case Precision::fp16:
    case Precision::mxfp4:
    case Precision::int4:
      return Precision::bf16;
  }
  return Precision::bf16;
}

}  // namespace dyn
