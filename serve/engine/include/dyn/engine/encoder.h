#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/perf/image_timer.h"
#include "dyn/policy/prompt_images.h"

namespace dyn::engine {

using policy::ImageId;

/// The images of a request.
struct EncodeRequest {
  RequestId id;
  policy::PromptImages images;  ///< at least one
};

struct EncoderOptions {
  std::int64_t batch_tokens = 8192;  ///< that are encoded together, or one image
  Bytes cache{0};                    ///< for embeddings of images that may come again
  Bytes bytes_per_token{0};          ///< of embeddings
};

/// What an encoder has done.
struct EncoderUse {
  std::int64_t images = 0;   ///< that were asked for
  std::int64_t encoded = 0;  ///< of these; the others were there, or on their way for others
  std::int64_t batches = 0;
  Duration busy{0};

  EncoderUse& operator+=(const EncoderUse& other);
};

/// One worker of an encode pool as a state machine over time: images wait in order of arrival, as
/// many as the budget allows are encoded together, and a request is done when all of its images
/// are. Of an image that several requests have at once one is encoded. It has no clock; equal calls
/// at equal times give equal answers. Every call's `now` is >= that of the call before. Not
/// thread-safe.
class Encoder {
 public:
  Encoder(const EncoderOptions& options, std::shared_ptr<const perf::ImageTimer> timer);

  /// Patches that are to be encoded here before this request would be done: those that wait or are
  /// encoded, and its own that are not here.
  std::int64_t work(const EncodeRequest& request) const;
  /// Queues a request; asserts that its id is not in use here. Then call advance().
  void submit(const EncodeRequest& request);
  /// Takes a request out; unknown ids are ignored. Images that nobody else waits for are dropped,
  /// unless they are being encoded.
  void cancel(RequestId id);
  /// Ends the batch that is over at `now`, appends the requests that are done, by when they came,
  /// and begins the next batch.
  void advance(SimTime now, std::vector<RequestId>& done);
  /// What batches that begin from now on take.
  void set_timer(std::shared_ptr<const perf::ImageTimer> timer) { timer_ = std::move(timer); }
  /// Whether it takes new requests.
  void set_available(bool available) { available_ = available; }
  bool available() const { return available_; }
  /// When the batch in progress ends; none when idle.
  std::optional<SimTime> next_event() const;

  /// Images that are encoded now, and that wait.
  std::size_t encoding() const { return batch_.size(); }
  std::size_t waiting() const { return queue_.size(); }
  /// What it has done in batches begun so far, the rest of one in progress left out.
  EncoderUse use(SimTime now) const;
  /// Asserts that nothing waits or is encoded for nobody; for ends of runs.
  void check_idle() const;

 private:
  enum class State : std::uint8_t { queued, encoding, cached };
  struct Image {
    State state = State::queued;
    ImageSize size;
    std::vector<RequestId> waiting;
    std::list<ImageId>::iterator place;  ///< cached: in `recent_`
  };
  void finish_batch(std::vector<RequestId>& done);
  void begin_batch(SimTime now);
  void keep(ImageId id, Image& image);
  Bytes bytes_of(const Image& image) const {
    return Bytes(image.size.tokens * options_.bytes_per_token.count());
  }

  EncoderOptions options_;
  std::shared_ptr<const perf::ImageTimer> timer_;
  std::map<ImageId, Image> images_;
  std::map<RequestId, std::int64_t> missing_;  ///< images that a request waits for
  std::deque<ImageId> queue_;
  std::int64_t waiting_patches_ = 0;  ///< queued or being encoded
  std::vector<ImageId> batch_;
  SimTime batch_began_{};
  std::optional<SimTime> batch_ends_;
  std::list<ImageId> recent_;  ///< cached, least recently used first
  Bytes cached_{0};
  std::vector<RequestId> ready_;  ///< done, to be handed out
  EncoderUse use_;
  bool available_ = true;
};

/// The worker with the least work for a request, of those that take new ones; of several the first.
std::optional<std::size_t> choose_encoder(std::span<const Encoder> encoders,
                                          const EncodeRequest& request);

}  // namespace dyn::engine
