#pragma once

#include <optional>
#include <vector>

#include "dyn/core/quantity.h"

namespace dyn {

enum class TimingKind {
  model,       ///< the latency model: what is in the batch, on the profiled device
  polynomial,  ///< Dynamo's mocker: prefill by tokens, decode by how full the KV cache is
  constant,    ///< one time for prompts, one for tokens
};

/// Where step times come from. `polynomial` and `constant` price a step as the sum of a prefill
/// part, if it computes prompt tokens, and a decode part, if sequences decode in it, as Dynamo's
/// simulated engine does (a first token costs no decode part); real engines are faster, so these
/// are for comparing simulators.
struct StepTiming {
  TimingKind kind = TimingKind::model;
  /// Milliseconds of the prefill part: coefficients of 1, T and T^2, with T the prompt tokens that
  /// the step computes. Default: Dynamo's mocker.
  std::vector<double> prefill_ms{16.50142, 1.518344e-2, 4.209989e-7};
  /// Milliseconds of the decode part: coefficients of 1, u and u^2, with u the share of the KV
  /// cache that the decoding sequences fill, at most 1. Default: Dynamo's mocker.
  std::vector<double> decode_ms{5.74, 54.01, -25.74};
  Duration decode_floor = std::chrono::milliseconds(1);  ///< least decode part
  Duration prefill = std::chrono::milliseconds(20);      ///< constant: the prefill part
  Duration decode = std::chrono::milliseconds(10);       ///< constant: the decode part
  /// Of encoding an image, whatever the kind; default predicted for the model's encoder.
  std::optional<Duration> image_time;

  bool operator==(const StepTiming&) const = default;
};

}  // namespace dyn
