#include "operators.h"

#include <catch2/catch.hpp>

namespace dyn::perf {}
