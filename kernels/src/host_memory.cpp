#include "host_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "dyn/kernels/error.h"

namespace dyn::kernels {

Result<Buffer> HostMemoryBackend::allocate(std::size_t bytes) {
  constexpr std::size_t kAlign = 64;
  if (bytes > SIZE_MAX - kAlign) {
    return errc::out_of_memory;
  }
  const std::size_t rounded = (std::max<std::size_t>(bytes, 1) + kAlign - 1) / kAlign * kAlign;
  void* data = std::aligned_alloc(kAlign, rounded);
  if (data == nullptr) {
    return errc::out_of_memory;
  }
  return Buffer(this, data, bytes);
}

Result<void> HostMemoryBackend::copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) {
    return {};
  }
  if (to == nullptr || from == nullptr) {
    return errc::null_pointer;
  }
  std::memmove(to, from, bytes);
  return {};
}

void HostMemoryBackend::release(void* data, std::size_t) noexcept {
  std::free(data);
}

}  // namespace dyn::kernels
