#include "dyn/engine/flow_network.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "dyn/core/check.h"

namespace dyn::engine {
namespace {

constexpr std::int64_t kNano = 1'000'000'000;
constexpr double kMostCapacity = 1e15;  ///< bytes/s

std::int64_t whole_capacity(BytesPerSec capacity) {
  DYN_ASSERT(capacity.count() >= 0 && capacity.count() <= kMostCapacity,
             "a link's capacity is between 0 and 1e15 bytes/s");
  return static_cast<std::int64_t>(capacity.count());
}

}  // namespace

LinkId FlowNetwork::add_link(BytesPerSec capacity) {
  links_.emplace_back();
  links_.back().capacity = whole_capacity(capacity);
  return LinkId(static_cast<std::uint32_t>(links_.size() - 1));
}

BytesPerSec FlowNetwork::capacity(LinkId link) const {
  return BytesPerSec(static_cast<double>(links_[link.value()].capacity));
}

BytesPerSec FlowNetwork::rate(FlowId flow) const {
  const Flow& of = flows_[flow.value()];
  return BytesPerSec(of.state == State::moving ? static_cast<double>(of.rate) : 0.0);
}

void FlowNetwork::set_capacity(LinkId link, BytesPerSec capacity, SimTime now) {
  catch_up(now);
  links_[link.value()].capacity = whole_capacity(capacity);
  const std::uint32_t changed = link.value();
  refill({&changed, 1}, now);
}

FlowId FlowNetwork::start(std::span<const LinkId> path, Bytes bytes, Duration latency,
                          SimTime now) {
  DYN_ASSERT(bytes.count() >= 0 && latency >= Duration{0}, "a flow has bytes and latency");
  catch_up(now);
  std::uint32_t id = 0;
  if (spare_.empty()) {
    id = static_cast<std::uint32_t>(flows_.size());
    flows_.emplace_back();
  } else {
    id = spare_.back();
    spare_.pop_back();
  }
  Flow& flow = flows_[id];
  flow.order = next_order_++;
  flow.bytes = bytes.count();
  flow.left = static_cast<Wide>(bytes.count()) * kNano;
  flow.since = now;
  flow.latency = latency;
  flow.rate = 0;
  ++active_;
  if (path.empty() || bytes.count() == 0) {
    flow.state = State::landing;
    schedule(id, now + latency);
    return FlowId(id);
  }
  flow.state = State::moving;
  touched_.clear();
  for (const LinkId link : path) {
    std::vector<std::uint32_t>& there = links_[link.value()].flows;
    DYN_ASSERT(there.empty() || there.back() != id, "a path crosses a link once");
    flow.path.push_back({link.value(), static_cast<std::uint32_t>(there.size())});
    there.push_back(id);
    touched_.push_back(link.value());
  }
  if (alone(flow)) {
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (const Hop& hop : flow.path) {
      least = std::min(least, links_[hop.link].capacity);
    }
    set_rate(id, least, now);
  } else {
    refill(touched_, now);
  }
  return FlowId(id);
}

void FlowNetwork::cancel(FlowId id, SimTime now) {
  catch_up(now);
  Flow& flow = flows_[id.value()];
  const auto there = std::find_if(landed_.begin(), landed_.end(),
                                  [id](const Landed& landed) { return landed.flow == id; });
  if (there != landed_.end()) {
    landed_.erase(there);  // it landed in this very call, and nobody has been told
    spare_.push_back(id.value());
    return;
  }
  DYN_ASSERT(flow.state != State::unused, "cancels a flow that is gone");
  if (flow.state == State::moving) {
    settle(flow, now);
    const auto moved = static_cast<Wide>(flow.bytes) * kNano - flow.left;
    flow.bytes = static_cast<std::int64_t>(moved / kNano);
    const bool others = !alone(flow);
    leave_links(flow);
    if (others) {
      refill(touched_, now);
    }
  }
  free(id.value());
  spare_.push_back(id.value());
}

std::optional<SimTime> FlowNetwork::next_event() const {
  if (!landed_.empty()) {
    return now_;
  }
  return heap_.empty() ? std::nullopt : std::optional(heap_.front().at);
}

void FlowNetwork::advance(SimTime now, std::vector<Landed>& landed) {
  catch_up(now);
  for (const Landed& flow : landed_) {
    spare_.push_back(flow.flow.value());
  }
  landed.insert(landed.end(), landed_.begin(), landed_.end());
  landed_.clear();
}

void FlowNetwork::catch_up(SimTime now) {
  DYN_ASSERT(now >= now_, "time goes back");
  while (!heap_.empty() && heap_.front().at <= now) {
    const Due due = heap_.front();
    unschedule(due.flow);
    if (flows_[due.flow].state == State::moving) {
      end_moving(due.flow, due.at);
    } else {
      land(due.flow, due.at);
    }
  }
  now_ = now;
}

/// Puts an entry where a heap has it, from `slot` towards the first or the last.
void FlowNetwork::sift(std::size_t slot, const Due& due) {
  const auto put = [this](std::size_t at, const Due& what) {
    heap_[at] = what;
    flows_[what.flow].slot = static_cast<std::uint32_t>(at);
  };
  for (; slot > 0 && heap_[(slot - 1) / 2] > due; slot = (slot - 1) / 2) {
    put(slot, heap_[(slot - 1) / 2]);
  }
  for (std::size_t child = 2 * slot + 1; child < heap_.size(); child = 2 * slot + 1) {
    child += child + 1 < heap_.size() && heap_[child] > heap_[child + 1] ? 1 : 0;
    if (!(due > heap_[child])) {
      break;
    }
    put(slot, heap_[child]);
    slot = child;
  }
  put(slot, due);
}

/// A flow is due at `at`, and no longer when it was before.
void FlowNetwork::schedule(std::uint32_t id, SimTime at) {
  Flow& flow = flows_[id];
  if (flow.slot == kNone) {
    flow.slot = static_cast<std::uint32_t>(heap_.size());
    heap_.emplace_back();
  }
  sift(flow.slot, {at, flow.order, id});
}

void FlowNetwork::unschedule(std::uint32_t id) {
  const std::uint32_t slot = std::exchange(flows_[id].slot, kNone);
  if (slot == kNone) {
    return;
  }
  const Due last = heap_.back();
  heap_.pop_back();
  if (last.flow != id) {
    sift(slot, last);
  }
}

/// All bytes are through; the last of them lands after the latency.
void FlowNetwork::end_moving(std::uint32_t id, SimTime at) {
  Flow& flow = flows_[id];
  const bool others = !alone(flow);
  leave_links(flow);
  flow.state = State::landing;
  flow.left = 0;
  if (flow.latency > Duration{0}) {
    schedule(id, at + flow.latency);
  } else {
    land(id, at);
  }
  if (others) {
    refill(touched_, at);
  }
}

void FlowNetwork::land(std::uint32_t id, SimTime at) {
  landed_.push_back({FlowId(id), at});
  free(id);
}

/// Takes it off its links, which then are in `touched_`, and counts its bytes there.
void FlowNetwork::leave_links(Flow& flow) {
  touched_.clear();
  for (const Hop& hop : flow.path) {
    Link& link = links_[hop.link];
    link.carried += flow.bytes;
    const std::uint32_t last = link.flows.back();
    link.flows[hop.position] = last;
    link.flows.pop_back();
    for (Hop& other : flows_[last].path) {
      if (other.link == hop.link) {
        other.position = hop.position;
      }
    }
    touched_.push_back(hop.link);
  }
  flow.path.clear();
}

void FlowNetwork::free(std::uint32_t id) {
  unschedule(id);
  flows_[id].state = State::unused;
  --active_;
}

void FlowNetwork::settle(Flow& flow, SimTime now) {
  const Wide moved = static_cast<Wide>(flow.rate) * static_cast<Wide>((now - flow.since).count());
  flow.left = moved >= flow.left ? 0 : flow.left - moved;
  flow.since = now;
}

void FlowNetwork::set_rate(std::uint32_t id, std::int64_t rate, SimTime now) {
  Flow& flow = flows_[id];
  settle(flow, now);
  flow.rate = rate;
  if (rate > 0) {
    const auto divisor = static_cast<Wide>(rate);
    const Wide time = (flow.left + divisor - 1) / divisor;
    const auto longest = static_cast<Wide>((SimTime::max() - now).count());
    if (time < longest) {
      schedule(id, now + Duration(static_cast<std::int64_t>(time)));
      return;
    }
  }
  unschedule(id);  // it is no longer through when it was to be
}

bool FlowNetwork::alone(const Flow& flow) const {
  return std::all_of(flow.path.begin(), flow.path.end(),
                     [this](const Hop& hop) { return links_[hop.link].flows.size() == 1; });
}

/// Fills the part of the network that these links belong to.
void FlowNetwork::refill(std::span<const std::uint32_t> links, SimTime now) {
  collect(links);
  fill();
  // In order of start, so that what follows does not depend on how the part was found.
  std::sort(part_flows_.begin(), part_flows_.end(),
            [this](std::uint32_t a, std::uint32_t b) { return flows_[a].order < flows_[b].order; });
  for (const std::uint32_t id : part_flows_) {
    Flow& flow = flows_[id];
    flow.seen = false;
    flow.filled = false;
    if (flow.next_rate != flow.rate) {
      set_rate(id, flow.next_rate, now);
    }
  }
}

/// The links that share flows with `links`, directly or by way of others, and those flows.
void FlowNetwork::collect(std::span<const std::uint32_t> links) {
  part_links_.clear();
  part_flows_.clear();
  for (const std::uint32_t link : links) {
    if (!links_[link].seen) {
      links_[link].seen = true;
      part_links_.push_back(link);
    }
  }
  for (std::size_t i = 0; i < part_links_.size(); ++i) {
    for (const std::uint32_t id : links_[part_links_[i]].flows) {
      Flow& flow = flows_[id];
      if (flow.seen) {
        continue;
      }
      flow.seen = true;
      part_flows_.push_back(id);
      for (const Hop& hop : flow.path) {
        if (!links_[hop.link].seen) {
          links_[hop.link].seen = true;
          part_links_.push_back(hop.link);
        }
      }
    }
  }
}

/// Water-filling: again and again the link with the least share for each of its flows that have
/// no rate yet gives them that share.
void FlowNetwork::fill() {
  for (const std::uint32_t id : part_links_) {
    Link& link = links_[id];
    link.residual = link.capacity;
    link.unfilled = static_cast<std::uint32_t>(link.flows.size());
    link.seen = false;
  }
  while (true) {
    std::uint32_t tightest = kNone;
    std::int64_t share = 0;
    for (const std::uint32_t id : part_links_) {
      const Link& link = links_[id];
      if (link.unfilled == 0) {
        continue;
      }
      const std::int64_t its = link.residual / link.unfilled;
      if (tightest == kNone || its < share || (its == share && id < tightest)) {
        tightest = id;
        share = its;
      }
    }
    if (tightest == kNone) {
      return;
    }
    for (const std::uint32_t id : links_[tightest].flows) {
      Flow& flow = flows_[id];
      if (flow.filled) {
        continue;
      }
      flow.filled = true;
      flow.next_rate = share;
      for (const Hop& hop : flow.path) {
        links_[hop.link].residual -= share;
        --links_[hop.link].unfilled;
      }
    }
  }
}

}  // namespace dyn::engine
