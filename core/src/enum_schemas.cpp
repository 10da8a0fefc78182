#include "dyn/core/schemas.h"

namespace dyn {

void describe(EnumSchema<Precision>& s) {
  s.value(Precision::fp32, "fp32", "32-bit floating point.")
      .value(Precision::bf16, "bf16", "bfloat16.")
      .value(Precision::fp16, "fp16", "16-bit floating point.")
      .value(Precision::fp8, "fp8", "8-bit floating point, scaled per tensor or channel.")
      .value(Precision::fp8_block, "fp8_block", "fp8 with a scale per block of 128 x 128.")
      .value(Precision::int8, "int8", "8-bit integers.")
      .value(Precision::fp4, "fp4", "NVFP4: 4-bit floating point, a scale byte per 16 values.")
      .value(Precision::mxfp4, "mxfp4", "MXFP4: 4-bit floating point, a scale byte per 32 values.")
      .value(Precision::int4, "int4", "4-bit integers for weights alone.");
}

void describe(EnumSchema<Provenance>& s) {
  s.value(Provenance::measured, "measured", "measured on the device.")
      .value(Provenance::interpolated, "interpolated", "between measurements.")
      .value(Provenance::extrapolated, "extrapolated", "beyond or away from measurements.")
      .value(Provenance::specification, "specification",
             "from data sheets and typical efficiency.");
}

void describe(EnumSchema<AttentionKind>& s) {
  s.value(AttentionKind::grouped_query, "grouped_query",
          "MHA, GQA and MQA: heads share key/value heads.")
      .value(AttentionKind::latent, "latent", "MLA: one compressed latent per token.");
}

void describe(EnumSchema<FourBitScope>& s) {
  s.value(FourBitScope::all, "all", "every matrix.")
      .value(FourBitScope::mlp, "mlp", "dense MLPs and experts, not attention.")
      .value(FourBitScope::experts, "experts", "routed experts only.");
}

void describe(EnumSchema<OperatorKind>& s) {
  s.value(OperatorKind::gemm, "gemm", "dense matrix multiply.")
      .value(OperatorKind::attention_prefill, "attention_prefill", "attention of prompt tokens.")
      .value(OperatorKind::attention_decode, "attention_decode", "attention of one new token each.")
      .value(OperatorKind::moe, "moe", "the experts' multiplies.")
      .value(OperatorKind::moe_dispatched, "moe_dispatched",
             "the same where an all-to-all (DeepEP) brings each GPU its tokens alone.")
      .value(OperatorKind::elementwise, "elementwise",
             "norms, rotary embedding, activation, residual, KV write.")
      .value(OperatorKind::all_reduce, "all_reduce", "sum over a tensor-parallel group.")
      .value(OperatorKind::all_gather, "all_gather", "every GPU's part to all of a group.")
      .value(OperatorKind::reduce_scatter, "reduce_scatter", "sums, a part of them to each GPU.")
      .value(OperatorKind::all_to_all, "all_to_all", "exchange between experts.")
      .value(OperatorKind::send_recv, "send_recv", "hand-over between pipeline stages.")
      .value(OperatorKind::sampling, "sampling", "logits to tokens.")
      .value(OperatorKind::latent_prefill, "latent_prefill", "MLA of prompt tokens.")
      .value(OperatorKind::latent_decode, "latent_decode", "MLA of one new token each.")
      .value(OperatorKind::sparse_prefill, "sparse_prefill",
             "DSA of prompt tokens, indexer included.")
      .value(OperatorKind::sparse_decode, "sparse_decode",
             "DSA of one new token each, indexer included.")
      .value(OperatorKind::linear_prefill, "linear_prefill", "gated delta rule of prompt tokens.")
      .value(OperatorKind::linear_decode, "linear_decode",
             "gated delta rule of one new token each.")
      .value(OperatorKind::attention_mixed, "attention_mixed",
             "the factor that prefill and decode attention of one step take beyond their sum.");
}

void describe(EnumSchema<WorkerRole>& s) {
  s.value(WorkerRole::aggregated, "aggregated", "prefill and decode on the same worker.")
      .value(WorkerRole::prefill, "prefill", "prompts only; the KV cache is handed over.")
      .value(WorkerRole::decode, "decode", "output tokens only.");
}

void describe(EnumSchema<EngineKind>& s) {
  s.value(EngineKind::simulated, "simulated", "the engine state machine with predicted step times.")
      .value(EngineKind::openai, "openai", "a running OpenAI-compatible server.");
}

void describe(EnumSchema<RequestStatus>& s) {
  s.value(RequestStatus::completed, "completed", "every token was made.")
      .value(RequestStatus::rejected, "rejected", "refused before it began.")
      .value(RequestStatus::failed, "failed", "ended by an error.")
      .value(RequestStatus::cancelled, "cancelled", "the client left.")
      .value(RequestStatus::unfinished, "unfinished", "the run ended first.");
}

}  // namespace dyn
