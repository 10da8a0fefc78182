#pragma once

#include <cstdint>

#include "dyn/core/quantity.h"

namespace dyn::policy {

/// A tier of KV blocks below the devices of a router's workers, as the router weighs it.
struct RouterTier {
  double credit = 0;              ///< RouterConfig's for this kind of tier, 0 to 1
  bool shared = false;            ///< all workers have the same one
  Bytes block_bytes{0};           ///< of one block at one worker
  BytesPerSec read_bandwidth{0};  ///< towards a device that reads alone; 0: only the latency counts
  Duration latency{0};

  /// How long reading so many blocks takes where nothing else is read.
  Duration load_time(double blocks) const {
    const double bytes = blocks * static_cast<double>(block_bytes.count());
    const bool timed = read_bandwidth.count() > 0;
    return latency + (timed ? from_seconds(bytes / read_bandwidth.count()) : Duration{0});
  }
};

}  // namespace dyn::policy
