#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dyn/core/report.h"

namespace dyn::sim {

/// A pool at one time, or over the interval that begins then.
struct TimelinePoint {
  std::int32_t running = 0;
  std::int32_t waiting = 0;
  double kv_use = 0;         ///< blocks in use / blocks, of its engines together
  double prompt_tokens = 0;  ///< computed, per second
  double output_tokens = 0;  ///< made, per second
};

/// How busy a run's pools were over time. Bounded: when it is full, every second sample goes and
/// the interval doubles, so that a run of any length has between half and all of its points.
/// Samples are taken between events and change nothing.
struct Timeline {
  Duration interval{0};
  std::vector<std::string> pools;                  ///< their roles
  std::vector<std::vector<TimelinePoint>> points;  ///< by pool, then by interval from 0
};

/// Adds the tokens: a prompt's over the time from its first batch to its first token, an answer's
/// over that from its first token to its last. `prefill` and `decode`: the pools that do them.
void add_tokens(std::span<const RequestRecord> records, std::size_t prefill, std::size_t decode,
                Timeline& timeline);

/// Schema dyn.timeline/1; a list per figure.
std::string to_json(const Timeline& timeline);

}  // namespace dyn::sim
