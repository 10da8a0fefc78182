#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "client.h"
#include "dyn/core/random.h"
#include "dyn/engine/encoder.h"
#include "dyn/engine/network.h"
#include "dyn/sim/event_queue.h"
#include "dyn/sim/run_sink.h"
#include "dyn/sim/simulation.h"
#include "fleet.h"
#include "tiering.h"

namespace dyn::sim {

/// Where a request is. Every change of it is made by Run and nowhere else.
enum class Stage : std::uint8_t {
  unsent,
  frontend,  ///< sent, not yet routed
  encoding,  ///< its images are at an encode worker
  held,      ///< in a router's queue
  placed,    ///< at workers: see its legs
  waiting,   ///< its client will try again
  done,
};

/// What a request has of one worker.
enum class Leg : std::uint8_t {
  none,
  awaiting,   ///< who computes its prompt is chosen; the embeddings of its images are on the way
  computing,  ///< prefill leg: queued or computed
  kept,       ///< prefill leg: computed, its KV held
  reserving,  ///< decode leg: waits for room
  reserved,   ///< decode leg: has room for KV, which may be on its way
  running,    ///< decode leg, or the only one: queued or computed by who makes its tokens
};

/// No id that a worker or router knows.
inline constexpr std::uint32_t kNobody = static_cast<std::uint32_t>(-1);
/// Marks what the network carries as weights of a worker.
inline constexpr std::uint64_t kWeightsTag = std::uint64_t{1} << 63;
/// Marks what it carries between the tiers of an engine.
inline constexpr std::uint64_t kTierTag = std::uint64_t{1} << 62;

/// Marks what it carries as embeddings of a request's images.
inline constexpr std::uint64_t kEmbeddingsTag = std::uint64_t{1} << 61;

/// A worker of the encode pool.
struct EncodeSlot : WorkerSlot {
  double speed = 1;  ///< share of its own
};

/// What the simulation keeps of a request with images, where there is an encode pool.
struct Encoding {
  SimTime began{};           ///< of its wait for them to be encoded, or to arrive
  std::uint32_t worker = 0;  ///< kNobody: it waits for one
  std::uint32_t transfer = 0;
  bool encoded = false;    ///< the worker has the embeddings
  bool under_way = false;  ///< `transfer` is
};

/// What the simulation keeps of a request beside its record.
struct Flight {
  std::uint32_t id = kNobody;        ///< by which workers and routers know it; new at each placing
  std::uint32_t prefill_engine = 0;  ///< index into Fleet::engines
  std::uint32_t engine = 0;
  std::uint32_t decoding_slot = 0;  ///< position in EngineSlot::decoding
  std::int64_t block_due = 0;  ///< engine steps when the next output block begins, for the router
  std::int64_t last_due = 0;   ///< engine steps when the last token is made
  Stage stage = Stage::unsent;
  Leg prefill = Leg::none;
  Leg decode = Leg::none;
  bool follows = false;        ///< is in EngineSlot::decoding
  bool prompt_queued = false;  ///< counts in Pool::queued_tokens of the pool it is placed in
  bool sent_early = false;     ///< push: all but the last layer's KV is on its way, or there
  bool was_held = false;       ///< at a router, in this attempt of its client
  std::uint8_t prefill_router = 0;
  std::uint8_t router = 0;
  std::uint8_t flows = 0;      ///< transfers under way
  std::uint16_t tries = 0;     ///< of its client, before this one
  std::uint16_t placings = 0;  ///< so far
  std::uint16_t migrations = 0;
  std::uint32_t transfers[2] = {0, 0};
  std::int64_t base = 0;  ///< output tokens made by workers before
  SimTime kv_sent{};      ///< when all of its KV could set out
};

/// Something that a fault does at an instant.
struct FaultAction {
  enum class What : std::uint8_t { strike, kill, restore };
  SimTime at;
  What what = What::strike;
  std::uint32_t pool = 0;
  std::uint32_t impact = 0;  ///< index into FleetHistory::faults, once it has struck
  FaultEvent event;
};

/// One simulation in progress. Handlers change the state of this instant; whatever follows from
/// them at this or a later instant is an event.
class Run {
 public:
  Run(const SimulationSpec& spec, const Workload& workload);
  SimulationResult run();

 private:
  // The client (simulation.cpp).
  void send(std::uint32_t request);
  void left(std::uint32_t request, RequestStatus status, SimTime at);
  auto pusher() {
    return [this](std::uint32_t request, SimTime at) {
      queue_.push(at, Phase::arrival, EventKind::send, request);
    };
  }
  void fail(std::uint32_t request, RequestStatus status);
  void retry(std::uint32_t request);
  void give_up_attempt(std::uint32_t request);
  void client_leaves(std::uint32_t request);
  void come_to_rest();

