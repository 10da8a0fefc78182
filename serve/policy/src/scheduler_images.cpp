// Images: what of them a step encodes before it computes their tokens.
#include "scheduler_impl.h"

namespace dyn::policy {

/// The chunk [from, to) of a prompt is in the step. Where it is the first after the request was
/// admitted, an image whose KV is cached in part is encoded again for the rest.
void Scheduler::Impl::encode_images(const Request& request, std::int64_t from, std::int64_t to) {
  if (request.remote) {
    return;
  }
  const bool first = from == request.cached;
  for (const PromptImage& image : request.spec.images) {
    if (first ? image.within(from, to) : image.begins_within(from, to)) {
      image_batch.add(image.size);
    }
  }
}

const perf::ImageBatch& Scheduler::image_batch() const {
  return impl_->image_batch;
}

}  // namespace dyn::policy
