#include "collector.h"

#include <algorithm>
#include <cmath>

#include "dyn/core/quantity_text.h"

namespace dyn::profiler {
namespace {

// Small operands stay in caches, which are this many times faster than memory at most.
constexpr double kCacheSpeedup = 8;
constexpr double kTolerance = 0.95;  // clocks above the specified boost
constexpr double kTooFastShare = 0.02;

/// Three digits are what tells units apart.
std::string microseconds(double seconds) {
  const double us = seconds * 1e6;
  const double unit = std::pow(10, std::floor(std::log10(us)) - 2);
  return shortest(unit < 1 ? std::round(us / unit) / std::round(1 / unit) : std::round(us)) + " us";
}

}  // namespace

std::optional<Precision> table_precision(const std::string& name) {
  static const std::map<std::string, Precision> known{
      {"bfloat16", Precision::bf16},       {"float16", Precision::fp16},
      {"half", Precision::fp16},           {"fp8", Precision::fp8},
      {"fp8_block", Precision::fp8_block}, {"nvfp4", Precision::fp4},
      {"w4a16_mxfp4", Precision::mxfp4},   {"w4a8_mxfp4_mxfp8", Precision::mxfp4},
      {"int4_wo", Precision::int4}};
  const auto found = known.find(name);
  return found == known.end() ? std::nullopt : std::optional(found->second);
}

/// Precisions of a text column's dictionary; none where dyn has no such format.
std::vector<std::optional<Precision>> precisions(const TableColumn& column) {
  std::vector<std::optional<Precision>> result;
  for (const std::string& name : column.dictionary) {
    result.push_back(table_precision(name));
  }
  return result;
}

Collector::Collector(const TableRows& rows, const GpuSpec& gpu, Slices& slices)
    : rows_(rows), gpu_(gpu), slices_(slices) {
  summary_.rows = rows.size();
}

bool Collector::above(std::size_t row, double seconds, double least) {
  if (seconds >= kTolerance * least) {
    return true;
  }
  if (summary_.too_fast++ == 0) {
    first_ = row;
    summary_.first_too_fast = "takes " + microseconds(seconds) + ", but the " + gpu_.name +
                              " needs at least " + microseconds(least);
  }
  return false;
}

bool Collector::possible(std::size_t row, Precision precision, double flops, double bytes,
                         double seconds) {
  return above(row, seconds, device_limit(precision, flops, bytes));
}

bool Collector::add(std::size_t row, const OperatorFit& key, const SurfaceSample& sample,
                    std::optional<Precision> multiplied) {
  const double least =
      sample.flops == 0
          ? sample.bytes / gpu_.intra_node.count() / 2  // of a collective
          : device_limit(multiplied.value_or(key.precision), sample.flops, sample.bytes);
  if (!above(row, sample.seconds, least)) {
    return false;
  }
  const std::string text = key_text(key);
  Slice& slice = slices_[text];
  const auto [seen, first] = seen_.try_emplace(text);
  if (first) {
    // Another table of the same slice may have been read before.
    for (std::size_t i = 0; i < slice.samples.size(); ++i) {
      seen->second.emplace(slice.samples[i].at, i);
    }
  }
  const auto [at, fresh] = seen->second.emplace(sample.at, slice.samples.size());
  if (!fresh) {
    double& seconds = slice.samples[at->second].seconds;
    seconds = std::min(seconds, sample.seconds);
    ++summary_.repeated;
    return true;
  }
  if (slice.samples.empty()) {
    slice.key = key;
    slice.quantities = surface_quantities(key.kind);
  }
  slice.samples.push_back(sample);
  ++summary_.used;
  return true;
}

TableSummary Collector::finish() const {
  TableSummary summary = summary_;
  if (static_cast<double>(summary.too_fast) > kTooFastShare * static_cast<double>(rows_.size())) {
    rows_.refuse(first_, summary.first_too_fast + " (" + std::to_string(summary.too_fast) + " of " +
                             std::to_string(rows_.size()) + " rows are faster than it can be)");
  }
  if (summary.too_fast > 0) {
    summary.first_too_fast = "row " + std::to_string(first_ + 1) + ' ' + summary.first_too_fast;
  }
  return summary;
}

std::string too_fast_text(const TableSummary& summary) {
  return std::to_string(summary.too_fast) + " faster than the device can be" +
         (summary.too_fast > 0 ? " (the first: " + summary.first_too_fast + ")" : std::string());
}

double Collector::device_limit(Precision precision, double flops, double bytes) const {
  return std::max(flops / gpu_.peak_for(precision).count(),
                  bytes / (kCacheSpeedup * gpu_.memory_bandwidth.count()));
}

}  // namespace dyn::profiler
