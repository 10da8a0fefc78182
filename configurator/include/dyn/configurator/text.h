#pragma once

#include <string>
#include <vector>

#include "dyn/configurator/explore.h"
#include "dyn/configurator/result.h"

namespace dyn::configurator {

/// The ranked table for people, with what was explored above and the notes below it.
std::string to_table(const ExploreResult& result, const Recipe& recipe);

/// What changed against the baseline, worst first named as such.
std::string to_table(const std::vector<FigureChange>& changes, double tolerance);
/// The same as one JSON document (schema dyn.comparison/1).
std::string to_json(const std::vector<FigureChange>& changes, double tolerance,
                    const std::string& baseline);

/// A plan in a few lines.
std::string summary(const Plan& plan);

}  // namespace dyn::configurator
