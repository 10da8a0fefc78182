#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dyn/core/quantity.h"
#include "dyn/engine/engine.h"

namespace dyn::serve {

/// One worker as /metrics shows it.
struct WorkerSnapshot {
  std::string pool;  ///< aggregated, prefill or decode
  std::uint32_t worker = 0;
  bool available = true;
  std::uint32_t routed = 0;  ///< requests that the router has booked there
  engine::EngineLoad load;
};

struct FleetSnapshot {
  std::vector<WorkerSnapshot> workers;
  std::uint64_t index_blocks = 0;
  std::uint64_t index_bytes = 0;
  std::uint64_t held = 0;  ///< requests that wait at the routers
};

/// What one request did, for the histograms. Times are the server's clock (scaled).
struct RequestTimes {
  Duration ttft{0};
  Duration e2e{0};
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
};

/// Counters and histograms in Prometheus' form. Thread-safe.
class Metrics {
 public:
  explicit Metrics(std::string model);
  ~Metrics();

  /// An answered HTTP request. `path` must come from a fixed set, as each value is a series.
  void answered(const std::string& path, int status);
  /// A request that produced at least one token.
  void generated(const RequestTimes& times);
  void transferred(Duration time);
  void client_left();
  void in_flight(int change);

  /// The text exposition (version 0.0.4).
  std::string expose(const FleetSnapshot& fleet) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::serve
