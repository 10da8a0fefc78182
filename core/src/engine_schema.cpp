#include "dyn/core/engine_version.h"
#include "dyn/core/schemas.h"

namespace dyn {
namespace {

constexpr std::int64_t kMostTokens = 100'000'000;

}  // namespace

void describe(EnumSchema<DraftKind>& s) {
  s.value(DraftKind::mtp, "mtp", "the model's own draft layers.")
      .value(DraftKind::eagle, "eagle", "one dense layer trained beside the model.");
}

void describe(EnumSchema<QueuePolicy>& s) {
  s.value(QueuePolicy::fcfs, "fcfs", "first come, first served.")
      .value(QueuePolicy::priority, "priority",
             "the most urgent first; where the cache is full the least urgent is preempted.");
}

void describe(EnumSchema<SchedulePolicy>& s) {
  s.value(SchedulePolicy::fcfs, "fcfs", "first come, first served.")
      .value(
          SchedulePolicy::lpm, "lpm",
          "the longest prefix in the cache first, while no more than 128 wait; of those with none "
          "that begin alike only one before the others.");
}

void describe(EnumSchema<CapacityPolicy>& s) {
  s.value(CapacityPolicy::guaranteed_no_evict, "guaranteed_no_evict",
          "admits a request only if it and all that runs fit to their last tokens.")
      .value(CapacityPolicy::max_utilization, "max_utilization",
             "admits what fits now, and preempts where that was too much.");
}

void describe(ObjectSchema<SpeculationConfig>& s) {
  s.about("speculation",
          "Speculative decoding: in each step a sequence has 1 + draft_tokens tokens computed and "
          "keeps acceptance_length of them on average, spread evenly over the steps.");
  s.field("kind", &SpeculationConfig::kind, "Where drafts come from.")
      .because("models that have draft layers do best with them");
  s.field("draft_tokens", &SpeculationConfig::draft_tokens, "Tokens drafted in a step.")
      .between(1, 64)
      .because("one draft pays in most loads");
  s.field("acceptance_length", &SpeculationConfig::acceptance_length,
          "Tokens that a sequence gets from a step on average, from 1 to 1 + draft_tokens.")
      .at_least(1)
      .unset("what was measured for the model or its relatives");
  s.check([](const SpeculationConfig& speculation, Checker& checker) {
    if (speculation.acceptance_length.value_or(1) > 1 + speculation.draft_tokens) {
      checker.error("acceptance_length", "more tokens than are computed: at most 1 + draft_tokens");
    }
  });
}

void describe(ObjectSchema<SglangConfig>& s) {
  s.about("sglang", "What SGLang's scheduler has and the others have not.");
  s.field("schedule_conservativeness", &SglangConfig::schedule_conservativeness,
          "Factor of the share of output that is kept room for.")
      .between(0, 100)
      .because("SGLang's own");
  s.field("clip_max_new_tokens", &SglangConfig::clip_max_new_tokens,
          "Output of one request beyond this is kept no room for.")
      .between(1, kMostTokens)
      .because("SGLang's own");
  s.field("schedule_policy", &SglangConfig::schedule_policy,
          "Which waiting prompts are computed first.")
      .because("SGLang's own since 0.4");
  s.field("max_prefill_tokens", &SglangConfig::max_prefill_tokens,
          "A step takes no further prompt whose tokens, cached ones apart, reach this beside those "
          "that it has, even if it would be cut.")
      .between(1, kMostTokens)
      .because("SGLang's own");
  s.field("swa_full_tokens_ratio", &SglangConfig::swa_full_tokens_ratio,
          "Tokens in the pool of layers with sliding windows for each token in that of the others; "
          "the smaller of the two limits how many requests run.")
      .above(0)
      .at_most(1)
      .because("SGLang's own (0.5)")
      .brief();
  s.field("mamba_full_memory_ratio", &SglangConfig::mamba_full_memory_ratio,
          "Memory of the pool of linear layers' states for each byte of the KV pool.")
      .above(0)
      .at_most(1000)
      .because("SGLang's own (0.5)")
      .brief();
  s.field("max_mamba_cache_size", &SglangConfig::max_mamba_cache_size,
          "States that each engine has room for. A request needs three to run, its own and two in "
          "the prefix cache; one without that cache.")
      .between(1, 100'000'000)
      .brief()
      .unset("what mamba_full_memory_ratio gives them; no limit in a deployment with kv_blocks");
}

void describe(ObjectSchema<EngineConfig>& s) {
  s.about("engine", "Limits of one engine's scheduler and KV cache, in vLLM's terms.");
  s.field("kind", &EngineConfig::kind, "Whose scheduler is followed.")
      .not_empty()
      .because("the most common one");
  s.field(
       "version", &EngineConfig::version,
       "Its version: the host times of a step are those of the newest that the profile knows and "
       "that is no newer. vLLM schedules asynchronously since 0.14, and takes 92 % of the memory "
       "by default since 0.22.")
      .brief()
      .example("0.19.0")
      .unset("the newest that the profile knows; the memory is 'memory_utilization'");
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
  s.field("cache_eviction", &EngineConfig::cache_eviction,
          "Which of the blocks kept for that leaves when the device is full. Engines evict the one "
          "not used for longest; the others tell what another choice would bring.")
      .because("the engines' own")
      .brief();
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
  s.field(
       "hybrid_kv_cache", &EngineConfig::hybrid_kv_cache,
       "Whether layers with sliding windows and linear states give back the KV that they no "
       "longer need: vLLM's hybrid KV cache manager, SGLang's pool of sliding layers. Where not, "
       "sliding layers keep all of it.")
      .brief()
      .unset(
          "as the engine has it: on, but in vLLM for Llama-4 and with tiers below the device, "
          "and in SGLang for all but gpt-oss, Llama-4, MiMo-V2, Step-3.5 and Gemma 4");
  s.field("queue", &EngineConfig::queue, "In which order waiting requests are admitted.")
      .because("the engines' own")
      .brief();
  s.field("speculation", &EngineConfig::speculation, "Speculative decoding.")
      .brief()
      .unset("one token a step");
  s.field("lora", &EngineConfig::lora, "LoRA adapters.").brief().unset("the model alone");
  s.field("sglang", &EngineConfig::sglang, "Settings of SGLang alone.").brief();
  s.check([](const EngineConfig& engine, Checker& checker) {
    if (engine.version && !is_version(*engine.version)) {
      checker.error("version", "expected a version such as 0.19.0, got \"" + *engine.version + '"');
    }
    if (engine.cache_eviction == EvictionKind::belady) {
      checker.error("cache_eviction", "a device does not know which blocks will be used",
                    "lru, s3_fifo, tiny_lfu and cost_aware do not have to; the bound is known for "
                    "tiers below the device (kv_tiers)");
    }
    if (engine.queue == QueuePolicy::priority &&
        engine.sglang.schedule_policy != SchedulePolicy::fcfs) {
      checker.error("sglang", "SGLang orders by priority or by cached prefix, not by both",
                    "leave schedule_policy out, or queue");
    }
    const int states = SglangConfig::states_per_sequence(engine.prefix_caching);
    if (engine.sglang.max_mamba_cache_size.value_or(states) < states) {
      checker.error("sglang",
                    "max_mamba_cache_size lets nobody run: a request takes " +
                        std::to_string(states) + " states",
                    "give it more, or switch prefix_caching off");
    }
  });
  s.field("capacity", &EngineConfig::capacity, "TensorRT-LLM's capacity scheduler.")
      .because("TensorRT-LLM's own")
      .brief();
}

}  // namespace dyn
