#pragma once

#include <cstddef>
#include <span>

#include "dyn/core/quantity.h"
#include "session.h"

namespace dyn::profiler {

/// What this machine's memory does, all processors together.
struct MemoryFigures {
  BytesPerSec read{0};
  BytesPerSec write{0};
  BytesPerSec triad{0};  ///< a = b + s * c, counted as three streams as STREAM does
  Duration latency{0};   ///< of a dependent load
};

/// Measures over `area`, which must be larger than the caches, aligned to 64 bytes and already
/// touched; destroys its contents.
MemoryFigures measure_memory(Session& session, std::span<std::byte> area, int threads,
                             Duration budget);

/// The rate of multiply-adds on registers, all processors together; best of several runs.
FlopsPerSec measure_peak(Session& session, int threads, Duration budget);

}  // namespace dyn::profiler
