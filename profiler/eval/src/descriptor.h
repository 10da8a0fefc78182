#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "dyn/eval/correction.h"

namespace dyn::eval {

/// By what deployments are alike, so that the residual of one says something of another's.
struct Descriptor {
  static constexpr std::size_t kNames = 5;
  static constexpr std::size_t kNumbers = 23;
  /// Engine, system, engine with version, model, precision of the dense multiplies.
  std::array<std::string, kNames> names;
  /// Logarithms to base 2 of sizes, shares of a step's time in quarters; see descriptor.cpp.
  std::array<double, kNumbers> numbers{};
};

/// In the order of Descriptor; what files and messages call them.
extern const std::array<const char*, Descriptor::kNames> kDescriptorNames;
extern const std::array<const char*, Descriptor::kNumbers> kDescriptorNumbers;

/// Asserts that the row has a prediction.
Descriptor describe_point(const EvaluatedRow& row);

}  // namespace dyn::eval
