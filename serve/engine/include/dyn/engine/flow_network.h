#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/core/quantity.h"

namespace dyn::engine {

using LinkId = Id<struct LinkTag>;
using FlowId = Id<struct FlowTag>;

/// Links that flows share max-min fairly: no flow can get more without taking from one that has
/// no more than it (Bertsekas and Gallager, Data Networks, 6.5.2). A flow crosses a set of links at
/// one rate, until its bytes are through, and lands its latency later. A change of flows or of a
/// capacity is felt at once by the flows that share a link with it, directly or by way of others,
/// and by nobody else: the rates of that part are filled anew.
///
/// Exact and reproducible: rates are whole bytes/s (shares are rounded down, so that a link may
/// leave less than one byte/s a flow unused; of equal shares the link added first is filled first),
/// progress is counted in 1e-9 bytes, and a flow is through at the first whole nanosecond by which
/// all of its bytes are. Bytes are conserved: what a link has carried is the sum of the flows that
/// went through it, to the byte.
///
/// Pure: the driver says what time it is; `now` never goes back. Each call first brings the
/// network up to its `now`; what landed meanwhile is handed out by the next `advance`. An id is
/// valid until its flow is handed out or cancelled, and may be used again after that. O(flows and
/// links of the part that changes, times its bottlenecks) a change. Not thread-safe.
class FlowNetwork {
 public:
  /// A capacity of 0 stops the flows that cross it until it is raised.
  LinkId add_link(BytesPerSec capacity);
  void set_capacity(LinkId link, BytesPerSec capacity, SimTime now);

  /// A flow over `path`, each link of it once. No links or no bytes: only the latency counts.
  FlowId start(std::span<const LinkId> path, Bytes bytes, Duration latency, SimTime now);
  /// Takes a flow out, wherever it is.
  void cancel(FlowId flow, SimTime now);

  /// When the driver must call `advance` next, if nothing else happens.
  std::optional<SimTime> next_event() const;
  struct Landed {
    FlowId flow;
    SimTime at;
  };
  /// Appends the flows that landed by `now`, in order of time and of start.
  void advance(SimTime now, std::vector<Landed>& landed);

  BytesPerSec rate(FlowId flow) const;  ///< 0 once its bytes are through
  /// Whether all of its bytes are sent: it no longer takes a share of any link.
  bool through(FlowId flow) const { return flows_[flow.value()].state != State::moving; }
  BytesPerSec capacity(LinkId link) const;
  /// Bytes of flows that went through the link, those under way not included.
  Bytes carried(LinkId link) const { return Bytes(links_[link.value()].carried); }
  std::uint32_t flows() const { return active_; }  ///< started, neither landed nor cancelled
  std::uint32_t links() const { return static_cast<std::uint32_t>(links_.size()); }

 private:
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);
  __extension__ using Wide = unsigned __int128;

  struct Link {
    std::int64_t capacity = 0;         ///< bytes/s
    std::int64_t carried = 0;          ///< bytes
    std::vector<std::uint32_t> flows;  ///< that cross it now, in no order
    std::int64_t residual = 0;         ///< scratch of fill()
    std::uint32_t unfilled = 0;        ///< scratch of fill()
    bool seen = false;                 ///< scratch of collect()
  };
  struct Hop {
    std::uint32_t link = 0;
    std::uint32_t position = 0;  ///< in the link's list
  };
  enum class State : std::uint8_t { unused, moving, landing };
  struct Flow {
    State state = State::unused;
    bool seen = false;    ///< scratch of collect()
    bool filled = false;  ///< scratch of fill()
    std::uint64_t order = 0;
    std::uint32_t slot = kNone;  ///< of its entry in the heap
    std::int64_t bytes = 0;
    std::int64_t rate = 0;  ///< bytes/s
    std::int64_t next_rate = 0;
    Wide left = 0;  ///< 1e-9 bytes, at `since`
    SimTime since{};
    Duration latency{0};
    std::vector<Hop> path;
  };
  struct Due {
    SimTime at;
    std::uint64_t order = 0;
    std::uint32_t flow = 0;
    bool operator>(const Due& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  void catch_up(SimTime now);
  void sift(std::size_t slot, const Due& due);
  void schedule(std::uint32_t flow, SimTime at);
  void unschedule(std::uint32_t flow);
  void end_moving(std::uint32_t flow, SimTime at);
  void land(std::uint32_t flow, SimTime at);
  void leave_links(Flow& flow);
  void free(std::uint32_t flow);
  void settle(Flow& flow, SimTime now);
  void set_rate(std::uint32_t flow, std::int64_t rate, SimTime now);
  bool alone(const Flow& flow) const;
  void refill(std::span<const std::uint32_t> links, SimTime now);
  void collect(std::span<const std::uint32_t> links);
  void fill();

  std::vector<Link> links_;
  std::vector<Flow> flows_;
  std::vector<std::uint32_t> spare_;
  std::vector<Due> heap_;  ///< soonest first; at most one entry a flow
  std::vector<Landed> landed_;
  std::uint64_t next_order_ = 0;
  std::uint32_t active_ = 0;
  SimTime now_{};
  // Scratch of one change.
  std::vector<std::uint32_t> part_links_;
  std::vector<std::uint32_t> part_flows_;
  std::vector<std::uint32_t> touched_;
};

}  // namespace dyn::engine
