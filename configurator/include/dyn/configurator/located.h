#pragma once

#include <functional>
#include <string>

#include "dyn/core/error.h"

namespace dyn::configurator {

/// The place of a value in a recipe file, by JSON pointer (`/hardware/count`), with the source
/// line and a caret. If `expected` is not empty and the file says something else there (it was
/// overridden on the command line), or the key is absent, only the file and the pointer.
ErrorItem locate(const std::string& recipe_path, const std::string& pointer,
                 const std::string& expected = {});

/// Runs `body`; an Error of it that has no place gets that of the recipe's value.
void with_location(const std::string& recipe_path, const std::string& pointer,
                   const std::string& expected, const std::function<void()>& body);

}  // namespace dyn::configurator
