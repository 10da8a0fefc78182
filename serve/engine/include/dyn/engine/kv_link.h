#pragma once

#include <cstdint>
#include <vector>

#include "dyn/core/id.h"
#include "dyn/core/plan.h"
#include "dyn/core/quantity.h"

namespace dyn::engine {

/// When KV transfers between workers end. Each worker has one sending and one receiving port of
/// the same bandwidth; a transfer holds both, first come first served, for latency + bytes /
/// bandwidth; a bandwidth of 0 means that only the latency counts. Pure bookkeeping, used by `sim`
/// and by the simulated workers of `serve`.
class KvLink {
 public:
  KvLink(const TransferSpec& spec, std::uint32_t sources, std::uint32_t destinations);

  struct Transfer {
    SimTime begins;
    SimTime ends;
  };
  /// Books the transfer of `tokens` tokens of KV from a prefill worker to a decode worker.
  Transfer reserve(WorkerId from, WorkerId to, std::int64_t tokens, SimTime now);

 private:
  TransferSpec spec_;
  std::vector<SimTime> send_free_;
  std::vector<SimTime> receive_free_;
};

}  // namespace dyn::engine
