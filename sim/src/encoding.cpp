// The way of a request's images: encoded by an encode worker, and their embeddings to who computes
// the prompt.
#include <algorithm>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {

void Run::start_encoders() {
  if (!plan_.encode || workload_.request_images.empty()) {
    return;
  }
  encode_workers_.resize(static_cast<std::size_t>(plan_.encode->replicas));
  for (std::uint32_t i = 0; i < encode_workers_.size(); ++i) {
    encoders_.push_back(make_encoder(i));
  }
  encoders_due_.assign(encoders_.size(), SimTime::max());
  encodings_.resize(flights_.size());
}

engine::Encoder Run::make_encoder(std::uint32_t worker) const {
  engine::EncoderOptions options;
  options.batch_tokens = plan_.encode->batch_tokens;
  options.cache = plan_.encode->cache;
  options.bytes_per_token = plan_.model.embedding_bytes();
  const double speed = encode_workers_[worker].speed;
  return {options, speed == 1 ? spec_.images.encode : perf::scaled(spec_.images.encode, 1 / speed)};
}

bool Run::needs_encoding(std::uint32_t request) const {
  return !encoders_.empty() && !encodings_[request].encoded &&
         !workload_.images_of(request).empty();
}

/// The request goes to an encode worker first.
void Run::encode(std::uint32_t request) {
  flights_[request].stage = Stage::encoding;
  encodings_[request].began = now_;
  mark(Mark::encoding, request, now_);
  choose_encoder(request);
}

/// Queues it at a worker, or has it wait for one; where none will ever be there it fails.
void Run::choose_encoder(std::uint32_t request) {
  const engine::EncodeRequest asked{RequestId(request), workload_.images_of(request)};
  const std::optional<std::size_t> chosen = engine::choose_encoder(encoders_, asked);
  if (!chosen) {
    if (std::all_of(encode_workers_.begin(), encode_workers_.end(),
                    [](const EncodeSlot& slot) { return slot.life == Life::absent; })) {
      const bool refused = flights_[request].migrations == 0;
      fail(request, refused ? RequestStatus::rejected : RequestStatus::failed);
      return;
    }
    encodings_[request].worker = kNobody;
    unencoded_.push_back(request);
    return;
  }
  const auto worker = static_cast<std::uint32_t>(*chosen);
  encodings_[request].worker = worker;
  encoders_[worker].submit(asked);
  // It begins when all that arrives at this instant is there.
  encoder_due_at(worker, encoders_[worker].next_event().value_or(now_));
}

void Run::encoder_due_at(std::uint32_t worker, SimTime at) {
  if (at < encoders_due_[worker]) {
    encoders_due_[worker] = at;
    queue_.push(at, Phase::arrival, EventKind::encoder_due, worker, 0, 3);
  }
}

void Run::encoder_due(std::uint32_t worker) {
  if (encoders_due_[worker] != now_) {
    return;  // of a worker that is no more, or told before
  }
  encoders_due_[worker] = SimTime::max();
  std::vector<RequestId> done;
  encoders_[worker].advance(now_, done);
  for (const RequestId id : done) {
    const std::uint32_t request = id.value();
    encodings_[request].encoded = true;
    records_[request].encode += now_ - encodings_[request].began;
    mark(Mark::encoded, request, now_);
    place(request);
  }
  if (const std::optional<SimTime> next = encoders_[worker].next_event()) {
    encoder_due_at(worker, *next);
  }
}

/// The worker that will compute the prompt is chosen: the embeddings set out for it.
void Run::send_embeddings(std::uint32_t request, std::uint32_t engine) {
  Encoding& encoding = encodings_[request];
  const Bytes bytes(policy::image_tokens(workload_.images_of(request)) *
                    plan_.model.embedding_bytes().count());
  encoding.began = now_;
  mark(Mark::embedding, request, now_, engine);
  const engine::Endpoint from{engine::Place::gpus, deployed_.encoders[encoding.worker]};
  encoding.transfer =
      network_.start(from, gpus(engine), bytes, kEmbeddingsTag | flights_[request].id, now_)
          .value();
  encoding.under_way = true;
  network_moved();
  if (eventful_) {
    queue_.push(now_ + plan_.disaggregation.transfer_timeout, Phase::transfer,
                EventKind::transfer_over, request, flights_[request].placings, 1);
  }
}

/// The embeddings are there: the prompt can be computed.
void Run::embeddings_arrived(std::uint32_t request) {
  Flight& flight = flights_[request];
  encodings_[request].under_way = false;
  records_[request].encode += now_ - encodings_[request].began;
  const bool prefill = flight.prefill == Leg::awaiting;
  DYN_ASSERT(prefill || flight.decode == Leg::awaiting, "embeddings that nobody waits for");
  (prefill ? flight.prefill : flight.decode) = prefill ? Leg::computing : Leg::running;
  const std::uint32_t engine = prefill ? flight.prefill_engine : flight.engine;
  mark(Mark::embedded, request, now_, engine);
  fleet_.engines[engine].engine.submit(request_at(pool_of(engine), request, false), now_);
  touch(engine);
}

/// Frees what a request has of encode workers and the links from them.
void Run::withdraw_images(std::uint32_t request) {
  if (encoders_.empty()) {
    return;
  }
  Encoding& encoding = encodings_[request];
  if (flights_[request].stage == Stage::encoding && encoding.worker != kNobody) {
    encoders_[encoding.worker].cancel(RequestId(request));
  }
  if (encoding.under_way) {
    network_.cancel(engine::TransferId(encoding.transfer), now_);
    encoding.under_way = false;
  }
}

}  // namespace dyn::sim
