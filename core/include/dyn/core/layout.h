#pragma once

#include <compare>

namespace dyn {

enum class WorkerRole { aggregated, prefill, decode };

/// How one worker (one engine) spreads a model over its GPUs.
struct ParallelLayout {
  int tensor = 1;    ///< TP: GPUs that share each matrix multiply
  int pipeline = 1;  ///< PP: stages
  int data = 1;      ///< attention data parallelism: ranks with a scheduler and KV cache each
  int expert = 1;    ///< EP: GPUs over which whole experts are spread; divides tensor * data

  constexpr int gpus() const { return tensor * pipeline * data; }
  constexpr auto operator<=>(const ParallelLayout&) const = default;
};

}  // namespace dyn
