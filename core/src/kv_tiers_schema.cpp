#include "dyn/core/schemas.h"

namespace dyn {
namespace {

bool uses_belady(const KvTiers& tiers) {
  for (const KvTiers::Named& level : tiers.levels()) {
    if (level.tier->eviction == EvictionKind::belady) {
      return true;
    }
  }
  return false;
}

/// A tier that is written through has all that the one above has, so it must be larger to be of
/// any use. Those of workers and those of all of them cannot be compared here.
void check_order(const KvTiers& tiers, Checker& checker) {
  const KvTiers::Named* above = nullptr;
  const std::vector<KvTiers::Named> levels = tiers.levels();
  for (const KvTiers::Named& level : levels) {
    if (above != nullptr && level.tier->write == TierWrite::through &&
        level.tier->scope == above->tier->scope && level.tier->capacity <= above->tier->capacity) {
      checker.error(level.name,
                    "'" + std::string(level.name) + "' is no larger than '" +
                        std::string(above->name) + "', whose blocks it has too",
                    "give it more capacity, write: back, or leave it out");
    }
    above = &level;
  }
}

}  // namespace

std::vector<KvTiers::Named> KvTiers::levels() const {
  std::vector<Named> all;
  for (const auto& [name, tier] :
       {std::pair{"host", &host}, std::pair{"disk", &disk}, std::pair{"object", &object}}) {
    if (*tier) {
      all.push_back({name, &**tier});
    }
  }
  return all;
}

std::optional<TierProblem> problem_of(const KvTiers& tiers, const EngineConfig& engine,
                                      bool open_loop) {
  if (!tiers.empty() && !engine.prefix_caching) {
    return TierProblem{"tiers hold cached prefixes, but engine.prefix_caching is off",
                       "turn it on, or leave kv_tiers out"};
  }
  if (!tiers.empty() && engine.hybrid_kv_cache.value_or(false)) {
    return TierProblem{"tiers hold blocks of all layers, but engine.hybrid_kv_cache is on",
                       "turn it off, or leave kv_tiers out"};
  }
  if (uses_belady(tiers) && !open_loop) {
    return TierProblem{
        "the Belady bound needs to know which request comes when, which only an open loop without "
        "sessions tells",
        "give a rate or a trace of single requests, or another eviction"};
  }
  return std::nullopt;
}

void describe(EnumSchema<EvictionKind>& s) {
  s.value(EvictionKind::lru, "lru", "the block not used for longest.")
      .value(EvictionKind::s3_fifo, "s3_fifo",
             "three FIFO queues: blocks used once leave early (S3-FIFO).")
      .value(EvictionKind::tiny_lfu, "tiny_lfu",
             "by how often, of late, against what would come in (W-TinyLFU).")
      .value(EvictionKind::cost_aware, "cost_aware",
             "the end of a prompt whose uses times cost of computing it again are least.")
      .value(EvictionKind::belady, "belady",
             "the block whose next use is farthest: the bound that none can beat, for loads whose "
             "requests are known beforehand.");
}

void describe(EnumSchema<TierScope>& s) {
  s.value(TierScope::worker, "worker", "every worker has its own, which goes with it.")
      .value(TierScope::shared, "shared", "one for all workers that compute prompts.");
}

void describe(EnumSchema<TierWrite>& s) {
  s.value(TierWrite::through, "through", "blocks are written once they are in the tier above.")
      .value(TierWrite::back, "back", "blocks are written when the tier above evicts them.");
}

void describe(ObjectSchema<KvTier>& s) {
  s.about("kv_tier", "A tier of KV blocks below the device's memory.");
  s.field("capacity", &KvTier::capacity,
          "Memory for KV: of each worker, shared evenly by its ranks, or of all workers.")
      .required()
      .above(Bytes(0))
      .example("200 GiB");
  s.field("scope", &KvTier::scope, "Whose it is.")
      .because("the engines' own host caches are each worker's");
  s.field("write", &KvTier::write, "When blocks are written.")
      .because("as vLLM's and SGLang's host caches do");
  s.field("after_uses", &KvTier::after_uses,
          "Only blocks used so often in the tier above are written; 2 is selective.")
      .between(1, 1000)
      .because("every block may be wanted again")
      .brief();
  s.field("eviction", &KvTier::eviction, "Which block leaves when it is full.")
      .because("the engines' own, and on public traces hard to beat");
}

void describe(ObjectSchema<KvTiers>& s) {
  s.about("kv_tiers",
          "Where KV blocks go beyond the device's memory: host memory, a disk of the node, an "
          "object store. A prompt's blocks that are found there are loaded if that is predicted "
          "to be faster than computing them. How fast they are is said by 'network'.");
  s.field("host", &KvTiers::host, "Host memory.").unset("there is none");
  s.field("disk", &KvTiers::disk, "The local disks of a node.").unset("there is none");
  s.field("object", &KvTiers::object, "An object store.").unset("there is none");
  s.field("prefetch", &KvTiers::prefetch,
          "A request's blocks are fetched from disk and object store into host memory before it "
          "may be scheduled, as soon as it is queued.")
      .because("SGLang prefetches where it has storage; here storage must be asked for")
      .brief();
  s.field("max_transfers", &KvTiers::max_transfers,
          "Most transfers in flight, of each engine, for loads and for writes.")
      .between(3, 100'000)
      .because("more would only wait for each other; blocks that find no room are not written")
      .brief();
  s.check([](const KvTiers& tiers, Checker& checker) {
    if (tiers.prefetch && (!tiers.host || (!tiers.disk && !tiers.object))) {
      checker.error("prefetch", "a prefetch goes from disk or object store to host memory",
                    "give 'host' and one of the others");
    }
    check_order(tiers, checker);
  });
}

}  // namespace dyn
