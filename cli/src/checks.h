#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "dyn/core/engine_version.h"

namespace dyn::cli {

/// Of an option that is an engine's version.
inline CLI::Validator version_check() {
  return {[](const std::string& text) {
            return is_version(text) ? std::string()
                                    : "expected a version such as 0.19.0, got \"" + text + '"';
          },
          "VERSION"};
}

}  // namespace dyn::cli
