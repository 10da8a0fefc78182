#pragma once

#include "dyn/kernels/backend.h"

namespace dyn::kernels {

/// The memory side of every backend that computes on the host.
class HostMemoryBackend : public Backend {
 public:
  Result<Buffer> allocate(std::size_t bytes) override;
  Result<void> copy(void* to, const void* from, std::size_t bytes) override;
  Result<void> synchronize() override { return {}; }

 protected:
  void release(void* data, std::size_t bytes) noexcept override;
};

}  // namespace dyn::kernels
