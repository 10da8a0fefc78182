#pragma once

#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::perf {

/// Names of the built-in profiles: one for every GPU of the catalogue.
std::vector<std::string> builtin_profile_names();

/// The built-in profile of a GPU: the one of profiler/profiles where measured tables were imported,
/// else the specification profile. Throws Error(bad_input) that names the nearest.
Profile builtin_profile(const std::string& gpu);

/// Constants from published fits, else carried over from the nearest architecture; no surfaces.
/// Throws Error(bad_input) that names the nearest.
Profile specification_profile(const std::string& gpu);

}  // namespace dyn::perf
