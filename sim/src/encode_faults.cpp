// What befalls encode workers: they crash, are taken away, are slow or cut off, and come back.
#include <algorithm>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {

void Run::strike_encoder(const FaultEvent& event) {
  const auto worker = static_cast<std::uint32_t>(event.worker);
  if (worker >= encode_workers_.size() || encode_workers_[worker].life == Life::absent ||
      encode_workers_[worker].life == Life::down) {
    return;  // nobody is there
  }
  const FaultAction action = begin_impact(event);
  switch (event.kind) {
    case FaultKind::worker_crash:
      crash_encoder(worker, action.impact);
      encoder_comes_back(worker, action.impact, event.duration);
      break;
    case FaultKind::spot_reclaim:
      encode_workers_[worker].reclaimed = true;
      if (encode_workers_[worker].life == Life::ready) {
        set_encoder_life(worker, Life::draining);
      }
      act_later(action, now_ + event.notice, FaultAction::What::kill);
      break;
    case FaultKind::slow_node:
    case FaultKind::link_down:
    case FaultKind::link_degraded:
      apply_to_encoder(event, event.kind == FaultKind::link_down ? 0 : event.factor);
      if (event.duration) {
        act_later(action, now_ + *event.duration, FaultAction::What::restore);
      }
      break;
    case FaultKind::kv_loss:
    case FaultKind::router_restart:
      DYN_ASSERT(false, "encode workers have neither KV nor routers");
  }
}

void Run::encoder_fault_over(const FaultAction& action) {
  const auto worker = static_cast<std::uint32_t>(action.event.worker);
  if (action.what == FaultAction::What::restore) {
    return apply_to_encoder(action.event, 1);
  }
  EncodeSlot& slot = encode_workers_[worker];
  if (!slot.reclaimed) {
    return;
  }
  if (slot.life != Life::down && slot.life != Life::absent) {
    crash_encoder(worker, action.impact);
  }
  // Taken for good: with an autoscaler another one takes its place.
  if (!action.event.duration && plan_.autoscaler.kind != AutoscalerKind::off) {
    slot.reclaimed = false;
  }
  encoder_comes_back(worker, action.impact, action.event.duration);
}

/// Sets the speed of a worker's node, from its next batch on, or the rate of its network ports.
void Run::apply_to_encoder(const FaultEvent& event, double factor) {
  const auto worker = static_cast<std::uint32_t>(event.worker);
  if (event.kind == FaultKind::slow_node) {
    encode_workers_[worker].speed = factor;
    encoders_[worker].set_timer(perf::scaled(spec_.images.encode, 1 / factor));
    return;
  }
  const engine::SiteId site = deployed_.encoders[worker];
  network_.degrade(engine::LinkKind::intra_node, site, factor, now_);
  network_.degrade(engine::LinkKind::inter_node, site, factor, now_);
  network_moved();
}

/// A worker is gone, with the images that it encodes, the embeddings that it keeps and those that
/// are on their way from it. Requests that wait for these are sent to others.
void Run::crash_encoder(std::uint32_t worker, std::uint32_t impact_index) {
  set_encoder_life(worker, Life::down);
  std::vector<std::uint32_t> hit;
  for (std::uint32_t i = oldest_; i < flights_.size(); ++i) {
    const Encoding& encoding = encodings_[i];
    if (encoding.worker == worker && (flights_[i].stage == Stage::encoding || encoding.under_way)) {
      hit.push_back(i);
    }
  }
  for (const std::uint32_t request : hit) {
    withdraw(request);
  }
  for (std::uint32_t i = oldest_; i < flights_.size(); ++i) {
    if (encodings_[i].worker == worker) {
      encodings_[i].encoded = false;
    }
  }
  past_encoding_ += encoders_[worker].use(now_);
  encoders_[worker] = make_encoder(worker);
  encoders_[worker].set_available(false);
  encoders_due_[worker] = SimTime::max();
  FaultImpact& impact = history_.faults[impact_index];
  impact.requests = static_cast<std::int64_t>(hit.size());
  for (const std::uint32_t request : hit) {
    move_on(request, impact);
  }
}

/// A crashed worker starts again: after a given time, or as a new one does; not if it was taken.
void Run::encoder_comes_back(std::uint32_t worker, std::uint32_t impact,
                             const std::optional<Duration>& after) {
  EncodeSlot& slot = encode_workers_[worker];
  slot.impact = impact;
  if (!after && slot.reclaimed) {
    set_encoder_life(worker, Life::absent);
    return;
  }
  if (!after) {
    set_encoder_life(worker, Life::warming);
  }
  const auto pool = static_cast<std::uint32_t>(fleet_.pools.size());
  queue_.push(now_ + after.value_or(encoder_start()), Phase::transfer, EventKind::worker_due,
              pool << 20 | worker, ++slot.epoch, 1);
}

/// How long a new worker takes to get its weights, over a link of its own, and to start.
Duration Run::encoder_start() const {
  Duration weights{0};
  if (plan_.autoscaler.weights != WeightSource::warm && plan_.model.vision) {
    const Bytes bytes(2 * plan_.model.vision->parameters(plan_.model.hidden));
    const engine::SiteId site = deployed_.encoders[0];
    const bool disk = plan_.autoscaler.weights == WeightSource::disk;
    const engine::Endpoint from = disk ? engine::Endpoint{engine::Place::disk, site}
                                       : engine::Endpoint{engine::Place::store, {}};
    weights = network_.alone(from, {engine::Place::gpus, site}, bytes);
  }
  return weights + plan_.autoscaler.startup;
}

void Run::encode_worker_due(std::uint32_t worker, std::uint16_t epoch) {
  EncodeSlot& slot = encode_workers_[worker];
  if (slot.epoch != epoch) {
    return;
  }
  if (slot.impact) {
    history_.faults[*slot.impact].until = now_;
    slot.impact.reset();
  }
  set_encoder_life(worker, Life::ready);
}

void Run::set_encoder_life(std::uint32_t worker, Life life) {
  EncodeSlot& slot = encode_workers_[worker];
  const bool paid = costs(slot);
  slot.life = life;
  if (life == Life::ready) {
    slot.reclaimed = false;
  }
  if (costs(slot) != paid) {
    const double hours = to_seconds(now_ - slot.paid_since) / 3600 * plan_.encode->tensor;
    encode_hours_saved_ += paid ? 0 : hours;
    slot.paid_since = now_;
  }
  encoders_[worker].set_available(life == Life::ready);
  if (life != Life::ready && life != Life::absent) {
    return;
  }
  std::vector<std::uint32_t> waiting;
  std::swap(waiting, unencoded_);
  for (const std::uint32_t request : waiting) {
    // Those that left meanwhile, and came again, are there twice.
    if (flights_[request].stage == Stage::encoding && encodings_[request].worker == kNobody) {
      choose_encoder(request);
    }
  }
}

/// GPU hours of the encode pool until then.
double Run::encode_hours(SimTime end) const {
  if (!plan_.encode) {
    return 0;
  }
  double hours = to_seconds(end - SimTime{}) / 3600 * plan_.encode->gpus() - encode_hours_saved_;
  for (const EncodeSlot& slot : encode_workers_) {
    hours -= costs(slot) ? 0 : to_seconds(end - slot.paid_since) / 3600 * plan_.encode->tensor;
  }
  return hours;
}

}  // namespace dyn::sim
