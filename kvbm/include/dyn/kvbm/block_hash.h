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
/// The `index`-th engine block within a larger block of a trace.
BlockHash subblock(BlockHash block, std::uint32_t index);

/// The hashes of a prompt's full blocks, without storing one a block where a trace's blocks are
/// larger than the engine's. A view: what it points to must outlive it.
class PromptBlocks {
 public:
  PromptBlocks() = default;
  /// One hash per engine block.
  explicit PromptBlocks(std::span<const BlockHash> hashes)
      : hashes_(hashes), size_(static_cast<std::uint32_t>(hashes.size())) {}
  /// Each of `hashes` stands for `factor` engine blocks; the prompt has `size` full ones.
  PromptBlocks(std::span<const BlockHash> hashes, std::uint32_t factor, std::uint32_t size)
      : hashes_(hashes), factor_(factor), size_(size) {
    DYN_ASSERT(factor > 0 && size <= hashes.size() * factor, "more blocks than hashes");
  }

  std::uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  BlockHash operator[](std::uint32_t i) const {
    return factor_ == 1 ? hashes_[i] : subblock(hashes_[i / factor_], i % factor_);
  }

 private:
  std::span<const BlockHash> hashes_;
  std::uint32_t factor_ = 1;
  std::uint32_t size_ = 0;
};

/// A change of a worker's cache, as engines publish it.
struct KvEvent {
  enum class Kind : std::uint8_t { stored, removed, cleared };
  Kind kind = Kind::stored;
  BlockHash hash{};
};

}  // namespace dyn::kvbm
