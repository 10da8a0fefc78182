#include "gap_counts.h"

#include <algorithm>
#include <bit>

#include "dyn/core/check.h"

namespace dyn::engine {

/// The gap in whole microseconds, rounded to kExactBits significant bits.
std::uint64_t GapCounts::rounded(Duration gap) {
  DYN_ASSERT(gap.count() >= 0, "time ran backwards");
  const std::uint64_t us = (static_cast<std::uint64_t>(gap.count()) + 500) / 1000;
  const int surplus = std::max(static_cast<int>(std::bit_width(us)) - kExactBits, 0);
  const std::uint64_t half = surplus > 0 ? 1ULL << (surplus - 1) : 0;
  return ((us + half) >> surplus) << surplus;
}

void GapCounts::add(Duration gap, std::int64_t count) {
  if (count == 0) {
    return;
  }
  const std::uint64_t us = rounded(gap);
  if (us >= kPages * kPage) {
    return add_long(us, count);
  }
  std::unique_ptr<Page>& page = pages_[us / kPage];
  if (page == nullptr) {
    page = std::make_unique<Page>();  // zeros
  }
  (*page)[us % kPage] += count;
}

void GapCounts::add_long(std::uint64_t us, std::int64_t count) {
  const auto [place, inserted] = long_index_.insert(us, static_cast<std::uint32_t>(long_.size()));
  if (inserted) {
    long_.push_back({Duration(static_cast<std::int64_t>(us) * 1000), 0});
  }
  long_[*place].count += count;
}

std::vector<GapCount> GapCounts::sorted() const {
  std::vector<GapCount> result;
  for (std::size_t p = 0; p < kPages; ++p) {
    for (std::size_t i = 0; pages_[p] != nullptr && i < kPage; ++i) {
      if ((*pages_[p])[i] != 0) {
        result.push_back({std::chrono::microseconds(p * kPage + i), (*pages_[p])[i]});
      }
    }
  }
  const auto exact = static_cast<std::ptrdiff_t>(result.size());
  result.insert(result.end(), long_.begin(), long_.end());
  std::sort(result.begin() + exact, result.end(),
            [](const GapCount& a, const GapCount& b) { return a.gap < b.gap; });
  return result;
}

}  // namespace dyn::engine
