#pragma once

#include "dyn/cli/app.h"

namespace dyn::cli {

/// Adds `dyn profile explain`: the operators of one engine step.
void add_profile_explain(CLI::App& profile, Context& context, Action& action);

}  // namespace dyn::cli
