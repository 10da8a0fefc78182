#pragma once

#include <string>

#include "dyn/core/quantity.h"
#include "session.h"

namespace dyn::profiler {

struct DiskFigures {
  BytesPerSec read{0};     ///< sequential, 1 MiB at a time
  BytesPerSec write{0};    ///< the same, with the final flush
  Duration latency{0};     ///< median read of 4 KiB at a random place
  bool direct = false;     ///< past the page cache
  std::int64_t bytes = 0;  ///< written
};

/// Measures the disk under `folder` with a file that has no name there: it is gone when the
/// process is, however that ends. Throws Error(failed) if that file cannot be made or written.
DiskFigures measure_disk(Session& session, const std::string& folder, Duration budget);

}  // namespace dyn::profiler
