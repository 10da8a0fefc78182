#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "dyn/eval/correction.h"

namespace dyn::eval {

/// By what deployments are alike, so that the residual of one says something of another's.
struct Descriptor {
  static constexpr std::size_t kNames = 6;
  static constexpr std::size_t kNumbers = 21;
  static constexpr std::size_t kParts = 7;
  /// Engine, system, engine with version, shape of the model, precision of the dense multiplies,
  /// and the setting: whose client, and disaggregated or not.
  std::array<std::string, kNames> names;
  /// Logarithms to base 2 of sizes, shares of a step's time in quarters; see descriptor.cpp.
  std::array<double, kNumbers> numbers{};
  /// What the predicted figure is made of, as shares of it: a constant factor on one of them moves
  /// the logarithm of the figure by its share. The first is 1.
  std::array<double, kParts> ttft_parts{};
  std::array<double, kParts> tpot_parts{};
};

/// In the order of Descriptor; what files and messages call them.
extern const std::array<const char*, Descriptor::kNames> kDescriptorNames;
extern const std::array<const char*, Descriptor::kNumbers> kDescriptorNumbers;

/// Asserts that the row has a prediction.
Descriptor describe_point(const EvaluatedRow& row);

}  // namespace dyn::eval
