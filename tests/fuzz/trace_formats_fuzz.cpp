// Any bytes given to any reader of traces are a load that can be run, or an error that says where.
// With --reader=N all inputs are for one reader, a value of TraceFormat.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "trace_formats_target.h"

namespace {

std::array<std::uint64_t, dyn::fuzz::kTraceFormats> tried{};  ///< inputs, by reader
std::optional<int> only;                                      ///< the reader of all inputs

void print_tried() {
  std::fputs("inputs by reader:", stderr);
  for (const std::uint64_t count : tried) {
    std::fprintf(stderr, " %llu", static_cast<unsigned long long>(count));
  }
  std::fputc('\n', stderr);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kFlag = "--reader=";
  for (int i = 1; i < *argc; ++i) {
    const std::string_view argument = (*argv)[i];
    if (argument.starts_with(kFlag)) {
      only = std::atoi(argument.data() + kFlag.size()) % dyn::fuzz::kTraceFormats;
    }
  }
  return std::atexit(print_tried);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const int reader = only.value_or(dyn::fuzz::chosen_reader(input));
  ++tried[static_cast<std::size_t>(reader)];
  dyn::fuzz::try_reader(input, reader);
  return 0;
}
