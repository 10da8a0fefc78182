#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dyn/cli/app.h"
#include "dyn/core/profile.h"

namespace dyn::cli {

struct OperatorFlags {
  std::string path;
  std::vector<std::string> gpus;
  std::string markdown;
};

/// `dyn profile eval --operators`: the errors of profiles on measured operators.
int evaluate_operators(const Context& context, const OperatorFlags& flags,
                       std::function<Profile(const std::string&)> profile);

}  // namespace dyn::cli
