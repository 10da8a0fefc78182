#include "dyn/kernels/backend.h"

#include <algorithm>
#include <thread>

#include "cpu_backend.h"
#include "dyn/kernels/error.h"
#include "reference_backend.h"
#include "validate.h"

namespace dyn::kernels {
namespace {

/// Runs `body` if the launch is valid and there is anything to do.
template <class Launch, class Body>
Result<void> checked(const Launch& launch, Body&& body) {
  const Result<bool> work = check(launch);
  if (!work) {
    return work.error();
  }
  return *work ? body() : Result<void>{};
}

}  // namespace

Result<void> Backend::gemm(const Gemm& launch) {
  return checked(launch, [&] {
    Gemm filled = launch;
    filled.lda = launch.lda == 0 ? launch.k : launch.lda;
    filled.ldb = launch.ldb == 0 ? launch.k : launch.ldb;
    filled.ldc = launch.ldc == 0 ? launch.n : launch.ldc;
    return run(filled);
  });
}

Result<void> Backend::attention_prefill(const PrefillAttention& launch) {
  return checked(launch, [&] { return run(launch); });
}

Result<void> Backend::attention_decode(const DecodeAttention& launch) {
  return checked(launch, [&] { return run(launch); });
}

Result<void> Backend::rms_norm(const RmsNorm& launch) {
  return checked(launch, [&] { return run(launch); });
}

Result<void> Backend::rope(const Rope& launch) {
  return checked(launch, [&] {
    Rope filled = launch;
    filled.rotary_dim = launch.rotary_dim == 0 ? launch.head_dim : launch.rotary_dim;
    return run(filled);
  });
}

Result<void> Backend::gather_blocks(const BlockCopy& launch) {
  return checked(launch, [&] { return run_gather(launch); });
}

Result<void> Backend::scatter_blocks(const BlockCopy& launch) {
  return checked(launch, [&] { return run_scatter(launch); });
}

Isa best_isa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return Isa::avx2;
  }
#endif
  return Isa::generic;
}

Result<std::unique_ptr<Backend>> open_backend(Device device, const BackendOptions& options) {
  if (device.kind != DeviceKind::cpu || device.index != 0) {
    return errc::no_device;
  }
  const Isa isa = options.isa.value_or(best_isa());
  if (options.threads < 0 || (isa == Isa::avx2 && best_isa() != Isa::avx2)) {
    return errc::bad_parameter;
  }
  if (options.reference) {
    return std::unique_ptr<Backend>(new ReferenceBackend());
  }
  int threads = options.threads;
  if (threads == 0) {
    threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }
  return std::unique_ptr<Backend>(new CpuBackend(isa, threads));
}

}  // namespace dyn::kernels
