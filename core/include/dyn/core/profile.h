#pragma once

#include <cstdint>
#include <map>
#include <optional>
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
  all_gather,
  reduce_scatter,
  all_to_all,
  send_recv,
  sampling,
  latent_prefill,  ///< MLA
  latent_decode,
  sparse_prefill,  ///< DSA: an indexer chooses the tokens that MLA attends to
  sparse_decode,
  linear_prefill,  ///< gated delta rule with its convolution
  linear_decode,
  moe_dispatched,   ///< experts of which each GPU computes only the tokens sent to it
  attention_mixed,  ///< what prefill and decode attention of one step take beyond their sum
};

/// Where the roofline is off by a factor: `factor` at `x`, interpolated linearly in log2(x) and
/// held beyond the ends. x is tokens for GEMM and MoE, query-key pairs for prefill attention, KV
/// tokens for decode attention, and bytes for the rest.
struct CorrectionPoint {
  double x = 0;
  double factor = 1;
};

/// One axis of a surface: what it counts, and its knots, rising and above 0.
struct SurfaceAxis {
  std::string quantity;
  std::vector<double> knots;
};

/// A correction over several quantities at once: 100 * log2(measured / modelled time) at every
/// knot of a rectangular grid, the last axis fastest; linear in the log2 of each quantity between
/// the knots, held beyond the ends. The quantities of each operator, of one GPU's shard:
///   gemm                   tokens, n, k
///   attention_*            queries (prefill, of one sequence), context (decode: KV tokens of one
///                          sequence; prefill: those before the queries, from 1), sequences, heads,
///                          kv_heads, streams (sequences x KV heads), kv_group (heads / KV heads)
///   attention_mixed        prefill_time and decode_time (of one layer, each alone, microseconds),
///                          sequences (that decode); the factor of both times together
///   latent_*               queries or context, sequences, heads, streams (sequences x heads)
///   sparse_*               the same, hidden, and in prefill context (before the queries, from 1)
///   linear_*               queries (prefill), sequences, heads (of values), streams (sequences x
///                          heads), kv_group (value heads / key heads)
///   moe, moe_dispatched    tokens (of all ranks), rows (tokens x experts a token / experts of the
///                          model), experts (of the model), per_token (experts a token),
///                          local_experts (experts / ranks), ranks (among which whole experts are
///                          spread), hidden, width (intermediate of one expert on one GPU)
///   collectives            bytes (of the message, before any algorithm's factor: the whole
///                          vector of an all-reduce, the gathered one of an all-gather, what one
///                          GPU gives of an all-to-all)
struct CorrectionSurface {
  std::vector<SurfaceAxis> axes;
  std::vector<double> log2_hundredths;
};

/// The time of one operator on this device:
/// t = (max(flops / (compute_efficiency * peak), bytes / (bandwidth_efficiency * bandwidth))
///      + overhead) * correction(x) * 2^(sum of the surfaces / 100).
/// For collectives `bandwidth` is the link's and `gpus` the size of the group.
struct OperatorFit {
  OperatorKind kind = OperatorKind::gemm;
  Precision precision = Precision::bf16;
  std::string engine;                 ///< whose kernels; empty: any
  std::string version;                ///< of the engine
  std::optional<Precision> kv_cache;  ///< of attention; none: any
  int head_dim = 0;                   ///< of attention; 0: any
  int kv_group = 0;                   ///< heads that share a KV head; 0: any
  int window = 0;                     ///< of attention, tokens; 0: full
  int gpus = 1;
  double compute_efficiency = 1;    ///< (0, 1]
  double bandwidth_efficiency = 1;  ///< (0, 1]
  Duration overhead{0};             ///< fixed time of a launch
  std::vector<CorrectionPoint> correction;
  std::vector<CorrectionSurface> surfaces;  ///< coarse in many axes, fine in few; they add up
  /// Median of |modelled / measured - 1| over measurements that the fit has not seen.
  std::optional<double> held_out_error;
  std::int64_t samples = 0;     ///< measurements that the fit is from
  double relative_error = 0.3;  ///< half-width of the 90 % interval, as a fraction
  Provenance provenance = Provenance::specification;
  std::string source;  ///< file, paper or run that the constants are from
};

/// The engine's own time around the GPU's, per engine and version.
/// A step takes max(gpu, host) where scheduling overlaps the step, else gpu + host, with
/// host = step_base + step_per_sequence * sequences.
/// What an engine's kernels take in its steps, as multiples of what they take measured alone:
/// experts get uneven loads, ranks wait for one another, and between the kernels that are measured
/// there are small ones that are not, or gaps that a CUDA graph closes.
struct ServingFactors {
  double gemm = 1;
  double attention = 1;  ///< linear attention too
  double experts = 1;
  double collective = 1;
  double elementwise = 1;
  std::string source;
  bool operator==(const ServingFactors&) const = default;
};

struct EngineHost {
  std::string engine = "vllm";
  std::string version;
  Duration step_base{0};
  Duration step_per_sequence{0};
  bool overlapped = false;
  Duration frontend_per_request{0};  ///< added to TTFT: HTTP, tokenizer, hand-over
  /// None: kernels take what they took when they were measured, such as inside the engine.
  std::optional<ServingFactors> serving;
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
