#pragma once

#include <vector>

#include "dyn/configurator/emit.h"

namespace dyn::configurator {

std::vector<EmittedFile> emit_compose(const Plan& plan);
std::vector<EmittedFile> emit_kubernetes(const Plan& plan);

}  // namespace dyn::configurator
