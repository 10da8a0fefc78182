#include "dyn/profiler/measure.h"

#include <fmt/format.h>

#include <algorithm>

#include "disk.h"
#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/core/version.h"
#include "dyn/kernels/backend.h"
#include "machine.h"
#include "memory.h"
#include "operators.h"
#include "session.h"

namespace dyn::profiler {
namespace {

using namespace dyn::literals;

/// The area that weights, caches and streams come from: four times the last cache, for a cache
/// that size keeps little of it, but not more than an eighth of the machine.
Bytes area_size(const Machine& machine, const MeasureSizes& sizes) {
  if (sizes.area.count() > 0) {
    return sizes.area;
  }
  const Bytes wanted = std::clamp(machine.last_level_cache * 4, 128_MiB, 512_MiB);
  return std::max(std::min(wanted, machine.memory / 8), 64_MiB);
}

std::string gigabytes(BytesPerSec rate) {
  return fmt::format("{:.1f} GB/s", rate.count() * 1e-9);
}

GpuSpec device_of(const Machine& machine, FlopsPerSec peak, const MemoryFigures& memory,
                  const std::string& source) {
  GpuSpec device;
  device.id = "cpu";
  device.name = fmt::format("{} ({} processors)", machine.processor, machine.threads);
  device.vendor = "cpu";
  device.memory = machine.memory;
  device.memory_bandwidth = std::max(memory.read, memory.triad);
  device.peak[Precision::fp32] = peak;
  device.gpus_per_node = 1;
  device.host_link = device.memory_bandwidth;
  device.sources["memory"] = "operating system: physical pages";
  device.sources["memory_bandwidth"] = fmt::format(
      "{}: read {}, write {}, triad {}, load latency {} ns", source, gigabytes(memory.read),
      gigabytes(memory.write), gigabytes(memory.triad), memory.latency.count());
  device.sources["peak"] = source + ": multiply-adds on registers, or the best GEMM";
  device.sources["host_link"] = "the device's memory is the host's";
  return device;
}

/// Highest rate of any sample, so that no efficiency exceeds 1 by the clock's boost.
FlopsPerSec best_rate(const std::vector<OperatorSamples>& operators) {
  double best = 0;
  for (const OperatorSamples& o : operators) {
    for (const Sample& s : o.samples) {
      best = std::max(best, s.flops / s.seconds);
    }
  }
  return FlopsPerSec(best);
}

void add_storage(Measurement& m, Session& session, const MeasureOptions& options,
                 const MemoryFigures& memory, const std::string& source) {
  m.profile.storage.push_back({"host_memory", memory.read, memory.write, memory.latency,
                               Provenance::measured, source + ": read, write, dependent load"});
  if (options.disk_folder.empty()) {
    return;
  }
  session.step(0.22, "disk");
  try {
    const DiskFigures disk = measure_disk(session, options.disk_folder, session.share(0.2));
    m.profile.storage.push_back(
        {"disk", disk.read, disk.write, disk.latency, Provenance::measured,
         fmt::format("{}: {} MiB in {}, {}; latency of 4 KiB reads", source, disk.bytes >> 20,
                     options.disk_folder,
                     disk.direct ? "O_DIRECT" : "through the page cache with fdatasync")});
    if (!disk.direct) {
      m.warnings.push_back("the disk under " + options.disk_folder +
                           " has no direct I/O: its read rate may be that of the page cache");
    }
  } catch (const Error& error) {
    m.warnings.push_back(error.items().front().message);
  }
}

Measurement measure(const MeasureOptions& options, Session& session) {
  const MeasureSizes& sizes = options.sizes;
  DYN_ASSERT(sizes.area == 0_B || sizes.area >= 8_MiB, "the area holds every operand");
  DYN_ASSERT(sizes.hidden >= 256 && sizes.hidden <= 2048 && sizes.hidden % 256 == 0,
             "layers have whole heads");
  const Machine machine = this_machine();
  auto backend = kernels::open_backend({}, {.reference = false, .threads = machine.threads});
  if (!backend) {
    throw Error(ErrorKind::failed, "cannot open the CPU backend: " + backend.error().message());
  }
  const auto bytes = static_cast<std::size_t>(area_size(machine, sizes).count());
  auto buffer = (*backend)->allocate(bytes);
  if (!buffer) {
    throw Error(ErrorKind::failed,
                fmt::format("not enough memory to measure: {} MiB are needed", bytes >> 20));
  }
  const std::span<std::byte> area(buffer->as<std::byte>(), bytes);
  const std::string source =
      fmt::format("measured on {} ({}, {} threads, {}) by `{}`", machine.host, machine.processor,
                  machine.threads, (*backend)->name(), options.command);

  session.step(0.0, "peak rate");
  const FlopsPerSec peak = measure_peak(session, machine.threads, session.share(0.05));
  session.step(0.04, "memory bandwidth and latency");
  fill_with_numbers(area);
  const MemoryFigures memory = measure_memory(session, area, machine.threads, session.share(0.15));
  Measurement m;
  add_storage(m, session, options, memory, source);
  const auto operators = time_operators(session, **backend, area, session.share(0.6));

  m.profile.name = machine.host;
  m.profile.created_by = options.command + " (dyn " + std::string(version()) + ")";
  m.profile.description = "this machine's processors, measured with dyn's own kernels";
  m.profile.device = device_of(machine, std::max(peak, best_rate(operators)), memory, source);
  for (const OperatorSamples& o : operators) {
    FitInput input{o.kind,
                   o.precision,
                   m.profile.device.peak.at(Precision::fp32),
                   m.profile.device.memory_bandwidth,
                   o.samples,
                   {}};
    input.source = fmt::format("{}: {}, {} sizes", source, o.what, o.samples.size());
    m.profile.operators.push_back(fit_operator(input));
  }
  session.step(1.0, "done");
  return m;
}

}  // namespace

std::optional<Measurement> measure_cpu(const MeasureOptions& options) {
  SteadyClock steady;
  Session session(options, options.clock != nullptr ? *options.clock : steady);
  try {
    return measure(options, session);
  } catch (const Cancelled&) {
    return std::nullopt;
  }
}

}  // namespace dyn::profiler
