#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "client.h"
#include "dyn/engine/kv_link.h"
#include "dyn/sim/event_queue.h"
#include "dyn/sim/run_sink.h"
#include "dyn/sim/simulation.h"
#include "fleet.h"
#include "tiering.h"

namespace dyn::sim {

/// Where a request is. Every change of it is made by Run and nowhere else.
enum class Stage : std::uint8_t {
  unsent,
  sent,          ///< with the frontend
  prefilling,    ///< queued or computed by a prefill engine
  reserving,     ///< its KV is held by the prefill engine, the decode engine has no room yet
  transferring,  ///< KV on its way; held at both ends
  running,       ///< queued or computed by the engine that makes its tokens
  done,
};

/// What the simulation keeps of a request beside its record.
struct Flight {
  Stage stage = Stage::unsent;
  std::uint32_t prefill_engine = 0;  ///< index into Fleet::engines
  std::uint32_t engine = 0;
  std::uint32_t decoding_slot = 0;  ///< position in EngineSlot::decoding
  std::int64_t block_due = 0;  ///< engine steps when the next output block begins, for the router
  std::int64_t last_due = 0;   ///< engine steps when the last token is made
};

/// One simulation in progress. Handlers change the state of this instant; whatever follows from
/// them at this or a later instant is an event.
class Run {
 public:
  Run(const SimulationSpec& spec, const Workload& workload);
  SimulationResult run();

 private:
  // The client.
  void send(std::uint32_t request);
  void left(std::uint32_t request, RequestStatus status, SimTime at);
  auto pusher() {
    return [this](std::uint32_t request, SimTime at) {
      queue_.push(at, Phase::arrival, EventKind::send, request);
    };
  }

  // The fleet.
  void handle(const Event& event);
  void deliver(std::uint32_t request);
  bool submit(std::uint32_t request, std::uint32_t pool);
  void transfer_done(std::uint32_t request);
  void touch(std::uint32_t engine);
  void end_step(std::uint32_t engine);
  void settle(std::uint32_t engine);
  void start(std::uint32_t engine);
  void schedule(std::uint32_t engine);
  void observe(const Pool& pool);
  void read_outcome(std::uint32_t engine);
  void on_token(std::uint32_t engine, const engine::TokenEvent& token);
  void on_prefilled(std::uint32_t engine, std::uint32_t request);
  void on_kv_wanted(std::uint32_t request);

  // Between tiers (tiering.cpp).
  void start_tier_transfers(std::uint32_t engine);
  void network_moved();
  void network_due();

  // What is watched (observing.cpp).
  void mark(Mark what, std::uint32_t request, SimTime at, std::int64_t engine = -1,
            std::int64_t value = 0) {
    if (spec_.sink != nullptr) {
      spec_.sink->on_mark(what, request, at, static_cast<std::int32_t>(engine), value);
    }
  }
  void note_step(std::uint32_t engine, SimTime next);
  void start_timeline();
  void sample(SimTime upto);
  void finish_timeline(SimTime end, SimulationResult& result);
  std::optional<Estimate> energy(SimTime end);

  // What the router knows of output lengths.
  void follow_output(const Pool& pool, std::uint32_t request, std::uint32_t engine);
  void forget_output(std::uint32_t request);
  void tell_output(Pool& pool);

  // The end (accounting.cpp).
  void settle_all(SimTime end);
  SimulationResult result(SimTime end);
  void keep_sent_records();
  void release_unfinished(SimTime end);
  void check_conservation(SimTime end);

  Pool& pool_of(std::uint32_t engine) { return fleet_.pools[fleet_.engines[engine].pool]; }
  RequestRecord& record(RequestId id) { return records_[id.value()]; }

  const SimulationSpec& spec_;
  const Workload& workload_;
  Client client_;
  Fleet fleet_;
  Tiering tiering_;
  engine::KvLink link_;
  EventQueue queue_;
  engine::Outcome outcome_;  ///< reused
  std::vector<Flight> flights_;
  std::vector<RequestRecord> records_;
  std::vector<engine::Network::Arrived> arrived_;  ///< reused
  SimTime now_{Duration{0}};
  SimTime network_due_ = SimTime::max();
  std::uint16_t network_epoch_ = 0;
  Duration frontend_{0};
  Timeline timeline_;
  SimTime next_sample_ = SimTime::max();
  std::uint32_t entry_pool_ = 0;   ///< where requests go first
  std::uint32_t decode_pool_ = 0;  ///< disaggregated: where they go then
};

}  // namespace dyn::sim
