#include "dyn/engine/kv_link.h"

#include <algorithm>

#include "dyn/core/check.h"

namespace dyn::engine {

KvLink::KvLink(const TransferSpec& spec, std::uint32_t sources, std::uint32_t destinations)
    : spec_(spec), send_free_(sources, SimTime{}), receive_free_(destinations, SimTime{}) {}

KvLink::Transfer KvLink::reserve(WorkerId from, WorkerId to, std::int64_t tokens, SimTime now) {
  DYN_ASSERT(from.value() < send_free_.size() && to.value() < receive_free_.size(),
             "no such worker");
  SimTime& sender = send_free_[from.value()];
  SimTime& receiver = receive_free_[to.value()];
  const SimTime begins = std::max({now, sender, receiver});
  Duration time = spec_.latency;
  if (spec_.bandwidth.count() > 0) {
    time += (spec_.bytes_per_token * tokens) / spec_.bandwidth;
  }
  sender = receiver = begins + time;
  return {begins, begins + time};
}

}  // namespace dyn::engine
