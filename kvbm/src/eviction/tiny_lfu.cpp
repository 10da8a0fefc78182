#include <algorithm>

#include "dyn/kvbm/frequency_sketch.h"
#include "entry_list.h"
#include "evictors.h"

namespace dyn::kvbm {
namespace {

constexpr std::uint8_t kWindow = 1;
constexpr std::uint8_t kProbation = 2;
constexpr std::uint8_t kProtected = 3;

class TinyLfu final : public Evictor {
 public:
  explicit TinyLfu(std::uint64_t capacity)
      : window_target_(std::max<std::uint64_t>(capacity / 100, 1)),
        protected_target_((capacity - std::min(capacity, window_target_)) * 4 / 5),
        sketch_(capacity) {}

  void insert(Entry entry, const BlockUse& use) override {
    if (entry >= hashes_.size()) {
      hashes_.resize(entry + 1);
    }
    hashes_[entry] = use.hash;
    sketch_.add(use.hash);
    window_.push(links_, entry);
    if (window_.size() > window_target_) {  // the cache is not full: nobody need leave for it
      move(window_.oldest(), probation_);
    }
  }
  void hit(Entry entry, const BlockUse& use) override {
    sketch_.add(use.hash);
    if (links_.list_of(entry) == kWindow) {
      window_.renew(links_, entry);
      return;
    }
    move(entry, protected_);
    if (protected_.size() > protected_target_) {
      move(protected_.oldest(), probation_);
    }
  }
  void remove(Entry entry) override { list_of(entry).take(links_, entry); }
  Entry evict() override {
    // The window's oldest will have to go into the main part when the next block comes.
    const Entry candidate =
        window_.size() >= window_target_ ? window_.oldest_free(links_) : kNoEntry;
    Entry victim = probation_.oldest_free(links_);
    if (victim == kNoEntry) {
      victim = protected_.oldest_free(links_);
    }
    if (victim == kNoEntry) {
      victim = window_.oldest_free(links_);
    } else if (candidate != kNoEntry) {
      if (sketch_.count(hashes_[candidate]) > sketch_.count(hashes_[victim])) {
        move(candidate, probation_);
      } else {
        victim = candidate;
      }
    }
    if (victim != kNoEntry) {
      list_of(victim).take(links_, victim);
    }
    return victim;
  }
  void pin(Entry entry, bool pinned) override { list_of(entry).pin(links_, entry, pinned); }
  std::uint64_t size() const override {
    return window_.size() + probation_.size() + protected_.size();
  }
  void check_invariants() const override {
    window_.check(links_);
    probation_.check(links_);
    protected_.check(links_);
  }

 private:
  EntryList& list_of(Entry entry) {
    switch (links_.list_of(entry)) {
      case kWindow:
        return window_;
      case kProbation:
        return probation_;
      default:
        return protected_;
    }
  }
  void move(Entry entry, EntryList& to) {
    list_of(entry).take(links_, entry);
    to.push(links_, entry);
  }

  std::uint64_t window_target_;
  std::uint64_t protected_target_;
  FrequencySketch sketch_;
  EntryLinks links_;
  EntryList window_{kWindow};
  EntryList probation_{kProbation};
  EntryList protected_{kProtected};
  std::vector<BlockHash> hashes_;
};

}  // namespace

std::unique_ptr<Evictor> make_tiny_lfu(std::uint64_t capacity) {
  return std::make_unique<TinyLfu>(capacity);
}

}  // namespace dyn::kvbm
