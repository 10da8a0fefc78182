#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dyn/core/profile.h"
#include "dyn/profiler/timing.h"

namespace dyn::profiler {

/// Told how far a measurement is, in [0, 1], and what is measured now.
using Progress = std::function<void(double fraction, const std::string& what)>;

/// How large the things are that are measured, and how often. Smaller ones make a run of a few
/// milliseconds, whose figures mean little: they fit into the caches.
struct MeasureSizes {
  Bytes area{0};               ///< that operands come from, >= 8 MiB; 0: four times the last cache
  std::int64_t hidden = 2048;  ///< width of the layers: a multiple of 256, up to 2048
  int min_repeats = 3;         ///< of every size, > 0, whatever the budget
};

struct MeasureOptions {
  Duration budget = std::chrono::seconds(4);  ///< about how long to measure in all
  std::string disk_folder;                    ///< where the disk is measured; empty: not at all
  std::string command;                        ///< how it was asked for, for the profile's sources
  MeasureSizes sizes;                         ///< the default is that of a real profile
  Progress progress;                          ///< may be empty
  const std::atomic<bool>* cancelled = nullptr;
  Clock* clock = nullptr;  ///< null: the machine's
};

struct Measurement {
  Profile profile;
  std::vector<std::string> warnings;  ///< what could not be measured, and why
};

/// Measures this machine's processors as an inference device: the CPU kernels over a range of
/// sizes, the memory's bandwidth and latency, the disk, and fits them into a profile, every
/// figure with its source. Uses all processors and some hundred MiB of memory meanwhile; the
/// disk's test file has no name, so nothing is left behind however this ends. Nothing if
/// cancelled. Throws Error(failed) if there is not enough memory.
std::optional<Measurement> measure_cpu(const MeasureOptions& options);

}  // namespace dyn::profiler
