#pragma once

#include "dyn/core/describe.h"
#include "dyn/core/recipe.h"

namespace dyn {

/// Whether a recipe's hardware and deployment are enough to simulate.
void check_deployment(const Recipe& recipe, Checker& checker);
/// Fills in each pool's engine: the recipe's, but for what the pool gives.
void complete_deployment(const Document& document, Recipe& recipe);

}  // namespace dyn
