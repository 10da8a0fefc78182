#include "slice_fits.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "dyn/core/error.h"
#include "dyn/core/quantity_text.h"

namespace dyn::profiler {
namespace {

// Files stay below 1 MB: a value takes about five characters, and a fit as many as 150 of them for
// its constants and its source.
constexpr std::size_t kMostValues = 172'000;
constexpr std::size_t kValuesOfFit = 150;

// A slice whose rows the surfaces do not describe this well says less than its nearest neighbour.
constexpr double kMostError = 0.9;

bool is_experts(OperatorKind kind) {
  return kind == OperatorKind::moe || kind == OperatorKind::moe_dispatched;
}

/// How much an error counts against others when values are short: GEMMs are most of most steps.
double weight_of(OperatorKind kind) {
  return kind == OperatorKind::gemm ? 3 : is_experts(kind) ? 1.5 : 1;
}

std::string percent(double share) {
  return shortest(std::round(share * 1000) / 10) + " %";
}

void note(const SliceFitOptions& options, const std::string& text) {
  if (options.note) {
    options.note(text);
  }
}

void check_cancelled(const SliceFitOptions& options) {
  if (options.cancelled != nullptr && *options.cancelled) {
    throw Error(ErrorKind::failed, "interrupted");
  }
}

/// Whether a profile with `fresh` has no use for `old` any more.
bool replaces(const OperatorFit& fresh, const OperatorFit& old) {
  const bool rates = fresh.kind == OperatorKind::gemm || is_experts(fresh.kind);
  if (fresh.kind != old.kind || fresh.gpus != old.gpus ||
      (rates && fresh.precision != old.precision)) {
    return false;
  }
  return old.surfaces.empty() ? old.engine.empty() || old.engine == fresh.engine
                              : key_text(fresh) == key_text(old);
}

}  // namespace

SurfaceInput surface_input(const Slice& slice, const GpuSpec& gpu) {
  SurfaceInput input;
  input.quantities = slice.quantities;
  input.designs = surface_designs(slice.key.kind);
  input.peak = gpu.peak_for(slice.key.precision);
  const bool collective = slice.samples.front().flops == 0;
  input.bandwidth = !collective                          ? gpu.memory_bandwidth
                    : slice.key.gpus > gpu.gpus_per_node ? gpu.inter_node
                                                         : gpu.intra_node;
  input.samples = slice.samples;
  input.bare = slice.key.kind == OperatorKind::attention_mixed;
  return input;
}

std::vector<OperatorFit> fit_slices(const Slices& slices, const GpuSpec& gpu,
                                    const SliceFitOptions& options) {
  struct Candidate {
    SurfaceInput input;
    OperatorFit key;
    std::vector<DesignScore> scores;
  };
  std::vector<Candidate> candidates;
  std::size_t values = 0;
  for (const auto& [name, slice] : slices) {
    check_cancelled(options);
    if (slice.samples.size() < 20) {
      note(options,
           "left out: " + name + ", only " + std::to_string(slice.samples.size()) + " rows");
      continue;
    }
    Candidate& c = candidates.emplace_back();
    c.key = slice.key;
    c.input = surface_input(slice, gpu);
    c.scores = score_designs(c.input);
    values += kValuesOfFit + c.scores.back().values;
  }
  while (values > kMostValues) {
    Candidate* cheapest = nullptr;
    double least = 0;
    for (Candidate& c : candidates) {
      if (c.scores.size() > 1) {
        const DesignScore& fine = c.scores.back();
        const DesignScore& coarse = c.scores[c.scores.size() - 2];
        const double cost = weight_of(c.key.kind) * (coarse.median - fine.median) /
                            static_cast<double>(fine.values - coarse.values);
        if (cheapest == nullptr || cost < least) {
          cheapest = &c;
          least = cost;
        }
      }
    }
    if (cheapest == nullptr) {
      break;
    }
    values -= cheapest->scores.back().values;
    cheapest->scores.pop_back();
    values += cheapest->scores.back().values;
  }
  std::vector<OperatorFit> fitted;
  for (const Candidate& c : candidates) {
    check_cancelled(options);
    OperatorFit f = fit_surfaces(c.key, c.input, c.scores.back().design);
    if (f.relative_error > kMostError) {
      note(options, "left out: " + key_text(f) + ", 90 % only within " + percent(f.relative_error));
      continue;
    }
    note(options, key_text(f) + ": " + std::to_string(f.samples) + " samples, " +
                      std::to_string(c.scores.back().values) + " values, held-out error " +
                      percent(*f.held_out_error) + ", 90 % within " + percent(f.relative_error));
    fitted.push_back(std::move(f));
  }
  return fitted;
}

void put_fits(std::vector<OperatorFit> fits, Profile& profile) {
  for (OperatorFit& old : profile.operators) {
    if (std::none_of(fits.begin(), fits.end(),
                     [&old](const OperatorFit& fresh) { return replaces(fresh, old); })) {
      fits.push_back(std::move(old));
    }
  }
  profile.operators = std::move(fits);
}

}  // namespace dyn::profiler