  // The engines (simulation.cpp).
  bool stale(const Event& event) const;
  void handle(const Event& event);
  void deliver(std::uint32_t request);
  void touch(std::uint32_t engine);
  void end_step(std::uint32_t engine);
  void settle(std::uint32_t engine);
  void catch_up(std::uint32_t engine);
  void start(std::uint32_t engine);
  void schedule(std::uint32_t engine);
  void schedule_rank(std::uint32_t engine);
  engine::Outcome& begin_reading();
  void finish_reading(std::uint32_t engine, engine::Outcome& outcome);
  void observe(const Pool& pool);
  void read_outcome(std::uint32_t engine, const engine::Outcome& outcome);
  void on_token(std::uint32_t engine, std::uint32_t request, const engine::TokenEvent& token);
  void on_admitted(std::uint32_t engine, std::uint32_t request, const engine::Admission& admission);

  // Choosing workers (placing.cpp).
  void place(std::uint32_t request);
  bool prefill_locally(std::uint32_t request);
  std::optional<policy::router_errc> submit(std::uint32_t request, std::uint32_t pool, bool remote);
  engine::EngineRequest request_at(const Pool& pool, std::uint32_t request, bool remote) const;
  bool hold(std::uint32_t request, std::uint32_t pool, policy::router_errc why);
  void hold_or_refuse(std::uint32_t request, std::uint32_t pool, policy::router_errc why);
  void look_at_queue(std::uint32_t pool);
  void serve_queue(std::uint32_t pool);
  void queue_timeout(std::uint32_t request);
  std::uint8_t router_of(const Pool& pool, std::uint32_t id) const;
  policy::RouteRequest route_request(const Pool& pool, const engine::EngineRequest& request) const;
  void read_mail(Pool& pool, SimTime until);
  void post(Pool& pool, RouterMail::Kind kind, std::uint8_t from, WorkerId worker,
            const policy::RouteRequest& request);
  void prompt_done(std::uint32_t pool, std::uint8_t router, std::uint32_t request);
  void leave_router(std::uint32_t pool, std::uint8_t router, std::uint32_t request);
  void tell_cache(Pool& pool, std::uint32_t engine, const kvbm::KvEvent& event);
  void send_event(Pool& pool, std::uint32_t engine, const kvbm::KvEvent& event);
  void cache_tick(std::uint32_t pool);
  void expect_events(Pool& pool);
  // What the router knows of output lengths.
  void follow_output(const Pool& pool, std::uint32_t request, std::uint32_t engine);
  void forget_output(std::uint32_t request);
  void tell_output(Pool& pool);

  // Images (encoding.cpp).
  void start_encoders();
  bool needs_encoding(std::uint32_t request) const;
  engine::Encoder make_encoder(std::uint32_t worker) const;
  void encode(std::uint32_t request);
  void choose_encoder(std::uint32_t request);
  void encoder_due(std::uint32_t worker);
  void encoder_due_at(std::uint32_t worker, SimTime at);
  void send_embeddings(std::uint32_t request, std::uint32_t engine);
  void embeddings_arrived(std::uint32_t request);
  void withdraw_images(std::uint32_t request);

  // What befalls encode workers (encode_faults.cpp).
  void strike_encoder(const FaultEvent& event);
  void encoder_fault_over(const FaultAction& action);
  void apply_to_encoder(const FaultEvent& event, double factor);
  void crash_encoder(std::uint32_t worker, std::uint32_t impact);
  void encoder_comes_back(std::uint32_t worker, std::uint32_t impact,
                          const std::optional<Duration>& after);
  void set_encoder_life(std::uint32_t worker, Life life);
  void encode_worker_due(std::uint32_t worker, std::uint16_t epoch);
  Duration encoder_start() const;
  double encode_hours(SimTime end) const;

  // From prefill to decode workers (hand_over.cpp).
  void on_prefilled(std::uint32_t request);
  void choose_decode(std::uint32_t request);
  void on_kv_wanted(std::uint32_t request);
  std::int64_t wanted(std::uint32_t request) const;
  Bytes early_bytes(std::uint32_t request) const;
  void send_early(std::uint32_t request);
  void send_kv(std::uint32_t request);
  void start_transfer(std::uint32_t request, Bytes bytes);
  void kv_arrived(std::uint32_t request, engine::TransferId transfer);
  void finish_hand_over(std::uint32_t request);
  void transfer_timeout(std::uint32_t request);
  void withdraw(std::uint32_t request, const Pool* lost = nullptr, std::uint32_t worker = 0);
  void network_moved();
  void network_due();

  // What goes wrong (faults.cpp).
  void schedule_faults();
  void fault_due(std::uint32_t action);
  void act_later(FaultAction action, SimTime at, FaultAction::What what);
  void strike(const FaultEvent& event);
  FaultAction begin_impact(const FaultEvent& event);
  void move_on(std::uint32_t request, FaultImpact& impact);
  void apply(const FaultAction& action, double factor);
  void crash(std::uint32_t pool, std::uint32_t worker, std::uint32_t impact);
  void come_back(std::uint32_t pool, std::uint32_t worker, std::uint32_t impact,
                 const std::optional<Duration>& after);
  void bury(std::uint32_t engine);
  void restart_routers(Pool& pool);
  void lose(std::uint32_t request, const Pool& pool, std::uint32_t worker, FaultImpact& impact);

