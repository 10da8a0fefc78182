#pragma once

#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::perf {

/// Names of the built-in profiles: one for every GPU of the catalogue.
std::vector<std::string> builtin_profile_names();

/// The built-in profile of a GPU. Throws Error(bad_input) that names the nearest.
Profile builtin_profile(const std::string& gpu);

}  // namespace dyn::perf
