#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/encoding.h"
#include "dyn/core/random.h"
#include "dyn/sim/workload.h"
#include "zipf.h"

namespace dyn::sim {

/// The images of the sessions of one kind of requests.
class ImageSampler {
 public:
  /// `each`: what one of them is to the model. Images of samplers with other names are others.
  ImageSampler(const ImageMix& mix, const ImageSize& each, std::uint64_t seed,
               const std::string& name);

  /// Appends the images of a session to the workload's; they come after `start` tokens of its
  /// prompts.
  RequestImages next(std::int64_t start, Workload& out);

 private:
  ImageMix mix_;
  ImageSize each_;
  kvbm::BlockHash salt_;
  std::optional<Zipf> popular_;  ///< none: each is new
  RandomStream stream_;
  std::uint64_t made_ = 0;
};

/// What the block of tokens [from, to) holds of a prompt's images, as a number.
std::uint64_t images_in_block(policy::PromptImages images, std::int64_t from, std::int64_t to);

}  // namespace dyn::sim
