#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "host_memory.h"
#include "primitives.h"
#include "worker_pool.h"

namespace dyn::kernels {

/// Blocked kernels on all cores, with the inner loops of the processor's instruction set.
class CpuBackend final : public HostMemoryBackend {
 public:
  CpuBackend(Isa isa, int threads) : primitives_(primitives(isa)), pool_(threads) {}

  std::string name() const override { return std::string("cpu/") + primitives_.name; }

 protected:
  Result<void> run(const Gemm& launch) override;
  Result<void> run(const PrefillAttention& launch) override;
  Result<void> run(const DecodeAttention& launch) override;
  Result<void> run(const RmsNorm& launch) override;
  Result<void> run(const Rope& launch) override;
  Result<void> run_gather(const BlockCopy& launch) override;
  Result<void> run_scatter(const BlockCopy& launch) override;

 private:
  /// Calls body(index, scratch) for every index in [0, count), on one thread where `work`
  /// (multiply-adds or bytes) is too little to wake another. `scratch` has `floats` elements and
  /// is the calling thread's own; its contents are undefined. Fails with out_of_memory.
  Result<void> share(std::int64_t count, double work, std::size_t floats,
                     const std::function<void(std::int64_t, float*)>& body);
  Result<void> copy_blocks(const BlockCopy& launch, bool gather);

  const Primitives& primitives_;
  std::mutex mutex_;  ///< one launch at a time
  WorkerPool pool_;
  std::vector<std::vector<float>> scratch_;  ///< one per thread
};

}  // namespace dyn::kernels
