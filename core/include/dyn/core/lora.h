#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dyn/core/quantity.h"

namespace dyn {

struct ModelSpec;
struct ParallelLayout;

/// LoRA adapters of one engine, in vLLM's terms: a batch has requests of at most `slots` different
/// adapters, whose weights are in the device. Others are kept in host memory, least recently used
/// first out, and beyond that are read from storage again.
struct LoraConfig {
  int slots = 1;                  ///< adapters in the device (max_loras)
  std::optional<int> host_slots;  ///< adapters in host memory (max_cpu_loras), those in the device
                                  ///< included; default `slots`
  int rank = 16;                  ///< of every adapter (max_lora_rank)
  std::optional<Bytes> size;  ///< of an adapter's file; default what its rank makes of the model
  std::vector<std::string> names;  ///< by which requests ask for adapters (lora_modules)
  bool operator==(const LoraConfig&) const = default;

  int hosted() const { return host_slots.value_or(slots); }
};

/// Which of the requests of a synthetic load use an adapter. Requests of a session use one.
struct AdapterMix {
  int count = 1;     ///< different adapters
  double share = 1;  ///< of the sessions that use one; the others use the model as it is
  double skew = 1;   ///< of Zipf's law: the k-th adapter is used in proportion to 1 / k^skew
  bool operator==(const AdapterMix&) const = default;
};

/// Bytes of an adapter, of 16-bit weights: rank * (in + out) of every projection of attention and
/// of dense and shared MLPs. Routed experts, embeddings and linear attention have none.
Bytes adapter_bytes(const LoraConfig& lora, const ModelSpec& model);
/// The share of it on each GPU of a layout: of projections cut by their outputs all of the first
/// matrix and a part of the second, of those cut by their inputs the other way round, as vLLM cuts
/// them (fully_sharded_loras off).
Bytes adapter_bytes_per_gpu(const LoraConfig& lora, const ModelSpec& model,
                            const ParallelLayout& layout);

}  // namespace dyn
