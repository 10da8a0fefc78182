#pragma once

#include <algorithm>
#include <cstdint>

#include "residue_counts.h"

namespace dyn::policy {

/// How fast sequences decode. Without speculation each makes one token a step. With it each
/// computes its newest token and `drafts` more in a step and keeps `tokens_per_step` on average,
/// which are spread evenly over the steps: after s of them a sequence has made
/// floor(s * tokens_per_step).
struct Pace {
  static constexpr int kBits = 16;  ///< tokens_per_step is a multiple of 2^-16
  std::int64_t tokens_per_step = std::int64_t{1} << kBits;  ///< from 1 to 1 + drafts
  std::int64_t drafts = 0;

  std::int64_t tokens(std::int64_t steps) const { return (steps * tokens_per_step) >> kBits; }
  /// The fewest steps that make so many tokens.
  std::int64_t steps(std::int64_t tokens) const {
    return ((tokens << kBits) + tokens_per_step - 1) / tokens_per_step;
  }
};

/// The sequences that decode, all at the same pace, as sums: how many there are, their context,
/// and how many cross into a new KV block at each token, by residue of their length modulo the
/// block size. A sequence has base + made() tokens. Before a step it holds blocks for all tokens
/// but the newest, and for as many as are drafted; in the step also for those that it will make.
class DecodeSet {
 public:
  explicit DecodeSet(std::int64_t block_size, Pace pace = {}) : pace_(pace), lengths_(block_size) {}

  std::int64_t count() const { return lengths_.count(); }
  std::int64_t steps() const { return steps_; }  ///< ended
  /// Tokens that a sequence which decoded from the beginning has made, `ahead` steps from now.
  std::int64_t made(std::int64_t ahead = 0) const { return pace_.tokens(steps_ + ahead); }
  /// Tokens that a sequence makes in the step after `ahead` more steps.
  std::int64_t gain(std::int64_t ahead = 0) const { return made(ahead + 1) - made(ahead); }
  /// The fewest steps after which made() is at least `tokens`.
  std::int64_t steps_until(std::int64_t tokens) const { return pace_.steps(tokens) - steps_; }
  std::int64_t drafts() const { return pace_.drafts; }
  /// Sum of tokens, the one being computed included.
  std::int64_t context() const { return base_sum_ + count() * made(); }

  /// Tokens for which a sequence holds blocks between two steps.
  std::int64_t held_tokens(std::int64_t base) const { return base + made() - 1 + pace_.drafts; }
  /// Blocks that the step after `ahead` more steps needs.
  std::int64_t blocks_needed(std::int64_t ahead = 0) const {
    return blocks_between(made(ahead), made(ahead + 1));
  }
  /// Blocks that the `steps` steps after this one need together.
  std::int64_t blocks_ahead(std::int64_t steps) const {
    return blocks_between(made(1), made(1 + steps));
  }
  /// The most steps, up to `limit`, after this one that need no more than `blocks` together.
  std::int64_t steps_within(std::int64_t blocks, std::int64_t limit) const {
    return most_steps(limit, [&](std::int64_t steps) { return blocks_ahead(steps) <= blocks; });
  }

  /// A sequence of `tokens` tokens joins; returns its base.
  std::int64_t join(std::int64_t tokens) {
    const std::int64_t base = tokens - made();
    base_sum_ += base;
    lengths_.join(base);
    return base;
  }
  void leave(std::int64_t base) {
    base_sum_ -= base;
    lengths_.leave(base);
  }
  void advance(std::int64_t steps) { steps_ += steps; }

 private:
  /// Blocks that all sequences together need to get from `from` tokens made to `to`: one at each
  /// token of a sequence whose held tokens fill whole blocks.
  std::int64_t blocks_between(std::int64_t from, std::int64_t to) const {
    return lengths_.crossings(from, to, 1 - pace_.drafts);
  }

  Pace pace_;
  std::int64_t steps_ = 0;
  std::int64_t base_sum_ = 0;
  ResidueCounts lengths_;
};

}  // namespace dyn::policy
