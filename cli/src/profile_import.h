#pragma once

#include "dyn/cli/app.h"

namespace dyn::cli {

/// Adds `dyn profile import`: profiles from others' measurements.
void add_profile_import(CLI::App& profile, Context& context, Action& action);

}  // namespace dyn::cli