  // Workers that come and go (scaling.cpp).
  void set_life(std::uint32_t pool, std::uint32_t worker, Life life);
  void start_worker(std::uint32_t pool, std::uint32_t worker);
  engine::Endpoint weights_from(const Pool& pool, std::uint32_t rank) const;
  policy::Scheduler::Progress progress(std::uint32_t engine, std::uint32_t request);
  std::int64_t computed(std::uint32_t request);
  void weights_arrived(std::uint64_t tag, engine::TransferId transfer);
  void worker_due(std::uint32_t target, std::uint16_t epoch);
  void stop_loading(WorkerSlot& worker);
  void drain(std::uint32_t pool, std::uint32_t worker);
  void retire_if_idle(std::uint32_t pool, std::uint32_t worker);
  void scale();
  policy::PoolMetrics metrics_of(Pool& pool);
  void resize(std::uint32_t pool, int by);
  void set_available(Pool& pool, std::uint32_t worker, bool available);
  void note_replicas(std::uint32_t pool);

  // Between tiers (tiering.cpp).
  void start_tier_transfers(std::uint32_t engine, const engine::Outcome& outcome);
  void tier_transfer_done(std::uint64_t tag);
  void tell_shared_tiers(std::uint32_t pool);

  // What is watched (observing.cpp).
  void mark(Mark what, std::uint32_t request, SimTime at, std::int64_t engine = -1,
            std::int64_t value = 0) {
    if (spec_.sink != nullptr) {
      spec_.sink->on_mark(what, request, at, static_cast<std::int32_t>(engine), value);
    }
  }
  void note_choice(std::uint32_t request, std::uint32_t pool, const policy::RouteChoice& choice);
  void note_step(std::uint32_t engine, SimTime next);
  void start_timeline();
  void sample(SimTime upto);
  void finish_timeline(SimTime end, SimulationResult& result);
  std::optional<Estimate> energy(SimTime end);

  // The end (accounting.cpp).
  void settle_all(SimTime end);
  SimulationResult result(SimTime end);
  void keep_sent_records();
  void add_fleet_metrics(SimTime end, Report& report) const;
  void add_adapter_metrics(const policy::AdapterUse& use, Report& report) const;
  void add_image_metrics(SimTime end, Report& report) const;
  void finish_history(SimTime end);
  void release_unfinished();
  void check_conservation(SimTime end);

  Pool& pool_of(std::uint32_t engine) { return fleet_.pools[fleet_.engines[engine].pool]; }
  /// The request that an engine or router knows by this id.
  std::uint32_t request_of(RequestId id) const {
    const auto count = static_cast<std::uint32_t>(flights_.size());
    return id.value() < count ? id.value() : id.value() % count;
  }
  /// Whether the id is of the request's current placing.
  bool current(RequestId id) const { return flights_[request_of(id)].id == id.value(); }
  RequestRecord& record(RequestId id) { return records_[request_of(id)]; }
  engine::Endpoint gpus(std::uint32_t engine) const {
    return {engine::Place::gpus, fleet_.engines[engine].site};
  }

  const SimulationSpec& spec_;
  const Plan& plan_;
  const Workload& workload_;
  const FaultSpec& faults_;
  Client client_;
  Fleet fleet_;
  engine::DeployedNetwork deployed_;
  engine::Network& network_;
  Tiering tiering_;
  EventQueue queue_;
  /// Reused; reading one may advance other engines.
  std::array<engine::Outcome, 4> outcomes_;
  std::size_t reading_ = 0;                ///< how many are being read
  std::vector<engine::Encoder> encoders_;  ///< empty: who computes a prompt encodes its images
  std::vector<SimTime> encoders_due_;      ///< when the event of each is due; max: there is none
  std::vector<Encoding> encodings_;        ///< by request, where there are encoders
  std::vector<EncodeSlot> encode_workers_;
  std::vector<std::uint32_t> unencoded_;  ///< requests that wait for an encode worker, in order
  engine::EncoderUse past_encoding_;      ///< of encoders that crashed
  double encode_hours_saved_ = 0;         ///< GPU hours of encode workers that were not there
  std::vector<Flight> flights_;
  std::vector<RequestRecord> records_;
  std::vector<FaultAction> actions_;
  FleetHistory history_;
  RandomStream retry_random_;
  std::vector<engine::Network::Arrived> arrived_;  ///< reused
  std::vector<kvbm::KvEvent> shared_events_;       ///< reused
  SimTime now_{Duration{0}};
  SimTime network_due_ = SimTime::max();
  std::uint16_t network_epoch_ = 0;
  Duration frontend_{0};
  Timeline timeline_;
  SimTime next_sample_ = SimTime::max();
  std::uint32_t entry_pool_ = 0;   ///< where requests go first
  std::uint32_t decode_pool_ = 0;  ///< disaggregated: where they go then
  bool disaggregated_ = false;
  bool placing_ = false;          ///< a placing that failed is being undone
  bool eventful_ = false;         ///< faults or an autoscaler: events without end
  std::uint32_t oldest_ = 0;      ///< all before it are done
  std::uint32_t unfinished_ = 0;  ///< requests that are not done
};

}  // namespace dyn::sim
