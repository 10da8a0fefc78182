#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "dyn/core/check.h"

namespace dyn::kvbm {

/// The identity of a full KV block: a hash of its tokens chained to that of the block before it,
/// so that equal hashes mean equal prefixes. 64 bits of XXH3.
enum class BlockHash : std::uint64_t {};

/// Where a chain begins. Different tenants, LoRA adapters and model/layout fingerprints get
/// different salts and so never share a block.
BlockHash chain_root(std::string_view salt);
/// The block of `tokens` after `parent`.
BlockHash chain(BlockHash parent, std::span<const std::uint32_t> tokens);
/// The block known by an opaque content id (a trace's hash id) after `parent`.
BlockHash chain(BlockHash parent, std::uint64_t content_id);
/// The `index`-th block of a segment, which is known by its first block.
BlockHash nth_block(BlockHash segment, std::uint32_t index);

/// Consecutive blocks of a segment.
struct BlockRange {
  BlockHash segment{};
  std::uint32_t first = 0;
  std::uint32_t count = 0;

  std::uint32_t end() const { return first + count; }
  bool operator==(const BlockRange&) const = default;
};

/// A part of a prompt, of consecutive blocks.
struct PromptSegment {
  BlockHash id{};         ///< that of its first block
  std::uint32_t end = 0;  ///< blocks of the prompt up to and including it
};

/// A prompt's full blocks, as segments: runs of consecutive blocks that no prompt branches off
/// from inside. Who has a block of a segment has those before it in the segment too, and the
/// blocks that follow one another in one prompt do so in every other; a prompt may only end
/// inside. So a pool or an index need not look at every block. Where nothing is known of other
/// prompts each block is a segment. All prompts of one pool or index must be cut alike. A view:
/// what it points to must outlive it.
class PromptBlocks {
 public:
  PromptBlocks() = default;
  /// One hash per block.
  explicit PromptBlocks(std::span<const BlockHash> hashes)
      : hashes_(hashes), size_(static_cast<std::uint32_t>(hashes.size())) {}
  /// Each of `hashes` stands for a segment of `factor` blocks; the prompt has `size` full ones.
  PromptBlocks(std::span<const BlockHash> hashes, std::uint32_t factor, std::uint32_t size)
      : hashes_(hashes), factor_(factor), size_(size) {
    DYN_ASSERT(factor > 0 && size <= hashes.size() * factor, "more blocks than hashes");
  }
  /// Segments whose ends count larger blocks, of `factor` blocks each.
  PromptBlocks(std::span<const PromptSegment> segments, std::uint32_t factor, std::uint32_t size)
      : segments_(segments), factor_(factor), size_(size) {
    DYN_ASSERT(factor > 0 && size <= (segments.empty() ? 0 : segments.back().end) * factor,
               "more blocks than the segments have");
  }

  std::uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  /// The same tokens in another group of a model's layers, which has blocks of its own. Group 0 is
  /// the one that prompts are given for; the blocks of the others are told to nobody.
  PromptBlocks of_group(std::uint32_t group) const {
    PromptBlocks other = *this;
    other.salt_ = group * 0x9E3779B97F4A7C15ULL;
    return other;
  }
  bool is_told() const { return salt_ == 0; }
  /// The hash of a block. O(segments).
  BlockHash operator[](std::uint32_t i) const;

  /// Calls `visit(BlockRange)` for each segment's share of the blocks [begin, end), in order,
  /// until it returns false.
  template <class Visit>
  void each_range(std::uint32_t begin, std::uint32_t end, Visit visit) const;

 private:
  std::span<const BlockHash> hashes_;
  std::span<const PromptSegment> segments_;
  std::uint32_t factor_ = 1;
  std::uint32_t size_ = 0;
  std::uint64_t salt_ = 0;
};

template <class Visit>
void PromptBlocks::each_range(std::uint32_t begin, std::uint32_t end, Visit visit) const {
  end = end < size_ ? end : size_;
  std::size_t i = segments_.empty() ? begin / factor_ : 0;
  std::uint32_t start = segments_.empty() ? static_cast<std::uint32_t>(i) * factor_ : 0;
  while (begin < end) {
    const std::uint32_t whole = segments_.empty() ? start + factor_ : segments_[i].end * factor_;
    const std::uint32_t stop = whole < end ? whole : end;
    if (stop > begin) {
      const BlockHash segment = segments_.empty() ? hashes_[i] : segments_[i].id;
      const BlockHash salted{static_cast<std::uint64_t>(segment) ^ salt_};
      if (!visit(BlockRange{salted, begin - start, stop - begin})) {
        return;
      }
      begin = stop;
    }
    start = whole;
    ++i;
  }
}

/// A change of a worker's cache, as engines publish it: of the blocks [first, first + count) of a
/// segment, removed ones from the last to the first. Tiers below the device tell of single blocks.
struct KvEvent {
  enum class Kind : std::uint8_t { stored, removed, cleared };
  Kind kind = Kind::stored;
  BlockHash hash{};  ///< the segment
  std::uint32_t first = 0;
  std::uint32_t count = 1;
  std::uint8_t tier = 0;  ///< 0 the device, n the n-th tier below it

  BlockRange range() const { return {hash, first, count}; }
};

}  // namespace dyn::kvbm
