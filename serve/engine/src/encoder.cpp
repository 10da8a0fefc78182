#include "dyn/engine/encoder.h"

#include <algorithm>
#include <utility>

#include "dyn/core/check.h"

namespace dyn::engine {

EncoderUse& EncoderUse::operator+=(const EncoderUse& other) {
  images += other.images;
  encoded += other.encoded;
  batches += other.batches;
  busy += other.busy;
  return *this;
}

Encoder::Encoder(const EncoderOptions& options, std::shared_ptr<const perf::ImageTimer> timer)
    : options_(options), timer_(std::move(timer)) {
  DYN_ASSERT(timer_ != nullptr && options_.batch_tokens > 0, "an encoder takes images");
}

std::int64_t Encoder::work(const EncodeRequest& request) const {
  std::int64_t patches = waiting_patches_;
  for (const policy::PromptImage& asked : request.images) {
    patches += images_.contains(asked.id) ? 0 : asked.size.patches;
  }
  return patches;
}

void Encoder::submit(const EncodeRequest& request) {
  DYN_ASSERT(!request.images.empty() && !missing_.contains(request.id), "a new request's images");
  std::int64_t missing = 0;
  for (const policy::PromptImage& asked : request.images) {
    ++use_.images;
    const auto [at, added] = images_.try_emplace(asked.id);
    Image& image = at->second;
    if (added) {
      image.size = asked.size;
      queue_.push_back(asked.id);
      waiting_patches_ += image.size.patches;
    } else if (image.state == State::cached) {
      recent_.splice(recent_.end(), recent_, image.place);
      continue;
    }
    image.waiting.push_back(request.id);
    ++missing;
  }
  if (missing > 0) {
    missing_.emplace(request.id, missing);
  } else {
    ready_.push_back(request.id);
  }
}

void Encoder::cancel(RequestId id) {
  std::erase(ready_, id);
  if (missing_.erase(id) == 0) {
    return;
  }
  for (auto at = images_.begin(); at != images_.end();) {
    Image& image = at->second;
    std::erase(image.waiting, id);
    if (image.waiting.empty() && image.state == State::queued) {
      std::erase(queue_, at->first);
      waiting_patches_ -= image.size.patches;
      at = images_.erase(at);
    } else {
      ++at;
    }
  }
}

void Encoder::advance(SimTime now, std::vector<RequestId>& done) {
  done.insert(done.end(), ready_.begin(), ready_.end());
  ready_.clear();
  if (batch_ends_ && *batch_ends_ <= now) {
    DYN_ASSERT(*batch_ends_ == now, "an encoder is advanced when its batch ends");
    finish_batch(done);
  }
  if (!batch_ends_ && !queue_.empty()) {
    begin_batch(now);
  }
}

void Encoder::finish_batch(std::vector<RequestId>& done) {
  use_.busy += *batch_ends_ - batch_began_;
  batch_ends_.reset();
  for (const ImageId id : batch_) {
    const auto at = images_.find(id);
    waiting_patches_ -= at->second.size.patches;
    for (const RequestId request : at->second.waiting) {
      const auto missing = missing_.find(request);
      if (--missing->second == 0) {
        missing_.erase(missing);
        done.push_back(request);
      }
    }
    at->second.waiting.clear();
    if (options_.cache.count() > 0 && bytes_of(at->second) <= options_.cache) {
      keep(id, at->second);
    } else {
      images_.erase(at);
    }
  }
  batch_.clear();
}

void Encoder::begin_batch(SimTime now) {
  perf::ImageBatch sums;
  while (!queue_.empty()) {
    Image& image = images_.at(queue_.front());
    if (!sums.empty() && sums.tokens + image.size.tokens > options_.batch_tokens) {
      break;
    }
    sums.add(image.size);
    image.state = State::encoding;
    batch_.push_back(queue_.front());
    queue_.pop_front();
  }
  ++use_.batches;
  use_.encoded += sums.images;
  const Duration time = timer_->time(sums);
  DYN_ASSERT(time.count() > 0, "a batch takes time");
  batch_began_ = now;
  batch_ends_ = now + time;
}

void Encoder::keep(ImageId id, Image& image) {
  image.state = State::cached;
  image.place = recent_.insert(recent_.end(), id);
  cached_ += bytes_of(image);
  while (cached_ > options_.cache) {
    const auto oldest = images_.find(recent_.front());
    cached_ -= bytes_of(oldest->second);
    images_.erase(oldest);
    recent_.pop_front();
  }
}

std::optional<SimTime> Encoder::next_event() const {
  return batch_ends_;
}

EncoderUse Encoder::use(SimTime now) const {
  EncoderUse out = use_;
  if (batch_ends_) {
    out.busy += now - batch_began_;
  }
  return out;
}

void Encoder::check_idle() const {
  DYN_ASSERT(missing_.empty() && ready_.empty() && queue_.empty(),
             "an encoder keeps a request that is gone");
  for (const auto& [id, image] : images_) {
    DYN_ASSERT(image.waiting.empty(), "an image waits for nobody");
  }
}

std::optional<std::size_t> choose_encoder(std::span<const Encoder> encoders,
                                          const EncodeRequest& request) {
  std::optional<std::size_t> best;
  std::int64_t least = 0;
  for (std::size_t i = 0; i < encoders.size(); ++i) {
    if (!encoders[i].available()) {
      continue;
    }
    const std::int64_t work = encoders[i].work(request);
    if (!best || work < least) {
      least = work;
      best = i;
    }
  }
  return best;
}

}  // namespace dyn::engine
