#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dyn/core/plan.h"
#include "dyn/core/profile.h"
#include "dyn/core/provenance.h"
#include "dyn/perf/perf_model.h"
#include "dyn/perf/step_timer.h"

namespace dyn::perf {

/// Images that are encoded together, as sums. Those of one image attend to each other alone.
struct ImageBatch {
  std::int64_t images = 0;
  std::int64_t tokens = 0;   ///< of the language model
  std::int64_t patches = 0;  ///< sum of p
  std::int64_t square = 0;   ///< sum of p * p

  void add(const ImageSize& size, std::int64_t count = 1) {
    images += count;
    tokens += count * size.tokens;
    patches += count * size.patches;
    square += count * size.patches * size.patches;
  }
  bool empty() const { return images == 0; }
};

/// How long images take to encode. Immutable; shared by threads.
class ImageTimer {
 public:
  virtual ~ImageTimer() = default;
  /// Above zero, for a batch that is not empty.
  virtual Duration time(const ImageBatch& batch) const noexcept = 0;
  /// The same in seconds, with its interval.
  virtual Estimate estimate(const ImageBatch& batch) const = 0;

 protected:
  ImageTimer() = default;
  ImageTimer(const ImageTimer&) = default;
  ImageTimer& operator=(const ImageTimer&) = default;
};

/// What the latency model is compiled for to price a vision encoder: a transformer in bf16 on
/// `tensor` GPUs. Asserts that the model has one.
PerfTarget vision_target(const ModelSpec& model, int tensor, const std::string& engine);

/// The image times of workers of `tensor` GPUs: those that `timing` gives, else the encoder's
/// layers as the latency model prices prompts of so many tokens, whose queries attend to all of
/// their image, without CUDA graphs; the patch embedding and the projections take as long as their
/// share of the multiplies. Throws Error(bad_input) where neither is there.
std::shared_ptr<const ImageTimer> image_timer(const ModelSpec& model, const StepTiming& timing,
                                              int tensor, const std::string& engine,
                                              const Profile& profile);

/// Those of a pool whose engines encode their images, and of a plan's encode pool.
std::shared_ptr<const ImageTimer> image_timer(const Plan& plan, const PoolSpec& pool);
std::shared_ptr<const ImageTimer> encode_timer(const Plan& plan);
/// The engine that encodes in an encode pool: that of the pool that computes prompts.
const PoolSpec& prompt_pool(const Plan& plan);

/// `timer` slowed by a constant factor.
std::shared_ptr<const ImageTimer> scaled(std::shared_ptr<const ImageTimer> timer, double factor);

}  // namespace dyn::perf
