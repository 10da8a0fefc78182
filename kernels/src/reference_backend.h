#pragma once

#include "host_memory.h"

namespace dyn::kernels {

/// What the kernels mean: obvious loops that accumulate in double, on one thread.
class ReferenceBackend final : public HostMemoryBackend {
 public:
  std::string name() const override { return "cpu/reference"; }

 protected:
  Result<void> run(const Gemm& launch) override;
  Result<void> run(const PrefillAttention& launch) override;
  Result<void> run(const DecodeAttention& launch) override;
  Result<void> run(const RmsNorm& launch) override;
  Result<void> run(const Rope& launch) override;
  Result<void> run_gather(const BlockCopy& launch) override;
  Result<void> run_scatter(const BlockCopy& launch) override;
};

}  // namespace dyn::kernels
