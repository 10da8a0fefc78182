#pragma once

#include <string>

#include "dyn/core/profile.h"
#include "operators.h"

namespace dyn::perf {

/// The fit of a profile that comes nearest to an operator.
struct FitChoice {
  const OperatorFit* fit = nullptr;  ///< null where the profile has nothing comparable
  double distance = 0;               ///< 0: measured as it is used here
  std::string differences;           ///< what is not the same, for people
};

/// Chooses among the fits of the operator's kind, or of the kind that is most like it, by what
/// they differ in: precision first, then group size, window, KV precision, head size, sharing of
/// KV heads, and engine. The first of equals wins.
FitChoice choose_fit(const Operator& op, const std::string& engine, const Profile& profile);

}  // namespace dyn::perf
