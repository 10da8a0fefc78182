// Any bytes given to any reader of traces are a load that can be run, or an error that says where.
#include <cstddef>
#include <cstdint>

#include "trace_formats_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dyn::fuzz::try_trace({reinterpret_cast<const char*>(data), size});
  return 0;
}
