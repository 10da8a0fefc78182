// libFuzzer target of the config loader: build with the fuzz preset, run with
// tests/fuzz/corpus/document_fuzz as corpus. The corpus is replayed by the unit tests of core.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "document_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (!dyn::fuzz::try_document({reinterpret_cast<const char*>(data), size})) {
    std::abort();
  }
  return 0;
}
