// Any bytes given to any reader of traces are a load that can be run, or an error that says where.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "trace_formats_target.h"

namespace {

std::array<std::uint64_t, dyn::fuzz::kTraceFormats> tried{};  ///< inputs, by reader

void print_tried() {
  std::fputs("inputs by reader:", stderr);
  for (const std::uint64_t count : tried) {
    std::fprintf(stderr, " %llu", static_cast<unsigned long long>(count));
  }
  std::fputc('\n', stderr);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  return std::atexit(print_tried);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) {
    ++tried[data[0] % dyn::fuzz::kTraceFormats];
  }
  dyn::fuzz::try_trace({reinterpret_cast<const char*>(data), size});
  return 0;
}
