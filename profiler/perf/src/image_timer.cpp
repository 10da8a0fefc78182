#include "dyn/perf/image_timer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/perf/given_timing.h"

namespace dyn::perf {
namespace {

Duration from_double(double nanoseconds) {
  return Duration(std::max<std::int64_t>(1, std::llround(nanoseconds)));
}

class GivenTime final : public ImageTimer {
 public:
  explicit GivenTime(Duration each) : each_(each) {}
  Duration time(const ImageBatch& batch) const noexcept override { return batch.images * each_; }
  Estimate estimate(const ImageBatch& batch) const override {
    const double seconds = to_seconds(time(batch));
    return {seconds, seconds, seconds, Provenance::measured};
  }

 private:
  Duration each_;
};

class PredictedTime final : public ImageTimer {
 public:
  PredictedTime(std::shared_ptr<const PerfModel> layers, double factor)
      : layers_(std::move(layers)), factor_(factor) {}
  Duration time(const ImageBatch& batch) const noexcept override {
    return from_double(factor_ * static_cast<double>(layers_->step_time(step(batch)).count()));
  }
  Estimate estimate(const ImageBatch& batch) const override {
    Estimate result = layers_->estimate(step(batch));
    result.value *= factor_;
    result.low *= factor_;
    result.high *= factor_;
    return result;
  }

 private:
  /// A query of a prompt attends to half of its tokens on average, one of an image to all: as if
  /// it had half an image before it.
  static StepBatch step(const ImageBatch& batch) {
    StepBatch out;
    out.prefill_sequences = static_cast<std::int32_t>(batch.images);
    out.prefill_tokens = batch.patches;
    out.prefill_context = batch.patches / 2;
    out.prefill_cross = batch.square / 2;
    out.prefill_square = batch.square;
    return out;
  }

  std::shared_ptr<const PerfModel> layers_;
  double factor_;
};

class ScaledTime final : public ImageTimer {
 public:
  ScaledTime(std::shared_ptr<const ImageTimer> timer, double factor)
      : timer_(std::move(timer)), factor_(factor) {}
  Duration time(const ImageBatch& batch) const noexcept override {
    return from_double(factor_ * static_cast<double>(timer_->time(batch).count()));
  }
  Estimate estimate(const ImageBatch& batch) const override { return timer_->estimate(batch); }

 private:
  std::shared_ptr<const ImageTimer> timer_;
  double factor_;
};

/// All multiplies of the encoder by those of its layers. A patch uses each weight once, but for the
/// projections, which a token does.
double with_ends(const ModelSpec& model) {
  const VisionSpec& vision = *model.vision;
  const double patches = static_cast<double>(vision.merge) * vision.merge;
  const double projections =
      static_cast<double>(vision.projection_parameters(model.hidden)) / patches;
  const auto embedding = static_cast<double>(vision.embedding_parameters());
  return 1 + (projections + embedding) / static_cast<double>(vision.layer_parameters());
}

}  // namespace

PerfTarget vision_target(const ModelSpec& model, int tensor, const std::string& engine) {
  DYN_ASSERT(model.vision.has_value(), "a model with an encoder");
  const VisionSpec& vision = *model.vision;
  PerfTarget target;
  target.model.name = model.name + " vision encoder";
  target.model.architecture = model.architecture;
  target.model.layers = vision.layers;
  target.model.hidden = vision.hidden;
  target.model.intermediate = vision.intermediate;
  target.model.vocabulary = 1;
  target.model.gated_mlp = vision.gated_mlp;
  target.model.attention.heads = vision.heads;
  target.model.attention.kv_heads = vision.heads;
  target.model.attention.head_dim = static_cast<int>(vision.hidden / vision.heads);
  target.model.attention.sliding_window = vision.window;
  target.model.attention.sliding_layers = vision.window_layers;
  target.layout.tensor = tensor;
  target.engine = engine;
  target.cuda_graphs = false;
  return target;
}

std::shared_ptr<const ImageTimer> image_timer(const ModelSpec& model, const StepTiming& timing,
                                              int tensor, const std::string& engine,
                                              const Profile& profile) {
  if (timing.image_time) {
    return std::make_shared<GivenTime>(*timing.image_time);
  }
  if (!model.vision || profile.name.empty()) {
    throw Error(ErrorKind::bad_input,
                model.vision ? "the times of images need the GPU that they are encoded on"
                             : "no vision encoder of '" + model.name + "' is known",
                "give timing.image_time, such as 30 ms");
  }
  return std::make_shared<PredictedTime>(
      PerfModel::compile(vision_target(model, tensor, engine), profile), with_ends(model));
}

std::shared_ptr<const ImageTimer> image_timer(const Plan& plan, const PoolSpec& pool) {
  return image_timer(plan.model, pool.timing, pool.layout.tensor, pool.config.kind,
                     profile_of(plan, pool));
}

const PoolSpec& prompt_pool(const Plan& plan) {
  const PoolSpec* prefill = plan.pool(WorkerRole::prefill);
  return prefill != nullptr ? *prefill : plan.pools.front();
}

std::shared_ptr<const ImageTimer> encode_timer(const Plan& plan) {
  DYN_ASSERT(plan.encode.has_value(), "a plan with an encode pool");
  const PoolSpec& pool = prompt_pool(plan);
  return image_timer(plan.model, pool.timing, plan.encode->tensor, pool.config.kind,
                     profile_of(plan, *plan.encode));
}

std::shared_ptr<const ImageTimer> scaled(std::shared_ptr<const ImageTimer> timer, double factor) {
  DYN_ASSERT(factor > 0, "time moves on");
  return std::make_shared<ScaledTime>(std::move(timer), factor);
}

}  // namespace dyn::perf
