#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/core/quantity.h"

namespace dyn::sim {

/// Which events of one instant come first. The order is part of the model:
enum class Phase : std::uint8_t {
  transfer,  ///< KV that has arrived can be used by a step that starts now; then what befalls
             ///< workers
  arrival,   ///< requests that arrive now can join a step that starts now
  engine,    ///< steps end
  start,     ///< and the next start, with all that this instant brought
};

/// What is due. The meaning of `Event::target` is in the comment.
enum class EventKind : std::uint16_t {
  send,           ///< the client sends a request (request number)
  deliver,        ///< the frontend hands a request to the router (request number)
  network_due,    ///< something has arrived over the network
  engine_due,     ///< an engine's step or run of steps ends (engine index)
  engine_start,   ///< an engine with work may start a step (engine index)
  queue_due,      ///< a router may have room for requests that it holds (pool)
  events_due,     ///< cache events reach the routers (pool)
  worker_due,     ///< a worker has started, or is back (pool << 20 | worker)
  scale_due,      ///< the autoscaler decides
  fault_due,      ///< a fault strikes or ends (index of the action)
  retry,          ///< a client tries again (request number)
  attempt_over,   ///< a client has waited long enough (request number)
  hold_over,      ///< a router has held a request long enough (request number)
  transfer_over,  ///< a hand-over has taken too long (request number)
  client_leaves,  ///< a client waits no longer for what is left of its answer (request number)
  encoder_due,    ///< an encode worker ends or begins a batch (encode worker)
};

/// A plain record in the queue. What it is about lives in the simulation's own arrays.
struct Event {
  SimTime at;
  std::uint64_t order = 0;  ///< phase << 56 | lane << 40 | sequence
  EventKind kind = EventKind::send;
  std::uint16_t epoch = 0;  ///< an event of an older epoch than its target's is stale
  std::uint32_t target = 0;
};
static_assert(sizeof(Event) == 24 && std::is_trivially_copyable_v<Event>);

/// The pending events of one simulation: a binary heap with a total order (time, phase, lane,
/// sequence), so that a run does not depend on how the heap breaks ties. The sequence is the order
/// of pushing. Lanes order events of one phase whose order of pushing depends on how the model
/// is stepped rather than on what it does. Events are cancelled by bumping their target's epoch;
/// the model drops them when they are popped. Allocates only when it grows.
class EventQueue {
 public:
  void reserve(std::size_t events) { heap_.reserve(events); }

  /// Asserts that `at` is not before the last popped event.
  void push(SimTime at, Phase phase, EventKind kind, std::uint32_t target, std::uint16_t epoch = 0,
            std::uint16_t lane = 0) {
    DYN_ASSERT(at >= now_, "an event in the past");
    const std::uint64_t order = static_cast<std::uint64_t>(phase) << 56 |
                                static_cast<std::uint64_t>(lane) << 40 | sequence_++;
    heap_.push_back({at, order, kind, epoch, target});
    std::push_heap(heap_.begin(), heap_.end(), Later{});
  }

  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  SimTime next_time() const { return heap_.front().at; }

  Event pop() {
    DYN_ASSERT(!heap_.empty(), "popped an empty queue");
    std::pop_heap(heap_.begin(), heap_.end(), Later{});
    const Event event = heap_.back();
    heap_.pop_back();
    now_ = event.at;
    ++popped_;
    mix(static_cast<std::uint64_t>(event.at.time_since_epoch().count()));
    mix(event.order);
    mix(static_cast<std::uint64_t>(event.kind) << 32 | event.target);
    return event;
  }

  const Event& top() const { return heap_.front(); }
  /// Pops an event that no longer counts: time does not move on to it.
  void skip() {
    const SimTime before = now_;
    pop();
    now_ = before;
  }

  /// Time of the last popped event.
  SimTime now() const { return now_; }
  std::uint64_t popped() const { return popped_; }
  /// Hash of every popped event in order: equal runs have equal fingerprints, and a change of the
  /// code that keeps it has changed no event.
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  /// One round of a multiply-xorshift hash (the constants of SplitMix64).
  void mix(std::uint64_t word) {
    fingerprint_ = (fingerprint_ ^ word) * 0xbf58476d1ce4e5b9u;
    fingerprint_ ^= fingerprint_ >> 31;
  }

  std::vector<Event> heap_;
  SimTime now_{Duration{0}};
  std::uint64_t sequence_ = 0;
  std::uint64_t popped_ = 0;
  std::uint64_t fingerprint_ = 0x9e3779b97f4a7c15u;
};

}  // namespace dyn::sim
