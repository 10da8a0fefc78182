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
  if (stream_.uniform() >= mix_.share) {
    return images;
  }
  images.count = static_cast<std::uint32_t>(mix_.per_request);
  for (int i = 0; i < mix_.per_request; ++i) {
    const std::uint64_t which = popular_ ? popular_->at(stream_.uniform()) : made_++;
    out.images.push_back({static_cast<std::uint64_t>(kvbm::chain(salt_, which)), start, each_});
    start += each_.tokens;
  }
  return images;
}

std::uint64_t images_in_block(policy::PromptImages images, std::int64_t from, std::int64_t to) {
  kvbm::BlockHash hash = kvbm::chain_root("image");
  for (const policy::PromptImage& image : images) {
    if (image.within(from, to)) {
      hash = kvbm::chain(hash, image.id);
    }
  }
  return static_cast<std::uint64_t>(hash);
}

}  // namespace dyn::sim
