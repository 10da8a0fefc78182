#include "gap_counts.h"

#include <algorithm>
#include <bit>

#include "dyn/core/check.h"

namespace dyn::engine {

namespace {

constexpr int kExactBits = 17;

/// The gap in whole microseconds, rounded to kExactBits significant bits.
std::uint64_t rounded(Duration gap) {
  DYN_ASSERT(gap.count() >= 0, "time ran backwards");
  const std::uint64_t us = (static_cast<std::uint64_t>(gap.count()) + 500) / 1000;
  const int surplus = std::max(static_cast<int>(std::bit_width(us)) - kExactBits, 0);
  const std::uint64_t half = surplus > 0 ? 1ULL << (surplus - 1) : 0;
  return ((us + half) >> surplus) << surplus;
}

}  // namespace

void GapCounts::add(Duration gap, std::int64_t count) {
  if (count == 0) {
    return;
  }
  const std::uint64_t key = rounded(gap);
  if (key != last_key_ || counts_.empty()) {
    const auto [place, inserted] = index_.insert(key, static_cast<std::uint32_t>(counts_.size()));
    if (inserted) {
      counts_.push_back({Duration(static_cast<std::int64_t>(key) * 1000), 0});
    }
    last_ = *place;
    last_key_ = key;
  }
  counts_[last_].count += count;
}

std::vector<GapCount> GapCounts::sorted() const {
  std::vector<GapCount> result = counts_;
  std::sort(result.begin(), result.end(),
            [](const GapCount& a, const GapCount& b) { return a.gap < b.gap; });
  return result;
}

}  // namespace dyn::engine
