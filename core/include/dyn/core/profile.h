#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dyn/core/gpu_spec.h"
#include "dyn/core/provenance.h"
#include "dyn/core/quantity.h"

namespace dyn {

class Document;

enum class OperatorKind {
  gemm,
  attention_prefill,
  attention_decode,
  moe,
  elementwise,  ///< norms, rotary embedding, activation, residual, KV write
  all_reduce,
  all_to_all,
  send_recv,
  sampling,
};

/// Where the roofline is off by a factor: `factor` at `x`, interpolated linearly in log2(x) and
/// held beyond the ends. x is tokens for GEMM and MoE, query-key pairs for prefill attention, KV
/// tokens for decode attention, and bytes for the rest.
struct CorrectionPoint {
  double x = 0;
  double factor = 1;
};

/// The time of one operator on this device:
/// t = (max(flops / (compute_efficiency * peak), bytes / (bandwidth_efficiency * bandwidth))
///      + overhead) * correction(x).
/// For collectives `bandwidth` is the link's and `gpus` the size of the group.
struct OperatorFit {
  OperatorKind kind = OperatorKind::gemm;
  Precision precision = Precision::bf16;
  int gpus = 1;
  double compute_efficiency = 1;    ///< (0, 1]
  double bandwidth_efficiency = 1;  ///< (0, 1]
  Duration overhead{0};             ///< fixed time of a launch
  std::vector<CorrectionPoint> correction;
  double relative_error = 0.3;  ///< half-width of the 90 % interval, as a fraction
  Provenance provenance = Provenance::specification;
  std::string source;  ///< file, paper or run that the constants are from
};

/// The engine's own time around the GPU's, per engine and version.
/// A step takes max(gpu, host) where scheduling overlaps the step, else gpu + host, with
/// host = step_base + step_per_sequence * sequences.
struct EngineHost {
  std::string engine = "vllm";
  std::string version;
  Duration step_base{0};
  Duration step_per_sequence{0};
  bool overlapped = false;
  Duration frontend_per_request{0};  ///< added to TTFT: HTTP, tokenizer, hand-over
  double relative_error = 0.5;
  Provenance provenance = Provenance::specification;
  std::string source;
};

/// A KV tier or disk of the machine.
struct StorageFit {
  std::string name;  ///< host_memory or disk
  BytesPerSec read{0};
  BytesPerSec write{0};
  Duration latency{0};
  Provenance provenance = Provenance::specification;
  std::string source;
};

/// What is known of a device (schema dyn.profile/1): its specification and the constants that
/// the latency model needs. Built-in profiles exist for every GPU of the catalogue.
struct Profile {
  std::string name;        ///< such as h200, or the host's name for a measured CPU
  std::string created_by;  ///< command and version
  std::string description;
  GpuSpec device;
  std::vector<OperatorFit> operators;
  std::vector<EngineHost> engines;
  std::vector<StorageFit> storage;
  Duration intra_node_latency{0};
  Duration inter_node_latency{0};
};

/// Reads a profile file. Throws Error(bad_input): all problems at once, a newer schema, or a
/// truncated file.
Profile load_profile(const std::string& path);
Profile parse_profile(const Document& document);
std::string to_json(const Profile& profile);

}  // namespace dyn
