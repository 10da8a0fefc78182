#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dyn/core/result.h"
#include "dyn/kernels/launch.h"

namespace dyn::kernels {

class Backend;

enum class DeviceKind {
  cpu,   ///< this machine's processors
  cuda,  ///< an NVIDIA GPU; no build has this backend yet
};

/// A device of this machine.
struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
};

/// Instructions that the CPU backend may use.
enum class Isa {
  generic,  ///< the x86-64 baseline, or any other processor
  avx2,     ///< AVX2 and FMA
};

/// The best instruction set of this processor.
Isa best_isa();

struct BackendOptions {
  bool reference = false;    ///< obvious loops in double instead of fast kernels
  int threads = 0;           ///< CPU: 0 means one per processor
  std::optional<Isa> isa{};  ///< CPU: default best_isa()
};

/// Device memory; returns it when destroyed. May not outlive its backend.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Backend* owner, void* data, std::size_t bytes)
      : owner_(owner), data_(data), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~Buffer();

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  Backend* owner_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The kernels of one device. Every launch checks its shapes first and fails with an errc, having
/// written nothing. A launch may return before its work is done: synchronize() waits. Launches
/// of one backend run one after the other, whichever thread they come from. The result does not
/// depend on the number of threads.
class Backend {
 public:
  virtual ~Backend() = default;
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  /// Such as cpu/avx2, cpu/reference.
  virtual std::string name() const = 0;

  /// `bytes` of device memory, aligned to 64 bytes, contents undefined.
  virtual Result<Buffer> allocate(std::size_t bytes) = 0;
  /// Copies between host and device memory, in either direction.
  virtual Result<void> copy(void* to, const void* from, std::size_t bytes) = 0;
  /// Waits for every launch before it.
  virtual Result<void> synchronize() = 0;

  Result<void> gemm(const Gemm& launch);
  Result<void> attention_prefill(const PrefillAttention& launch);
  Result<void> attention_decode(const DecodeAttention& launch);
  Result<void> rms_norm(const RmsNorm& launch);
  Result<void> rope(const Rope& launch);
  /// Pool to staging.
  Result<void> gather_blocks(const BlockCopy& launch);
  /// Staging to pool.
  Result<void> scatter_blocks(const BlockCopy& launch);

 protected:
  friend class Buffer;
  virtual void release(void* data, std::size_t bytes) noexcept = 0;

  // Called with shapes that are valid, not empty, and strides filled in. What lies behind the
  // pointers (block numbers, sequence bounds) is for the backend to check: it may be elsewhere.
  virtual Result<void> run(const Gemm& launch) = 0;
  virtual Result<void> run(const PrefillAttention& launch) = 0;
  virtual Result<void> run(const DecodeAttention& launch) = 0;
  virtual Result<void> run(const RmsNorm& launch) = 0;
  virtual Result<void> run(const Rope& launch) = 0;
  virtual Result<void> run_gather(const BlockCopy& launch) = 0;
  virtual Result<void> run_scatter(const BlockCopy& launch) = 0;
};

inline Buffer::~Buffer() {
  if (owner_ != nullptr && data_ != nullptr) {
    owner_->release(data_, bytes_);
  }
}

/// The kernels of a device. Fails with no_device where this build or machine has none, and with
/// bad_parameter for instructions that this processor lacks or a negative number of threads.
Result<std::unique_ptr<Backend>> open_backend(Device device, const BackendOptions& options = {});

}  // namespace dyn::kernels
