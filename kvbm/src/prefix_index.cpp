#include "dyn/kvbm/prefix_index.h"

#include <algorithm>
#include <bit>

#include "dyn/core/check.h"

namespace dyn::kvbm {

namespace {

std::uint64_t key(BlockHash hash) {
  return static_cast<std::uint64_t>(hash);
}

/// Calls `visit(worker)` for each set bit of word `w`.
template <class Visit>
void each_bit(std::uint64_t word, std::uint32_t w, Visit visit) {
  for (; word != 0; word &= word - 1) {
    visit(w * 64 + static_cast<std::uint32_t>(std::countr_zero(word)));
  }
}

}  // namespace

PrefixIndex::PrefixIndex(std::uint32_t workers, std::uint64_t max_segments)
    : workers_(workers),
      words_((workers + 63) / 64),
      max_segments_(std::min<std::uint64_t>(max_segments, 0xffffffffULL)),
      per_worker_(workers, 0),
      alive_(words_, 0),
      going_(words_, 0) {
  DYN_ASSERT(workers > 0 && max_segments > 0, "an index of nothing");
}

void PrefixIndex::stored(WorkerId worker, const BlockRange& range) {
  const std::uint32_t w = worker.value();
  DYN_ASSERT(w < workers_ && range.count > 0, "no such worker, or no blocks");
  const std::uint32_t* known = map_.find(key(range.segment));
  const std::uint32_t id = known != nullptr ? *known : new_entry(range.segment);
  Entry& entry = entries_[id];
  if (has_whole(id, w) && range.end() <= entry.length) {
    return;
  }
  const bool alone = entry.parts == kNone && entry.whole == (has_whole(id, w) ? 1U : 0U);
  if (alone && range.first <= entry.length && (entry.whole == 1 || entry.length == 0)) {
    per_worker_[w] += range.end() - entry.length;  // the usual case: nobody else has the segment
    entry.length = range.end();
    set_whole(id, w, true);
    return;
  }
  lengthen(id, range.end());
  if (!has_whole(id, w)) {
    add_part(id, {w, range.first, range.end()});
  }
}

void PrefixIndex::removed(WorkerId worker, const BlockRange& range) {
  const std::uint32_t w = worker.value();
  DYN_ASSERT(w < workers_, "no such worker");
  const std::uint32_t* known = map_.find(key(range.segment));
  if (known == nullptr) {
    return;
  }
  const std::uint32_t id = *known;
  Entry& entry = entries_[id];
  if (range.first >= entry.length) {
    return;
  }
  if (has_whole(id, w) && entry.whole == 1 && entry.parts == kNone && range.end() >= entry.length &&
      range.first < entry.length) {
    per_worker_[w] -= entry.length - range.first;  // the usual case, as above
    entry.length = range.first;
  } else {
    subtract(id, {w, range.first, range.end()});
    shorten(id);
  }
  if (entry.length == 0) {
    set_whole(id, w, false);
    erase(id);
  }
}

void PrefixIndex::remove_worker(WorkerId worker) {
  DYN_ASSERT(worker.value() < workers_, "no such worker");
  for (std::uint32_t id = 0; per_worker_[worker.value()] > 0; ++id) {
    if (entries_[id].length > 0) {
      removed(worker, {entries_[id].segment, 0, entries_[id].length});
    }
  }
}

void PrefixIndex::apply(WorkerId worker, const KvEvent& event) {
  switch (event.kind) {
    case KvEvent::Kind::stored:
      return stored(worker, event.range());
    case KvEvent::Kind::removed:
      return removed(worker, event.range());
    case KvEvent::Kind::cleared:
      return remove_worker(worker);
  }
}

void PrefixIndex::leading_runs(const PromptBlocks& blocks, std::span<std::uint32_t> runs) {
  DYN_ASSERT(runs.size() == workers_, "one run per worker");
  std::fill(runs.begin(), runs.end(), 0);
  std::fill(alive_.begin(), alive_.end(), ~0ULL);
  alive_.back() >>= (64 - workers_ % 64) % 64;
  std::uint32_t before = 0;  // blocks that those alive have
  bool any = true;
  blocks.each_range(0, blocks.size(), [&](const BlockRange& range) {
    const std::uint32_t* known = map_.find(key(range.segment));
    if (known == nullptr) {
      return false;
    }
    Entry& entry = entries_[*known];
    entry.found = true;
    const std::uint64_t* whole = bits(*known);
    const std::uint32_t had = std::min(entry.length, range.end());
    const bool all = had == range.end();
    any = false;
    for (std::uint32_t w = 0; w < words_; ++w) {
      going_[w] = all ? alive_[w] & whole[w] : 0;
      each_bit(alive_[w] & ~going_[w], w, [&](std::uint32_t worker) {
        runs[worker] = before + ((whole[w] >> (worker % 64) & 1) != 0 ? had : 0);
      });
    }
    if (entry.parts != kNone) {
      continue_partial(*known, range, before, runs);
    }
    for (std::uint32_t w = 0; w < words_; ++w) {
      alive_[w] = going_[w];
      any = any || alive_[w] != 0;
    }
    before += range.count;
    return any;
  });
  for (std::uint32_t w = 0; w < words_; ++w) {
    each_bit(alive_[w], w, [&](std::uint32_t worker) { runs[worker] = before; });
  }
}

/// Those alive that have some blocks of the segment go on, if these are all that the prompt needs.
void PrefixIndex::continue_partial(std::uint32_t id, const BlockRange& range, std::uint32_t before,
                                   std::span<std::uint32_t> runs) {
  for (const Part& part : parts_[entries_[id].parts]) {
    const std::uint64_t bit = 1ULL << (part.worker % 64);
    if (part.first > 0 || (alive_[part.worker / 64] & bit) == 0) {
      continue;
    }
    if (part.end >= range.end()) {
      going_[part.worker / 64] |= bit;
    } else {
      runs[part.worker] = before + part.end;
    }
  }
}

std::uint64_t PrefixIndex::bytes() const {
  std::uint64_t result =
      map_.bytes() + entries_.capacity() * sizeof(Entry) +
      bits_.capacity() * sizeof(std::uint64_t) + spare_.capacity() * sizeof(std::uint32_t) +
      per_worker_.capacity() * sizeof(std::uint64_t) +
      spare_parts_.capacity() * sizeof(std::uint32_t) + parts_.capacity() * sizeof(Parts);
  for (const Parts& parts : parts_) {
    result += parts.capacity() * sizeof(Part);
  }
  return result;
}

void PrefixIndex::set_whole(std::uint32_t id, std::uint32_t worker, bool whole) {
  if (has_whole(id, worker) != whole) {
    bits(id)[worker / 64] ^= 1ULL << (worker % 64);
    entries_[id].whole += whole ? 1 : ~0U;
  }
}

std::uint32_t PrefixIndex::new_entry(BlockHash segment) {
  if (map_.size() >= max_segments_) {
    evict_one();
  }
  std::uint32_t id = 0;
  if (spare_.empty()) {
    id = static_cast<std::uint32_t>(entries_.size());
    entries_.emplace_back();
    bits_.resize(bits_.size() + words_, 0);
  } else {
    id = spare_.back();
    spare_.pop_back();
  }
  entries_[id] = Entry{};
  entries_[id].segment = segment;
  map_.insert(key(segment), id);
  return id;
}

/// Forgets an entry that nobody has blocks of.
void PrefixIndex::erase(std::uint32_t id) {
  map_.erase(key(entries_[id].segment));
  spare_.push_back(id);
}

void PrefixIndex::evict_one() {
  // Only called when full, so that no entry is spare: each is in the map.
  while (entries_[hand_].found) {
    entries_[hand_].found = false;
    hand_ = (hand_ + 1) % static_cast<std::uint32_t>(entries_.size());
  }
  Entry& entry = entries_[hand_];
  for (std::uint32_t w = 0; w < words_; ++w) {
    each_bit(bits(hand_)[w], w, [&](std::uint32_t worker) { per_worker_[worker] -= entry.length; });
    bits(hand_)[w] = 0;
  }
  if (entry.parts != kNone) {
    for (const Part& part : parts_[entry.parts]) {
      per_worker_[part.worker] -= part.end - part.first;
    }
    parts_[entry.parts].clear();
    drop_parts_if_empty(hand_);
  }
  entry.length = 0;
  erase(hand_);
  hand_ = (hand_ + 1) % static_cast<std::uint32_t>(entries_.size());
  ++evictions_;
}

PrefixIndex::Parts& PrefixIndex::parts_of(std::uint32_t id) {
  std::uint32_t& parts = entries_[id].parts;
  if (parts == kNone && spare_parts_.empty()) {
    parts = static_cast<std::uint32_t>(parts_.size());
    parts_.emplace_back();
  } else if (parts == kNone) {
    parts = spare_parts_.back();
    spare_parts_.pop_back();
  }
  return parts_[parts];
}

void PrefixIndex::drop_parts_if_empty(std::uint32_t id) {
  std::uint32_t& parts = entries_[id].parts;
  if (parts != kNone && parts_[parts].empty()) {
    spare_parts_.push_back(parts);
    parts = kNone;
  }
}

/// Some worker has blocks up to `length`: those that had all so far have all but those.
void PrefixIndex::lengthen(std::uint32_t id, std::uint32_t length) {
  const std::uint32_t before = entries_[id].length;
  if (length <= before) {
    return;
  }
  entries_[id].length = length;
  for (std::uint32_t w = 0; w < words_ && entries_[id].whole > 0; ++w) {
    each_bit(bits(id)[w], w, [&](std::uint32_t worker) {
      set_whole(id, worker, false);
      per_worker_[worker] -= before;
      add_part(id, {worker, 0, before});
    });
  }
}

/// Blocks at the end may be nobody's any more.
void PrefixIndex::shorten(std::uint32_t id) {
  Entry& entry = entries_[id];
  if (entry.whole > 0) {
    return;
  }
  std::uint32_t length = 0;
  if (entry.parts != kNone) {
    for (const Part& part : parts_[entry.parts]) {
      length = std::max(length, part.end);
    }
  }
  if (length == entry.length) {
    return;
  }
  entry.length = length;
  if (length == 0) {
    return;
  }
  Parts& parts = parts_[entry.parts];
  std::erase_if(parts, [&](const Part& part) {
    const bool whole = part.first == 0 && part.end == length;
    if (whole) {
      set_whole(id, part.worker, true);
    }
    return whole;
  });
  drop_parts_if_empty(id);
}

/// Adds to what a worker without all blocks has.
void PrefixIndex::add_part(std::uint32_t id, Part part) {
  Parts& parts = parts_of(id);
  std::uint64_t had = 0;
  auto at = std::find_if(parts.begin(), parts.end(), [&](const Part& other) {
    return other.worker > part.worker || (other.worker == part.worker && other.end >= part.first);
  });
  auto end = at;
  for (; end != parts.end() && end->worker == part.worker && end->first <= part.end; ++end) {
    had += end->end - end->first;
    part.first = std::min(part.first, end->first);
    part.end = std::max(part.end, end->end);
  }
  at = parts.erase(at, end);
  per_worker_[part.worker] += part.end - part.first - had;
  if (part.first == 0 && part.end == entries_[id].length) {
    set_whole(id, part.worker, true);
  } else {
    parts.insert(at, part);
  }
  drop_parts_if_empty(id);
}

/// Takes away from what a worker has.
void PrefixIndex::subtract(std::uint32_t id, Part part) {
  const std::uint32_t length = entries_[id].length;
  if (has_whole(id, part.worker)) {
    set_whole(id, part.worker, false);
    Parts& parts = parts_of(id);
    const auto at = std::find_if(parts.begin(), parts.end(),
                                 [&](const Part& other) { return other.worker > part.worker; });
    parts.insert(at, {part.worker, 0, length});
  }
  if (entries_[id].parts == kNone) {
    return;
  }
  Parts& parts = parts_[entries_[id].parts];
  for (std::size_t i = 0; i < parts.size();) {
    const Part other = parts[i];
    const std::uint32_t first = std::max(part.first, other.first);
    const std::uint32_t end = std::min(part.end, other.end);
    if (other.worker != part.worker || first >= end) {
      ++i;
      continue;
    }
    per_worker_[part.worker] -= end - first;
    auto at = parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));
    if (end < other.end) {
      at = parts.insert(at, {part.worker, end, other.end});
    }
    if (other.first < first) {
      parts.insert(at, {part.worker, other.first, first});
    }
  }
  drop_parts_if_empty(id);
}

