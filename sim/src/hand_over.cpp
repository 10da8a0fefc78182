// The way of a prompt's KV from a prefill to a decode worker, and how both ends are freed.
#include <algorithm>

#include "dyn/core/check.h"
#include "run.h"

namespace dyn::sim {
/// The prompt is computed and its KV held here until it has reached a decode engine.
void Run::on_prefilled(std::uint32_t request) {
  Flight& flight = flights_[request];
  flight.prefill = Leg::kept;
  mark(Mark::prefilled, request, now_, flight.prefill_engine);
  prompt_done(entry_pool_, flight.prefill_router, request);
  if (flight.decode == Leg::none) {
    choose_decode(request);
  } else if (flight.decode == Leg::reserved) {
    send_kv(request);
  }
}

/// A decode worker for a prompt whose KV is kept, or a place in the router's queue, or neither.
void Run::choose_decode(std::uint32_t request) {
  flights_[request].stage = Stage::placed;
  const auto refused = submit(request, decode_pool_, true);
  if (refused && !hold(request, decode_pool_, *refused)) {
    history_.lost_tokens += computed(request);
    withdraw(request);
    fail(request, RequestStatus::rejected);
  }
}

/// The decode engine has room for the KV that it has not cached itself.
void Run::on_kv_wanted(std::uint32_t request) {
  Flight& flight = flights_[request];
  flight.decode = Leg::reserved;
  if (flight.prefill == Leg::kept) {
    send_kv(request);
  } else {
    send_early(request);
  }
}

/// Prompt tokens that the decode engine has not cached itself.
std::int64_t Run::wanted(std::uint32_t request) const {
  const Flight& flight = flights_[request];
  return fleet_.engines[flight.engine].engine.tokens_wanted(RequestId(flight.id));
}

/// What may set out before the prompt's end is computed: all but the last layer's share. Windows
/// and states are those of the end.
Bytes Run::early_bytes(std::uint32_t request) const {
  const Bytes all = deployed_.sent.early(wanted(request));
  return all - all / std::int64_t{plan_.model.layers};
}

/// Pushed layer by layer, that sets out while the prompt is computed.
void Run::send_early(std::uint32_t request) {
  const Flight& flight = flights_[request];
  const bool computing =
      flight.prefill == Leg::computing &&
      fleet_.engines[flight.prefill_engine].engine.progress(RequestId(flight.id), now_).computed >
          0;
  if (!plan_.disaggregation.overlap || plan_.model.layers < 2 || flight.decode != Leg::reserved ||
      !computing || flight.flows > 0) {
    return;
  }
  start_transfer(request, early_bytes(request));
  flights_[request].sent_early = true;
}

/// What is still to be sent sets out.
void Run::send_kv(std::uint32_t request) {
  Flight& flight = flights_[request];
  const Bytes all = deployed_.sent.of(wanted(request));
  flight.kv_sent = now_;
  mark(Mark::transfer_begun, request, now_, flight.engine);
  start_transfer(request, flight.sent_early ? all - early_bytes(request) : all);
  if (eventful_) {
    queue_.push(now_ + plan_.disaggregation.transfer_timeout, Phase::transfer,
                EventKind::transfer_over, request, flight.placings, 1);
  }
}

void Run::start_transfer(std::uint32_t request, Bytes bytes) {
  Flight& flight = flights_[request];
  flight.transfers[flight.flows++] =
      network_.start(gpus(flight.prefill_engine), gpus(flight.engine), bytes, flight.id, now_)
          .value();
  network_moved();
}

/// An event for the next time that something arrives.
void Run::network_moved() {
  const SimTime next = network_.next_event().value_or(SimTime::max());
  if (next != network_due_) {
    network_due_ = next;
    ++network_epoch_;
    if (next != SimTime::max()) {
      queue_.push(std::max(next, now_), Phase::transfer, EventKind::network_due, 0, network_epoch_);
    }
  }
}

void Run::network_due() {
  network_due_ = SimTime::max();
  std::vector<engine::Network::Arrived> arrived;
  arrived.swap(arrived_);
  network_.advance(now_, arrived);
  for (const engine::Network::Arrived& what : arrived) {
    if ((what.tag & kWeightsTag) != 0) {
      weights_arrived(what.tag & ~kWeightsTag, what.transfer);
    } else if ((what.tag & kTierTag) != 0) {
      tier_transfer_done(what.tag);
    } else if ((what.tag & kEmbeddingsTag) != 0) {
      embeddings_arrived(request_of(RequestId(static_cast<std::uint32_t>(what.tag))));
    } else {
      kv_arrived(request_of(RequestId(static_cast<std::uint32_t>(what.tag))), what.transfer);
    }
  }
  arrived.clear();
  arrived_.swap(arrived);
  network_moved();
}

void Run::kv_arrived(std::uint32_t request, engine::TransferId transfer) {
  Flight& flight = flights_[request];
  DYN_ASSERT(flight.flows > 0, "KV of a request that expects none");
  if (flight.flows == 2 && flight.transfers[0] == transfer.value()) {
    flight.transfers[0] = flight.transfers[1];
  }
  --flight.flows;
  if (flight.flows == 0 && flight.prefill == Leg::kept) {
    finish_hand_over(request);
  }
}

void Run::finish_hand_over(std::uint32_t request) {
  Flight& flight = flights_[request];
  const RequestId id(flight.id);
  records_[request].transfer += now_ - flight.kv_sent;
  mark(Mark::transfer_done, request, now_, flight.engine);
  flight.prefill = Leg::none;
  flight.decode = Leg::running;
  --fleet_.engines[flight.prefill_engine].guests;
  fleet_.engines[flight.prefill_engine].engine.release_held(id, now_);
  leave_router(entry_pool_, flight.prefill_router, request);
  fleet_.engines[flight.engine].engine.kv_received(id, now_);
  prompt_done(decode_pool_, flight.router, request);
  touch(flight.prefill_engine);
  touch(flight.engine);
}

/// A link is down, or nearly so: both ends let go, and the request starts again.
void Run::transfer_timeout(std::uint32_t request) {
  Flight& flight = flights_[request];
  const bool of_kv = flight.decode == Leg::reserved && flight.prefill == Leg::kept;
  const bool of_images = flight.prefill == Leg::awaiting || flight.decode == Leg::awaiting;
  if (flight.stage != Stage::placed || !(of_kv || of_images)) {
    return;
  }
  history_.lost_tokens += computed(request);
  withdraw(request);
  if (!faults_.migration || ++flight.migrations > faults_.migration_limit) {
    fail(request, RequestStatus::failed);
    return;
  }
  ++history_.migrations;
  ++records_[request].migrations;
  place(request);
}

/// Frees all that a request holds, whatever its state: its place in a queue, both ends of a
/// hand-over and what is on the way between them. Worker `worker` of `lost`, if given, is gone: it
/// need not be told.
void Run::withdraw(std::uint32_t request, const Pool* lost, std::uint32_t worker) {
  Flight& flight = flights_[request];
  const RequestId id(flight.id);
  if (flight.stage == Stage::held) {
    for (Pool& pool : fleet_.pools) {
      pool.queue.remove(RequestId(request));
    }
  }
  for (; flight.flows > 0; --flight.flows) {
    network_.cancel(engine::TransferId(flight.transfers[flight.flows - 1]), now_);
  }
  flight.sent_early = false;
  withdraw_images(request);
  network_moved();
  const auto is_lost = [&](std::uint32_t engine) {
    const EngineSlot& slot = fleet_.engines[engine];
    return lost == &fleet_.pools[slot.pool] && lost->worker_of(slot.rank) == worker;
  };
  if (flight.prefill != Leg::none) {
    if (!is_lost(flight.prefill_engine)) {
      fleet_.engines[flight.prefill_engine].engine.cancel(id, now_);
      touch(flight.prefill_engine);
    }
    leave_router(entry_pool_, flight.prefill_router, request);
    --fleet_.engines[flight.prefill_engine].guests;
    flight.prefill = Leg::none;
  }
  if (flight.decode != Leg::none) {
    forget_output(request);
    if (!is_lost(flight.engine)) {
      fleet_.engines[flight.engine].engine.cancel(id, now_);
      touch(flight.engine);
    }
    leave_router(fleet_.engines[flight.engine].pool, flight.router, request);
    --fleet_.engines[flight.engine].guests;
    flight.decode = Leg::none;
  }
  flight.id = kNobody;
}

}  // namespace dyn::sim
