#pragma once

#include <vector>

#include "dyn/configurator/explore.h"
#include "dyn/profiler/explain.h"

namespace dyn::cli {

/// The steps that the best deployment's pools run most: a prompt of mean length where they prefill,
/// and as many sequences as decode at a time by Little's law where they decode, at mean context.
std::vector<profiler::ExplainedStep> explain_winner(const configurator::ExploreResult& result);

}  // namespace dyn::cli
