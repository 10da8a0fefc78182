#include "image_sampler.h"

#include <algorithm>

namespace dyn::sim {

ImageSampler::ImageSampler(const ImageMix& mix, const ImageSize& each, std::uint64_t seed,
                           const std::string& name)
    : mix_(mix),
      each_(each),
      salt_(kvbm::chain_root("image" + name)),
      stream_(seed, "image" + name) {
  if (mix.distinct) {
    popular_.emplace(*mix.distinct, mix.skew);
  }
}

RequestImages ImageSampler::next(std::int64_t start, Workload& out) {
  RequestImages images;
  images.first = static_cast<std::uint32_t>(out.images.size());
  images.start = start;
  images.each = each_;
  if (stream_.uniform() >= mix_.share) {
    return images;
  }
  images.count = mix_.per_request;
  for (int i = 0; i < mix_.per_request; ++i) {
    const std::uint64_t which = popular_ ? popular_->at(stream_.uniform()) : made_++;
    out.images.push_back(static_cast<std::uint64_t>(kvbm::chain(salt_, which)));
  }
  return images;
}

std::uint64_t images_in_block(const RequestImages& images, const Workload& workload,
                              std::int64_t from, std::int64_t to) {
  const std::int64_t tokens = images.each.tokens;
  const std::int64_t first = std::max<std::int64_t>(from - images.start, 0) / tokens;
  const std::int64_t last = (to - images.start - 1) / tokens;
  kvbm::BlockHash hash = kvbm::chain_root("image");
  for (std::int64_t i = first; i <= last; ++i) {
    hash = kvbm::chain(hash, workload.images[images.first + static_cast<std::size_t>(i)]);
  }
  return static_cast<std::uint64_t>(hash);
}

}  // namespace dyn::sim