void PrefixIndex::check_invariants() const {
  DYN_ASSERT(map_.size() <= max_segments_, "the index has outgrown its bound");
  DYN_ASSERT(map_.size() + spare_.size() == entries_.size(), "entries are lost");
  std::vector<std::uint64_t> counted(workers_, 0);
  std::uint64_t known = 0;
  std::size_t lists = 0;
  for (std::uint32_t id = 0; id < entries_.size(); ++id) {
    const Entry& entry = entries_[id];
    if (entry.length == 0) {
      DYN_ASSERT(entry.whole == 0 && entry.parts == kNone, "somebody has an unused entry");
      continue;
    }
    ++known;
    std::uint32_t whole = 0;
    std::uint32_t length = 0;
    for (std::uint32_t w = 0; w < words_; ++w) {
      each_bit(bits(id)[w], w, [&](std::uint32_t worker) {
        counted[worker] += entry.length;
        length = entry.length;
        ++whole;
      });
    }
    DYN_ASSERT(whole == entry.whole, "workers with a bit do not add up");
    if (entry.parts != kNone) {
      ++lists;
      const Parts& parts = parts_[entry.parts];
      DYN_ASSERT(!parts.empty(), "a list of nothing");
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const Part& part = parts[i];
        DYN_ASSERT(part.first < part.end && !has_whole(id, part.worker) &&
                       (part.first > 0 || part.end < entry.length),
                   "a worker has a part that is none");
        DYN_ASSERT(i == 0 || parts[i - 1].worker < part.worker ||
                       (parts[i - 1].worker == part.worker && parts[i - 1].end < part.first),
                   "parts are out of order");
        counted[part.worker] += part.end - part.first;
        length = std::max(length, part.end);
      }
    }
    DYN_ASSERT(length == entry.length, "nobody has the last block of a segment");
    const std::uint32_t* mapped = map_.find(key(entry.segment));
    DYN_ASSERT(mapped != nullptr && *mapped == id, "a known segment is not in the map");
  }
  DYN_ASSERT(known == map_.size(), "the map knows a segment that nobody has");
  DYN_ASSERT(lists + spare_parts_.size() == parts_.size(), "lists of parts are lost");
  DYN_ASSERT(counted == per_worker_, "blocks per worker do not add up");
}

}  // namespace dyn::kvbm
