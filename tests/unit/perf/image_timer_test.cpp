#include "dyn/perf/image_timer.h"

#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/memory_model.h"

namespace {

using namespace dyn;
using namespace dyn::perf;

ImageBatch images(std::int64_t count, std::int64_t patches) {
  ImageBatch batch;
  batch.add({patches, patches / 4}, count);
  return batch;
}

std::shared_ptr<const ImageTimer> on(const char* gpu, const char* model, int tensor = 1) {
  return image_timer(find_model(model), StepTiming{}, tensor, "vllm", builtin_profile(gpu));
}

double seconds(const ImageTimer& timer, const ImageBatch& batch) {
  return to_seconds(timer.time(batch));
}

TEST_CASE("a given image time is that of each image") {
  StepTiming timing;
  timing.image_time = std::chrono::milliseconds(7);
  const auto timer = image_timer(find_model("Qwen/Qwen3-8B"), timing, 1, "vllm", Profile{});
  CHECK(timer->time(images(3, 5000)) == std::chrono::milliseconds(21));
  CHECK(timer->estimate(images(1, 1)).low == 0.007);
  CHECK(scaled(timer, 2)->time(images(1, 1)) == std::chrono::milliseconds(14));
}

TEST_CASE("a predicted image time lies between the multiplies at peak and at a tenth of it") {
  for (const char* gpu : {"h100", "a100", "b200"}) {
    for (const char* model :
         {"Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3-VL-8B-Instruct", "google/gemma-3-27b-it"}) {
      INFO(gpu << ' ' << model);
      const VisionSpec vision = *find_model(model).vision;
      const double patches = 4096;
      const double hidden = static_cast<double>(vision.hidden);
      const double mlp = (vision.gated_mlp ? 3.0 : 2.0) * static_cast<double>(vision.intermediate);
      const double whole = vision.layers - vision.window_layers;
      const double context = whole * patches + vision.window_layers * vision.window;
      const double flops = 8 * 2 * patches * (vision.layers * hidden * (4 * hidden + mlp)) +
                           8 * 4 * patches * hidden * context;
      const double peak = builtin_profile(gpu).device.peak_for(Precision::bf16).count();
      const double time = seconds(*on(gpu, model), images(8, 4096));
      CHECK(time > flops / peak);
      CHECK(time < 10 * flops / peak);
    }
  }
}

TEST_CASE("more images, and larger ones of as many patches, take longer") {
  const auto timer = on("h100", "Qwen/Qwen3-VL-8B-Instruct");
  double before = 0;
  for (const std::int64_t count : {1, 2, 4, 8, 16}) {
    const double now = seconds(*timer, images(count, 2000));
    CHECK(now > before);
    before = now;
  }
  CHECK(seconds(*timer, images(1, 32000)) > seconds(*timer, images(16, 2000)));
  // In windows an image's patches see as many others, however large it is.
  const auto windows = on("h100", "Qwen/Qwen2.5-VL-7B-Instruct");
  const auto ratio = [](const ImageTimer& t) {
    return seconds(t, images(1, 32000)) / seconds(t, images(16, 2000));
  };
  CHECK(ratio(*windows) < ratio(*timer));
  CHECK(seconds(*on("h100", "Qwen/Qwen3-VL-8B-Instruct", 2), images(16, 4000)) <
        seconds(*timer, images(16, 4000)));
}

TEST_CASE("an image's interval holds its time, and its provenance is never better than its parts") {
  const Estimate estimate = on("h100", "Qwen/Qwen3-VL-8B-Instruct")->estimate(images(2, 4000));
  CHECK(estimate.low < estimate.value);
  CHECK(estimate.value < estimate.high);
  CHECK(estimate.provenance != Provenance::measured);
}

TEST_CASE("times of images need an encoder that is known, and a device") {
  CHECK_THROWS_WITH(on("h100", "Qwen/Qwen3-8B"),
                    Catch::Contains("no vision encoder of 'Qwen/Qwen3-8B' is known"));
  CHECK_THROWS_WITH(
      image_timer(find_model("Qwen/Qwen3-VL-8B-Instruct"), StepTiming{}, 1, "vllm", Profile{}),
      Catch::Contains("need the GPU"));
}

TEST_CASE("engines that encode images hold the encoder's weights too") {
  PerfTarget target;
  target.model = find_model("Qwen/Qwen3-VL-8B-Instruct");
  target.layout.tensor = 2;
  const GpuSpec gpu = builtin_profile("h100").device;
  const MemoryUse text = memory_use(target, gpu, EngineConfig{});
  target.encodes_images = true;
  const MemoryUse with = memory_use(target, gpu, EngineConfig{});
  CHECK((with.weights - text.weights).count() ==
        target.model.vision->parameters(target.model.hidden));  // two bytes each, on two GPUs
  CHECK(with.kv_blocks < text.kv_blocks);
}

}  // namespace
