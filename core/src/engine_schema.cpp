#include "dyn/core/schemas.h"

namespace dyn {
namespace {

constexpr std::int64_t kMostTokens = 100'000'000;

}  // namespace

void describe(ObjectSchema<EngineConfig>& s) {
  s.about("engine", "Limits of one engine's scheduler and KV cache, in vLLM's terms.");
  s.field("kind", &EngineConfig::kind, "Whose scheduler is followed.")
      .not_empty()
      .because("the most common one");
  s.field("max_num_seqs", &EngineConfig::max_num_seqs, "Most requests in one batch.")
      .between(1, 1'000'000)
      .because("vLLM's own");
  s.field("max_num_batched_tokens", &EngineConfig::max_num_batched_tokens,
          "Token budget of one step.")
      .between(1, kMostTokens)
      .because("vLLM's own for serving");
  s.field("block_size", &EngineConfig::block_size, "Tokens of a KV block.")
      .between(1, 4096)
      .because(
          "the router tracks a quarter of the blocks of vLLM's 16, for hits at most 63 tokens "
          "shorter");
  s.field("prefix_caching", &EngineConfig::prefix_caching,
          "Keeps the KV blocks of finished requests for prompts that begin alike.")
      .because("vLLM's own");
  s.field("chunked_prefill", &EngineConfig::chunked_prefill,
          "Splits long prompts over steps, together with decoding requests.")
      .because("vLLM's own");
  s.field("memory_utilization", &EngineConfig::memory_utilization,
          "Fraction of the device memory that the engine may use.")
      .above(0)
      .at_most(1)
      .because("vLLM's own");
  s.field("max_model_len", &EngineConfig::max_model_len,
          "Longest prompt and output together, in tokens.")
      .between(1, kMostTokens)
      .unset("the model's context");
  s.field("kv_blocks", &EngineConfig::kv_blocks, "KV blocks of each engine.")
      .at_least(1)
      .unset("what the memory model leaves");
}

}  // namespace dyn
