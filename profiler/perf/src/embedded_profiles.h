#pragma once

#include <string>
#include <string_view>

namespace dyn::perf {

/// profiler/profiles/ID.json as it was when dyn was built, packed; empty if there is none.
std::string_view embedded_profile(const std::string& id);

}  // namespace dyn::perf
