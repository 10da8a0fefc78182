#include <algorithm>

#include "dyn/kvbm/flat_map.h"
#include "entry_list.h"
#include "evictors.h"

namespace dyn::kvbm {
namespace {

constexpr std::uint8_t kSmall = 1;
constexpr std::uint8_t kMain = 2;
constexpr std::uint8_t kMostUses = 3;
/// Uses after the first that take a block from the small queue to the main one.
constexpr std::uint8_t kUsesToMove = 2;

/// The hashes last put in, as many as fit, oldest forgotten first.
class Ghosts {
 public:
  explicit Ghosts(std::uint64_t capacity) : ring_(capacity) {}

  void push(BlockHash hash) {
    if (ring_.empty()) {
      return;
    }
    const std::size_t place = next_ % ring_.size();
    if (next_ >= ring_.size()) {
      forget(ring_[place], next_ - ring_.size());
    }
    ring_[place] = hash;
    const auto [put, inserted] = numbers_.insert(static_cast<std::uint64_t>(hash), next_);
    if (!inserted) {
      *put = next_;
    }
    ++next_;
  }
  /// Whether the hash is remembered; it is no longer.
  bool pop(BlockHash hash) { return numbers_.erase(static_cast<std::uint64_t>(hash)); }
  std::size_t size() const { return numbers_.size(); }
  std::size_t capacity() const { return ring_.size(); }

 private:
  void forget(BlockHash hash, std::uint64_t number) {
    const std::uint64_t* known = numbers_.find(static_cast<std::uint64_t>(hash));
    if (known != nullptr && *known == number) {
      numbers_.erase(static_cast<std::uint64_t>(hash));
    }
  }

  std::vector<BlockHash> ring_;
  FlatMap<std::uint64_t> numbers_;  ///< when each was put in
  std::uint64_t next_ = 0;
};

class S3Fifo final : public Evictor {
 public:
  explicit S3Fifo(std::uint64_t capacity)
      : small_target_(std::max<std::uint64_t>(capacity / 10, 1)),
        main_target_(capacity - std::min(capacity, small_target_)),
        ghosts_(main_target_) {}

  void insert(Entry entry, const BlockUse& use) override {
    if (entry >= blocks_.size()) {
      blocks_.resize(entry + 1);
    }
    blocks_[entry] = {use.hash, 0};
    (ghosts_.pop(use.hash) ? main_ : small_).push(links_, entry);
  }
  void hit(Entry entry, const BlockUse&) override {
    blocks_[entry].uses = std::min<std::uint8_t>(blocks_[entry].uses + 1, kMostUses);
  }
  void remove(Entry entry) override { list_of(entry).take(links_, entry); }
  Entry evict() override {
    Entry victim = kNoEntry;
    if (small_.size() >= small_target_ || main_.empty()) {
      victim = evict_small();
    }
    if (victim == kNoEntry) {
      victim = evict_main();
    }
    return victim == kNoEntry ? evict_small() : victim;
  }
  void pin(Entry entry, bool pinned) override { list_of(entry).pin(links_, entry, pinned); }
  std::uint64_t size() const override { return small_.size() + main_.size(); }
  void check_invariants() const override {
    small_.check(links_);
    main_.check(links_);
    DYN_ASSERT(ghosts_.size() <= ghosts_.capacity(), "more ghosts than are remembered");
  }

 private:
  struct Block {
    BlockHash hash{};
    std::uint8_t uses = 0;  ///< since it came into its queue
  };

  EntryList& list_of(Entry entry) { return links_.list_of(entry) == kSmall ? small_ : main_; }

  /// The oldest of the small queue that was not used again; those before it that were move on.
  Entry evict_small() {
    for (Entry entry = small_.oldest_free(links_); entry != kNoEntry;
         entry = small_.oldest_free(links_)) {
      Block& block = blocks_[entry];
      small_.take(links_, entry);
      if (block.uses < kUsesToMove) {
        ghosts_.push(block.hash);
        return entry;
      }
      block.uses = 0;
      main_.push(links_, entry);
      if (main_.size() > main_target_) {
        const Entry victim = evict_main();
        if (victim != kNoEntry) {
          return victim;
        }
      }
    }
    return kNoEntry;
  }
  /// The oldest of the main queue that was not used since it last came round.
  Entry evict_main() {
    for (Entry entry = main_.oldest_free(links_); entry != kNoEntry;
         entry = main_.oldest_free(links_)) {
      if (blocks_[entry].uses == 0) {
        main_.take(links_, entry);
        return entry;
      }
      --blocks_[entry].uses;
      main_.renew(links_, entry);
    }
    return kNoEntry;
  }

  std::uint64_t small_target_;
  std::uint64_t main_target_;
  Ghosts ghosts_;
  EntryLinks links_;
  EntryList small_{kSmall};
  EntryList main_{kMain};
  std::vector<Block> blocks_;
};

}  // namespace

std::unique_ptr<Evictor> make_s3_fifo(std::uint64_t capacity) {
  return std::make_unique<S3Fifo>(capacity);
}

}  // namespace dyn::kvbm
