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

std::uint64_t GapCounts::microseconds(std::size_t octave, std::size_t place) {
  return octave == 0 ? place : (kOctave + place) << (octave - 1);
}

void GapCounts::add(Duration gap, std::int64_t count) {
  if (count == 0) {
    return;
  }
  const std::uint64_t us = rounded(gap);
  const int index = std::max(static_cast<int>(std::bit_width(us)) - kExactBits + 1, 0);
  const std::size_t place = (us >> std::max(index - 1, 0)) % kOctave;
  std::unique_ptr<Octave>& octave = octaves_[static_cast<std::size_t>(index)];
  if (octave == nullptr) {
    octave = std::make_unique<Octave>();
  }
  std::unique_ptr<Page>& page = (*octave)[place / kPage];
  if (page == nullptr) {
    page = std::make_unique<Page>();  // zeros
  }
  (*page)[place % kPage] += count;
}

std::vector<GapCount> GapCounts::sorted() const {
  std::vector<GapCount> result;
  for (std::size_t o = 0; o < octaves_.size(); ++o) {
    for (std::size_t p = 0; octaves_[o] != nullptr && p < octaves_[o]->size(); ++p) {
      const Page* const page = (*octaves_[o])[p].get();
      for (std::size_t i = 0; page != nullptr && i < kPage; ++i) {
        if ((*page)[i] != 0) {
          const std::uint64_t us = microseconds(o, p * kPage + i);
          result.push_back({Duration(static_cast<std::int64_t>(us) * 1000), (*page)[i]});
        }
      }
    }
  }
  return result;
}

}  // namespace dyn::engine
