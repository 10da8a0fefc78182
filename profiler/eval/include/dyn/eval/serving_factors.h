#pragma once

#include <map>
#include <span>
#include <string>

#include "dyn/core/profile.h"
#include "dyn/eval/correction.h"
#include "dyn/eval/point.h"

namespace dyn::eval {

/// What kernels take in each engine's steps, as multiples of what they take measured alone.
using FactorsByEngine = std::map<std::string, ServingFactors>;

/// From the measured TPOT of rows that were predicted without such factors. With t a row's
/// predicted TPOT, p the parts of its decode step and f the factors, log(measured / (t + sum of
/// (f - 1) p)) is made small: by Huber's loss beyond 0.15, with a ridge that keeps what few rows
/// tell of at 1, within 0.8 and 2.5; to hundredths. Deterministic.
FactorsByEngine fit_serving_factors(std::span<const EvaluatedRow> rows);

/// The same profiles, but for the factors of engines that have some there: those given, or none.
ProfileSource with_serving_factors(ProfileSource profiles, FactorsByEngine factors);

/// A section of docs/accuracy.md, which the built-in hosts have their factors from.
std::string to_markdown(const FactorsByEngine& factors);

}  // namespace dyn::eval
