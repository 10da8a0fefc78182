#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dyn/core/quantity.h"

namespace dyn {

struct ModelSpec;

/// The images of a kind of requests. A session's first prompt has them after its shared prefix, and
/// so do its later ones, which begin with it. Their tokens come on top of isl.
struct ImageMix {
  int per_request = 1;
  double share = 1;  ///< of the sessions that have images
  int width = 1024;  ///< pixels
  int height = 1024;
  std::optional<std::int64_t>
      tokens;                   ///< of each image; default what the model makes of its pixels
  std::optional<int> distinct;  ///< different pictures; default each is new
  double skew = 1;  ///< of Zipf's law: the k-th picture is used in proportion to 1 / k^skew
  bool operator==(const ImageMix&) const = default;
};

/// What an image is to the encoder and to the language model.
struct ImageSize {
  std::int64_t patches = 0;
  std::int64_t tokens = 0;
  bool operator==(const ImageSize&) const = default;
};

/// Throws Error(bad_input) where the model has no known encoder and `tokens` is not given. Without
/// an encoder four patches are taken for a token.
ImageSize image_size(const ImageMix& mix, const ModelSpec& model);

/// Workers that encode images and hand the embeddings to those that compute the prompts.
struct EncodeWorkers {
  int replicas = 1;
  int tensor = 1;                    ///< GPUs of each
  std::int64_t batch_tokens = 8192;  ///< image tokens that are encoded together, or one image
  Bytes cache{0};  ///< of embeddings that a worker keeps for images that come again

  int gpus() const { return replicas * tensor; }
  bool operator==(const EncodeWorkers&) const = default;
};

/// The same in a recipe's deployment.
struct DeploymentEncode : EncodeWorkers {
  std::optional<std::string> gpu;  ///< catalogue id; default hardware.gpu
};

}  // namespace dyn
