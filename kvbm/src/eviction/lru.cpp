#include "entry_list.h"
#include "evictors.h"

namespace dyn::kvbm {
namespace {

class Lru final : public Evictor {
 public:
  void insert(Entry entry, const BlockUse&) override { list_.push(links_, entry); }
  void hit(Entry entry, const BlockUse&) override { list_.renew(links_, entry); }
  void remove(Entry entry) override { list_.take(links_, entry); }
  Entry evict() override {
    const Entry victim = list_.oldest_free(links_);
    if (victim != kNoEntry) {
      list_.take(links_, victim);
    }
    return victim;
  }
  void pin(Entry entry, bool pinned) override { list_.pin(links_, entry, pinned); }
  std::uint64_t size() const override { return list_.size(); }
  void check_invariants() const override { list_.check(links_); }

 private:
  EntryLinks links_;
  EntryList list_{1};
};

}  // namespace

std::unique_ptr<Evictor> make_lru() {
  return std::make_unique<Lru>();
}

}  // namespace dyn::kvbm
