#include "dyn/engine/encoder.h"

#include <catch2/catch.hpp>

namespace {

using namespace dyn;
using namespace dyn::engine;
using namespace std::chrono_literals;

constexpr ImageSize kImage{400, 100};

std::shared_ptr<const perf::ImageTimer> ten_millis_each() {
  StepTiming timing;
  timing.image_time = 10ms;
  return perf::image_timer(ModelSpec{}, timing, 1, "vllm", Profile{});
}

/// Images of these ids. Valid until the next call.
policy::PromptImages of_size(const std::vector<ImageId>& ids, ImageSize size) {
  static std::vector<policy::PromptImage> images;
  images.clear();
  for (const ImageId id : ids) {
    images.push_back({id, 0, size});
  }
  return images;
}

/// Images of 100 tokens and 1000 bytes, two of which fit a batch.
struct Driver {
  explicit Driver(Bytes cache = Bytes(0)) : encoder({250, cache, Bytes(10)}, ten_millis_each()) {}

  void submit(std::uint32_t id, const std::vector<ImageId>& images) {
    encoder.submit({RequestId(id), of_size(images, kImage)});
  }
  std::vector<std::uint32_t> advance(Duration now) {
    std::vector<RequestId> done;
    encoder.advance(SimTime(now), done);
    std::vector<std::uint32_t> ids;
    for (const RequestId id : done) {
      ids.push_back(id.value());
    }
    return ids;
  }
  std::int64_t work(const std::vector<ImageId>& images) const {
    return encoder.work({RequestId(99), of_size(images, kImage)});
  }

  Encoder encoder;
};

using Ids = std::vector<std::uint32_t>;

TEST_CASE("images are encoded in order of arrival, as many at once as the budget allows") {
  Driver d;
  d.submit(1, {11, 12, 13});
  d.submit(2, {21});
  CHECK(d.advance(0ms).empty());
  CHECK(d.encoder.next_event() == SimTime(20ms));  // 11 and 12
  CHECK(d.encoder.encoding() == 2);
  CHECK(d.encoder.waiting() == 2);
  CHECK(d.advance(20ms).empty());  // 13 and 21 begin
  CHECK(d.advance(40ms) == Ids{1, 2});
  CHECK_FALSE(d.encoder.next_event());
  CHECK(d.encoder.use(SimTime(50ms)).batches == 2);
  CHECK(d.encoder.use(SimTime(50ms)).busy == 40ms);
  d.encoder.check_idle();
}

TEST_CASE("an image beyond the budget is encoded alone") {
  Encoder encoder({250, Bytes(0), Bytes(10)}, ten_millis_each());
  encoder.submit({RequestId(1), of_size({1, 2}, {4000, 1000})});
  std::vector<RequestId> done;
  encoder.advance(SimTime(0ms), done);
  CHECK(encoder.encoding() == 1);
  encoder.advance(SimTime(10ms), done);
  encoder.advance(SimTime(20ms), done);
  CHECK(done.size() == 1);
}

TEST_CASE("an image that several requests have at once is encoded once") {
  Driver d;
  d.submit(1, {7});
  d.advance(0ms);
  d.submit(2, {7, 8});
  CHECK(d.work({7, 8}) == 800);  // both are on their way
  CHECK(d.work({9}) == 1200);
  CHECK(d.advance(10ms) == Ids{1});
  CHECK(d.advance(20ms) == Ids{2});
  CHECK(d.encoder.use(SimTime(20ms)).images == 3);
  CHECK(d.encoder.use(SimTime(20ms)).encoded == 2);
}

TEST_CASE("the cache keeps what was used last and has no more bytes than it may") {
  Driver d(Bytes(2000));
  d.submit(1, {1, 2});
  d.advance(0ms);
  d.advance(20ms);
  d.submit(2, {1});  // found; 2 is now the oldest
  CHECK(d.advance(20ms) == Ids{2});
  d.submit(3, {3});
  d.advance(20ms);
  d.advance(30ms);
  CHECK(d.work({1, 3}) == 0);
  CHECK(d.work({2}) == 400);
  d.encoder.check_idle();
}

TEST_CASE("without a cache nothing is found again") {
  Driver d;
  d.submit(1, {1});
  d.advance(0ms);
  d.advance(10ms);
  CHECK(d.work({1}) == 400);
}

TEST_CASE("a request that is taken out leaves what others wait for") {
  Driver d;
  d.submit(1, {1, 2, 3, 4});
  d.submit(2, {4});
  d.advance(0ms);  // 1 and 2
  d.encoder.cancel(RequestId(1));
  d.encoder.cancel(RequestId(77));
  CHECK(d.encoder.waiting() == 1);  // 4, for the second
  CHECK(d.advance(20ms).empty());
  CHECK(d.advance(30ms) == Ids{2});
  CHECK(d.work({}) == 0);
  d.encoder.check_idle();
}

TEST_CASE("a request goes to the worker that would be done with it first") {
  std::vector<Encoder> encoders;
  for (int i = 0; i < 3; ++i) {
    encoders.emplace_back(EncoderOptions{250, Bytes(10'000), Bytes(10)}, ten_millis_each());
  }
  const std::vector<ImageId> first{1}, second{2}, third{3};
  CHECK(choose_encoder(encoders, {RequestId(1), of_size(first, kImage)}) == 0);
  encoders[0].submit({RequestId(1), of_size(first, kImage)});
  CHECK(choose_encoder(encoders, {RequestId(2), of_size(second, kImage)}) == 1);
  std::vector<RequestId> done;
  encoders[0].advance(SimTime(0ms), done);
  encoders[0].advance(SimTime(10ms), done);
  encoders[2].submit({RequestId(3), of_size(third, kImage)});
  CHECK(choose_encoder(encoders, {RequestId(4), of_size(first, kImage)}) == 0);  // it has it
  CHECK(choose_encoder(encoders, {RequestId(4), of_size(second, kImage)}) == 0);
  const std::vector<ImageId> many{4, 5};
  encoders[0].submit({RequestId(4), of_size(many, kImage)});
  CHECK(choose_encoder(encoders, {RequestId(5), of_size(first, kImage)}) ==
        1);  // it waits for nobody
}

}  // namespace
