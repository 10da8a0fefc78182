#include "dyn/core/encoding.h"
#include "dyn/core/plan.h"
#include "dyn/core/schemas.h"
#include "inherited.h"

namespace dyn {
namespace {

template <class T>
void describe_workers(ObjectSchema<T>& s) {
  s.about("encode",
          "Workers that encode the images of prompts and hand the embeddings to the workers that "
          "compute these. A request goes where it has the fewest patches before it, images that a "
          "worker has in its cache not counted.");
  s.field("replicas", inherited<T>(&EncodeWorkers::replicas), "How many workers.")
      .between(1, 10'000)
      .because("one worker");
  s.field("tensor", inherited<T>(&EncodeWorkers::tensor),
          "GPUs of each, which share every multiply.")
      .between(1, 16)
      .because("encoders are small");
  s.field("batch_tokens", inherited<T>(&EncodeWorkers::batch_tokens),
          "Image tokens that are encoded together, or one image that has more.")
      .between(1, 100'000'000)
      .because("vLLM's max_num_batched_tokens");
  s.field("cache", inherited<T>(&EncodeWorkers::cache),
          "Memory of each worker for embeddings of images that come again, least recently used "
          "first out.")
      .at_least(Bytes(0))
      .because("nothing is kept unless asked for");
}

}  // namespace

void describe(ObjectSchema<ImageMix>& s) {
  s.about("images",
          "Images that prompts have after their shared prefix, on top of isl. Where the deployment "
          "has no encode pool, engines encode them in the step that computes their first token. A "
          "trace says itself which images its requests have: width and height then are those of "
          "images whose size it does not say (a PNG or JPEG in a data: URL does), and tokens those "
          "of every image.");
  s.field("per_request", &ImageMix::per_request, "Images of a session's first prompt.")
      .between(1, 10'000)
      .because("one question about one picture");
  s.field("share", &ImageMix::share, "Share of the sessions that have images.")
      .between(0, 1)
      .because("all of them");
  s.field("width", &ImageMix::width, "Pixels.").between(1, 100'000).because("a usual picture");
  s.field("height", &ImageMix::height, "Pixels.").between(1, 100'000).because("a usual picture");
  s.field("tokens", &ImageMix::tokens, "Tokens of each image, whatever its pixels.")
      .between(1, 1'000'000)
      .unset("what the model's processor makes of the pixels");
  s.field("distinct", &ImageMix::distinct, "Different pictures, which come again.")
      .between(1, 10'000'000)
      .unset("every image is new");
  s.field("skew", &ImageMix::skew,
          "Exponent of Zipf's law: the k-th picture is used in proportion to 1 / k^skew; 0: all "
          "alike.")
      .between(0, 10)
      .because("a few are asked about most");
  s.check([](const ImageMix& mix, Checker& checker) {
    if (checker.has("skew") && !mix.distinct) {
      checker.error("skew", "'skew' has no effect where every image is new",
                    "such as distinct: 1000");
    }
    for (const char* key : {"width", "height"}) {
      if (checker.has(key) && mix.tokens) {
        checker.error(key, std::string("'") + key + "' has no effect beside 'tokens'",
                      "give the pixels or the tokens");
      }
    }
  });
}

void describe(ObjectSchema<DeploymentEncode>& s) {
  describe_workers(s);
  s.field("gpu", &DeploymentEncode::gpu, "Catalogue id of its GPUs.")
      .not_empty()
      .unset("hardware.gpu");
}

void describe(ObjectSchema<EncodeSpec>& s) {
  describe_workers(s);
  s.field("profile", &EncodeSpec::profile, "The device of these workers.")
      .brief()
      .unset("the plan's profile");
}

}  // namespace dyn
