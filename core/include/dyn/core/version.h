#pragma once

#include <string_view>

namespace dyn {

/// This build's version, as `dyn --version` prints it.
std::string_view version();

}  // namespace dyn
