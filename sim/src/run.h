#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dyn/engine/kv_link.h"
#include "dyn/sim/event_queue.h"
#include "dyn/sim/simulation.h"
#include "fleet.h"

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
  void start_client();
  void send(std::uint32_t request);
  void left(std::uint32_t request, RequestStatus status, SimTime at);
  void push_send(std::uint32_t request, SimTime at) {
    queue_.push(at, Phase::arrival, EventKind::send, request);
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

  // What the router knows of output lengths.
  void follow_output(const Pool& pool, std::uint32_t request, std::uint32_t engine);
  void forget_output(std::uint32_t request);
  void tell_output(Pool& pool);

  // The end (accounting.cpp).
  void settle_all(SimTime end);
  SimulationResult result(SimTime end);
  void release_unfinished(SimTime end);
  void check_conservation(SimTime end);

  Pool& pool_of(std::uint32_t engine) { return fleet_.pools[fleet_.engines[engine].pool]; }
  RequestRecord& record(RequestId id) { return records_[id.value()]; }

  const SimulationSpec& spec_;
  const Workload& workload_;
  Fleet fleet_;
  engine::KvLink link_;
  EventQueue queue_;
  engine::Outcome outcome_;  ///< reused
  std::vector<Flight> flights_;
  std::vector<RequestRecord> records_;
  SimTime now_{Duration{0}};
  Duration frontend_{0};
  std::uint32_t entry_pool_ = 0;   ///< where requests go first
  std::uint32_t decode_pool_ = 0;  ///< disaggregated: where they go then
  std::uint32_t next_ = 0;         ///< the next request to send
};

}  // namespace dyn::sim
