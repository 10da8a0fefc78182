#include "dyn/kvbm/tiers.h"

#include <algorithm>

#include "dyn/core/check.h"

namespace dyn::kvbm {

namespace {
std::uint64_t key(BlockHash hash) {
  return static_cast<std::uint64_t>(hash);
}
}  // namespace

Tiers::Tiers(TiersOptions options)
    : options_(std::move(options)),
      reading_(options_.levels.size(), 0),
      traffic_(options_.levels.size()),
      left_(options_.levels.size()) {
  DYN_ASSERT(!options_.levels.empty() && options_.levels.size() < 256, "a few tiers");
}

Tiers::~Tiers() {
  give_up_all();
}

void Tiers::lookup(const PromptBlocks& blocks, std::uint32_t begin, std::uint32_t end,
                   std::vector<Run>& runs) const {
  runs.clear();
  std::uint32_t i = begin;
  blocks.each_range(begin, end, [&](const BlockRange& range) {
    for (std::uint32_t b = range.first; b < range.end(); ++b, ++i) {
      const BlockHash hash = nth_block(range.segment, b);
      std::uint8_t at = 1;
      while (at <= levels() && store(at).readable(hash) == kNoEntry) {
        ++at;
      }
      if (at > levels()) {
        return false;
      }
      if (runs.empty() || runs.back().level != at) {
        runs.push_back({at, i, i});
      }
      runs.back().end = i + 1;
    }
    return true;
  });
}

/// The blocks [begin, end) of a prompt, in `uses_`.
void Tiers::expand(const PromptUse& prompt, std::uint32_t begin, std::uint32_t end) {
  uses_.clear();
  BlockHash before = begin > 0 ? prompt.blocks[begin - 1] : BlockHash{};
  std::uint32_t i = begin;
  prompt.blocks.each_range(begin, end, [&](const BlockRange& range) {
    for (std::uint32_t b = range.first; b < range.end(); ++b, ++i) {
      const BlockHash hash = nth_block(range.segment, b);
      uses_.push_back({hash, before, i, prompt.future.of(i)});
      before = hash;
    }
    return true;
  });
}

Duration Tiers::predicted_read(std::uint8_t from, std::uint32_t blocks) const {
  const BytesPerSec bandwidth = level(from).read_bandwidth;
  Duration time = level(from).latency;
  if (bandwidth.count() > 0) {
    time += options_.block_bytes * (reading_[from - 1] + blocks) / bandwidth;
  }
  return time;
}

bool Tiers::may_load(std::span<const Run> runs) const {
  return reads_ + std::min(runs.size(), levels()) <= options_.max_transfers;
}

bool Tiers::load(RequestId request, const PromptUse& prompt, std::span<const Run> runs) {
  return read(request, 0, prompt, runs);
}

bool Tiers::prefetch(RequestId request, const PromptUse& prompt, std::span<const Run> runs) {
  return read(request, 1, prompt, runs);
}

/// One transfer a level. Everything that is read is pinned before room is made for any of it.
bool Tiers::read(RequestId request, std::uint8_t to, const PromptUse& prompt,
                 std::span<const Run> runs) {
  std::vector<Transfer> transfers(levels());
  const std::uint32_t first = runs.empty() ? 0 : runs.front().begin;
  expand(prompt, first, runs.empty() ? 0 : runs.back().end);
  for (const Run& run : runs) {
    Transfer& transfer = transfers[run.level - 1];
    for (std::uint32_t i = run.begin; i < run.end && run.level > to; ++i) {
      const Entry entry = store(run.level).readable(uses_[i - first].hash);
      DYN_ASSERT(entry != kNoEntry, "reads a block that is not there");
      store(run.level).pin(entry);
      transfer.reads.push_back({run.level, entry});
    }
  }
  std::uint32_t begun = 0;
  for (std::uint8_t from = 1; from <= levels(); ++from) {
    Transfer& transfer = transfers[from - 1];
    transfer.kind = Kind::read;
    transfer.from = from;
    transfer.to = to;
    transfer.request = request;
    std::size_t kept = 0;
    while (kept < transfer.reads.size() && add_read(transfer, transfer.reads[kept].entry)) {
      ++kept;
    }
    for (std::size_t i = kept; i < transfer.reads.size(); ++i) {
      store(from).unpin(transfer.reads[i].entry);
    }
    transfer.reads.resize(kept);
    transfer.blocks = static_cast<std::uint32_t>(kept);
    if (kept > 0) {
      begin(std::move(transfer));
      ++begun;
    }
  }
  if (begun > 0) {
    loading_.insert(request.value(), begun);
  }
  write_back_left();
  return begun > 0;
}

/// Makes room for a block in the levels that it passes through. False where the one that it is
/// read for has none.
bool Tiers::add_read(Transfer& transfer, Entry source) {
  const BlockUse use = store(transfer.from).use(source);
  const std::uint32_t uses = store(transfer.from).uses(source);
  for (std::uint8_t at = 1; at < transfer.from; ++at) {
    const bool there = store(at).has(use.hash);
    const Entry entry = there ? kNoEntry : reserve(at, use, uses);
    if (entry != kNoEntry) {
      transfer.fills.push_back({at, entry});
    } else if (at == transfer.to) {
      return false;
    }
  }
  return true;
}

void Tiers::give_up(RequestId request) {
  if (!loading_.erase(request.value())) {
    return;
  }
  for (std::uint32_t slot = 0; slot < transfers_.size(); ++slot) {
    if (transfers_[slot].blocks > 0 && transfers_[slot].kind == Kind::read &&
        transfers_[slot].request == request) {
      end(slot, false);
    }
  }
}

void Tiers::give_up_all() {
  for (std::uint32_t slot = 0; slot < transfers_.size(); ++slot) {
    if (transfers_[slot].blocks > 0) {
      end(slot, false);
    }
  }
  loading_.clear();
}

std::optional<TierTransferId> Tiers::stored(const PromptUse& prompt, std::uint32_t begin,
                                            std::uint32_t end) {
  moved_.clear();
  expand(prompt, begin, end);
  for (std::size_t i = uses_.size(); i-- > 0;) {
    const auto [known, inserted] = device_.insert(key(uses_[i].hash), {uses_[i], 1});
    if (wants(1, TierWrite::through, uses_[i].hash, known->uses)) {
      moved_.push_back(*known);
    }
  }
  const std::optional<TierTransferId> id = write(0, moved_, false);
  write_back_left();
  return id;
}

std::optional<TierTransferId> Tiers::used(const PromptUse& prompt, std::uint32_t cached) {
  moved_.clear();
  expand(prompt, 0, prompt.blocks.size());
  for (std::uint32_t i = cached; i-- > 0;) {
    if (Moved* known = device_.find(key(uses_[i].hash))) {
      known->use = uses_[i];
      ++known->uses;
      if (wants(1, TierWrite::through, uses_[i].hash, known->uses)) {
        moved_.push_back(*known);
      }
    }
  }
  const std::optional<TierTransferId> id = write(0, moved_, false);
  touch();
  write_back_left();
  return id;
}

/// Counts a use of every block of a prompt (in `uses_`) that is in some tier.
void Tiers::touch() {
  for (std::uint8_t at = 1; at <= levels(); ++at) {
    moved_.clear();
    for (std::size_t i = uses_.size(); i-- > 0;) {
      const std::uint32_t uses = store(at).touch(uses_[i]);
      if (uses > 0 && store(at).readable(uses_[i].hash) != kNoEntry &&
          wants(at + 1, TierWrite::through, uses_[i].hash, uses)) {
        moved_.push_back({uses_[i], uses});
      }
    }
    write(at, moved_, false);
  }
}

void Tiers::evicted(std::span<const BlockHash> hashes) {
  moved_.clear();
  for (const BlockHash hash : hashes) {
    const Moved* known = device_.find(key(hash));
    if (known == nullptr) {
      continue;
    }
    if (wants(1, TierWrite::back, hash, known->uses)) {
      moved_.push_back(*known);
    }
    device_.erase(key(hash));
  }
  write(0, moved_, true);
  write_back_left();
}

Tiers::Finished Tiers::finish(TierTransferId id) {
  const std::uint32_t* slot = by_id_.find(id.value());
  if (slot == nullptr) {
    return {};
  }
  const Transfer transfer = end(*slot, true);
  write_on(transfer);
  write_back_left();
  Finished finished;
  if (transfer.kind == Kind::read) {
    std::uint32_t* left = loading_.find(transfer.request.value());
    DYN_ASSERT(left != nullptr, "a transfer of nobody");
    if (--*left == 0) {
      loading_.erase(transfer.request.value());
      finished.loaded = transfer.request;
    }
  }
  return finished;
}

/// Whether the level `below` should get a block of the one above, which has had so many uses.
bool Tiers::wants(std::uint8_t below, TierWrite when, BlockHash hash, std::uint32_t uses) const {
  return below <= levels() && level(below).write == when && uses >= level(below).after_uses &&
         !store(below).has(hash);
}

/// Begins to write blocks of a level to the one below. Those in a tier are pinned there unless
/// they are staged; those in the device are held by the owner.
std::optional<TierTransferId> Tiers::write(std::uint8_t from, std::span<const Moved> blocks,
                                           bool staged) {
  if (blocks.empty()) {
    return std::nullopt;
  }
  if (writes_ >= options_.max_transfers) {
    traffic_[from].blocks_dropped += static_cast<std::int64_t>(blocks.size());
    return std::nullopt;
  }
  Transfer transfer;
  transfer.from = from;
  transfer.to = static_cast<std::uint8_t>(from + 1);
  // Where not all fit, the beginnings of prompts do, which come last.
  const std::size_t fit = std::min<std::size_t>(blocks.size(), store(transfer.to).room());
  for (const Moved& block : blocks.last(fit)) {
    if (store(transfer.to).has(block.use.hash)) {
      continue;  // twice in the batch
    }
    const Entry entry = reserve(transfer.to, block.use, block.uses);
    if (entry == kNoEntry) {
      continue;
    }
    transfer.fills.push_back({transfer.to, entry});
    if (from > 0 && !staged) {
      const Entry source = store(from).readable(block.use.hash);
      DYN_ASSERT(source != kNoEntry, "writes a block that is not there");
      store(from).pin(source);
      transfer.reads.push_back({from, source});
    }
  }
  transfer.blocks = static_cast<std::uint32_t>(transfer.fills.size());
  if (transfer.blocks == 0) {
    return std::nullopt;
  }
  return begin(std::move(transfer));
}

Entry Tiers::reserve(std::uint8_t at, const BlockUse& use, std::uint32_t uses) {
  return store(at).reserve(use, uses, left_[at - 1]);
}

/// What has come into a tier is written through to the next.
void Tiers::write_on(const Transfer& arrived) {
  for (std::uint8_t at = 1; at < levels(); ++at) {
    moved_.clear();
    for (const Place& place : arrived.fills) {
      if (place.level != at) {
        continue;
      }
      const BlockUse& use = store(at).use(place.entry);
      const std::uint32_t uses = store(at).uses(place.entry);
      const bool there = store(at).readable(use.hash) == place.entry;
      if (there && wants(at + 1, TierWrite::through, use.hash, uses)) {
        moved_.push_back({use, uses});
      }
    }
    write(at, moved_, false);
  }
}

/// What tiers have evicted to make room goes to the next, where that is written back to.
void Tiers::write_back_left() {
  for (std::uint8_t at = 1; at <= levels(); ++at) {
    moved_.clear();
    for (const Moved& block : left_[at - 1]) {
      if (wants(at + 1, TierWrite::back, block.use.hash, block.uses)) {
        moved_.push_back(block);
      }
    }
    left_[at - 1].clear();
    write(at, moved_, true);
  }
}

TierTransferId Tiers::begin(Transfer transfer) {
  transfer.id = TierTransferId(next_id_++);
  std::uint32_t slot = 0;
  if (spare_.empty()) {
    slot = static_cast<std::uint32_t>(transfers_.size());
    transfers_.emplace_back();
  } else {
    slot = spare_.back();
    spare_.pop_back();
  }
  by_id_.insert(transfer.id.value(), slot);
  ++flying(transfer.kind);
  if (transfer.kind == Kind::read) {
    reading_[transfer.from - 1] += transfer.blocks;
  }
  started_.push_back(
      {transfer.id, transfer.from, transfer.to, options_.block_bytes * transfer.blocks});
  transfers_[slot] = std::move(transfer);
  return transfers_[slot].id;
}

/// Takes a transfer out and unpins its two ends.
Tiers::Transfer Tiers::end(std::uint32_t slot, bool arrived) {
  Transfer transfer = std::move(transfers_[slot]);
  transfers_[slot] = {};
  spare_.push_back(slot);
  by_id_.erase(transfer.id.value());
  --flying(transfer.kind);
  for (const Place& place : transfer.reads) {
    store(place.level).unpin(place.entry);
  }
  for (const Place& place : transfer.fills) {
    arrived ? store(place.level).fill(place.entry) : store(place.level).abandon(place.entry);
    traffic_[place.level - 1].blocks_written += arrived ? 1 : 0;
  }
  if (transfer.kind == Kind::read) {
    reading_[transfer.from - 1] -= transfer.blocks;
    traffic_[transfer.from - 1].blocks_read += arrived ? transfer.blocks : 0;
  }
  return transfer;
}

void Tiers::take_events(std::vector<KvEvent>& events) {
  for (const TierLevel& level : options_.levels) {
    if (level.tells) {
      level.store->take_events(events);
    }
  }
}

void Tiers::check_invariants() const {
  std::size_t flying = 0;
  std::vector<std::int64_t> reading(levels(), 0);
  std::vector<std::uint64_t> pins(levels(), 0);
  for (const Transfer& transfer : transfers_) {
    if (transfer.blocks == 0) {
      continue;
    }
    ++flying;
    if (transfer.kind == Kind::read) {
      reading[transfer.from - 1] += transfer.blocks;
    }
    for (const Place& place : transfer.reads) {
      ++pins[place.level - 1];
    }
    for (const Place& place : transfer.fills) {
      ++pins[place.level - 1];
    }
  }
  DYN_ASSERT(flying == by_id_.size() && flying == reads_ + writes_, "a transfer is forgotten");
  DYN_ASSERT(reading == reading_, "what is being read does not add up");
  for (std::uint8_t at = 1; at <= levels(); ++at) {
    store(at).check_invariants();
    // Others may use a shared tier too.
    DYN_ASSERT(pins[at - 1] <= store(at).pins(), "a transfer's blocks are not pinned");
    DYN_ASSERT(left_[at - 1].empty(), "evicted blocks were not looked at");
  }
}

}  // namespace dyn::kvbm
