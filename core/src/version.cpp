#include "dyn/core/version.h"

namespace dyn {

std::string_view version() {
  return DYN_VERSION;
}

}  // namespace dyn
