#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/kvbm/block_pool.h"
#include "dyn/kvbm/flat_map.h"
#include "dyn/policy/batch.h"

namespace dyn::policy {

/// Index of a request's record.
using Slot = std::uint32_t;
inline constexpr Slot kNoSlot = static_cast<Slot>(-1);

enum class State : std::uint8_t {
  unused,
  waiting,     ///< queued; no blocks
  receiving,   ///< blocks reserved, remote KV on its way
  received,    ///< remote KV there; joins next
  fetching,    ///< its blocks are on their way into the first tier; none held
  loading,     ///< blocks reserved, tiers' KV on its way
  prefilling,  ///< in the batch, prompt (or what a preemption lost) not yet computed
  decoding,    ///< in the batch, one token a step
  held,        ///< prefill role: done, blocks kept for the transfer
};

struct Request {
  EngineRequest spec;
  State state = State::unused;
  bool admitted = false;   ///< has been in a batch
  bool cancelled = false;  ///< leaves at the end of the step
  bool remote = false;     ///< its KV is still to come from elsewhere
  Slot previous = kNoSlot;
  Slot next = kNoSlot;
  std::uint64_t order = 0;    ///< of admission or reservation; distinct
  std::int64_t computed = 0;  ///< tokens with KV, those of the step in progress included
  std::int64_t produced = 0;  ///< output tokens; stale while decoding
  std::int64_t base = 0;      ///< decoding: prompt + output = base + steps ended
  std::int64_t finish = 0;    ///< decoding: the step count at which the last token is made
  std::int64_t cached = 0;    ///< prompt tokens found in the cache at the last admission
  std::int64_t nameless = 0;  ///< blocks held without hash; stale while decoding
  kvbm::HeldBlocks named;     ///< blocks held by hash, in order of position
  std::int64_t window = 0;    ///< blocks of the pool of sliding layers
  std::int64_t kept = 0;      ///< blocks behind the prompt's own that are in the cache (see keep)
  SimTime last_token{};       ///< of a preempted request that had one

  /// What a request has from tiers, in blocks by level.
  struct Loads {
    std::array<std::uint32_t, 3> loaded{};   ///< to the device
    std::array<std::uint32_t, 3> fetched{};  ///< to the first tier
    std::uint32_t end = 0;                   ///< of the loaded blocks, in the prompt
    bool done = false;                       ///< it loads no more before it is admitted
    SimTime since{};                         ///< it waits since
    Duration time{0};                        ///< it has waited
  };
  Loads loads;
  std::uint64_t place = 0;  ///< in the queue, by submission; distinct

  std::int64_t known() const { return spec.prompt_tokens + produced; }
  /// Output tokens still to come; not while decoding.
  std::int64_t output_left() const { return spec.max_output_tokens - produced; }
};

/// The requests of one scheduler: records in slots that are reused, found by id.
class RequestTable {
 public:
  Request& operator[](Slot slot) { return records_[slot]; }
  const Request& operator[](Slot slot) const { return records_[slot]; }

  Slot find(RequestId id) const {
    const Slot* slot = by_id_.find(id.value());
    return slot != nullptr ? *slot : kNoSlot;
  }
  Slot insert(const EngineRequest& spec) {
    Slot slot = 0;
    if (spare_.empty()) {
      slot = static_cast<Slot>(records_.size());
      records_.emplace_back();
    } else {
      slot = spare_.back();
      spare_.pop_back();
    }
    DYN_ASSERT(by_id_.insert(spec.id.value(), slot).second, "the request's id is in use");
    Request& request = records_[slot];
    kvbm::HeldBlocks named = std::move(request.named);  // keeps its memory
    named.clear();
    request = Request{};
    request.named = std::move(named);
    request.spec = spec;
    request.remote = spec.remote_prefill;
    return slot;
  }
  void erase(Slot slot) {
    by_id_.erase(records_[slot].spec.id.value());
    records_[slot].state = State::unused;
    spare_.push_back(slot);
  }
  std::size_t size() const { return by_id_.size(); }
  Slot slots() const { return static_cast<Slot>(records_.size()); }

 private:
  std::vector<Request> records_;
  std::vector<Slot> spare_;
  kvbm::FlatMap<Slot> by_id_;
};

/// A list of requests, linked through their records: a request is in at most one.
struct RequestList {
  Slot head = kNoSlot;
  Slot tail = kNoSlot;
  std::int32_t size = 0;

  bool empty() const { return head == kNoSlot; }
  /// Inserts before `next`; at the end if that is kNoSlot.
  void insert(RequestTable& table, Slot slot, Slot next) {
    Request& request = table[slot];
    request.next = next;
    request.previous = next == kNoSlot ? tail : table[next].previous;
    (request.previous == kNoSlot ? head : table[request.previous].next) = slot;
    (next == kNoSlot ? tail : table[next].previous) = slot;
    ++size;
  }
  void push_back(RequestTable& table, Slot slot) { insert(table, slot, kNoSlot); }
  void push_front(RequestTable& table, Slot slot) { insert(table, slot, head); }
  void remove(RequestTable& table, Slot slot) {
    const Request& request = table[slot];
    (request.previous == kNoSlot ? head : table[request.previous].next) = request.next;
    (request.next == kNoSlot ? tail : table[request.next].previous) = request.previous;
    --size;
  }
};

}  // namespace dyn::policy
