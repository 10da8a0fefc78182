#include "dyn/kvbm/block_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace dyn::kvbm {

namespace {

// Seeds keep the three kinds of input apart: salts, token blocks and opaque content ids.
constexpr std::uint64_t kSaltSeed = 0x64796e2e73616c74;     // "dyn.salt"
constexpr std::uint64_t kContentSeed = 0x64796e2e636f6e74;  // "dyn.cont"

std::uint64_t value(BlockHash hash) {
  return static_cast<std::uint64_t>(hash);
}

}  // namespace

BlockHash chain_root(std::string_view salt) {
  return BlockHash{XXH3_64bits_withSeed(salt.data(), salt.size(), kSaltSeed)};
}

BlockHash chain(BlockHash parent, std::span<const std::uint32_t> tokens) {
  // The parent seeds the hash, so no copy of the tokens is needed. Tokens are hashed as they lie
  // in memory: little-endian on every machine that dyn runs on.
  return BlockHash{XXH3_64bits_withSeed(tokens.data(), tokens.size_bytes(), value(parent))};
}

BlockHash chain(BlockHash parent, std::uint64_t content_id) {
  const std::uint64_t both[2] = {value(parent), content_id};
  return BlockHash{XXH3_64bits_withSeed(both, sizeof both, kContentSeed)};
}

BlockHash nth_block(BlockHash segment, std::uint32_t index) {
  if (index == 0) {
    return segment;
  }
  // SplitMix64's finaliser over the segment's hash moved by the index: cheap, and one to one for
  // each index.
  std::uint64_t x = value(segment) + index * 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return BlockHash{x ^ (x >> 31)};
}

BlockHash PromptBlocks::operator[](std::uint32_t i) const {
  BlockHash result{};
  each_range(i, i + 1, [&](const BlockRange& range) {
    result = nth_block(range.segment, range.first);
    return false;
  });
  return result;
}

}  // namespace dyn::kvbm
