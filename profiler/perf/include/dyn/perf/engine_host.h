#pragma once

#include <string_view>

#include "dyn/core/profile.h"

namespace dyn::perf {

/// The profile's host of the engine whose version is the newest that is no newer than `version`,
/// else the oldest; the newest of all where `version` is empty. Null if it has none of the engine.
const EngineHost* engine_host(const Profile& profile, std::string_view engine,
                              std::string_view version);

}  // namespace dyn::perf
