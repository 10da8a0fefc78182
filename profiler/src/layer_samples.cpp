#include "layer_samples.h"

#include <algorithm>
#include <utility>

#include "dyn/core/version.h"
#include "slice_fits.h"

namespace dyn::profiler {
namespace {

constexpr std::size_t kMostSamples = 500;  // a roofline needs no more, and its fit compares all

OperatorFit plain_fit(OperatorKind kind, const std::vector<Sample>& samples, const GpuSpec& gpu,
                      const std::string& source) {
  FitInput input;
  input.kind = kind;
  input.peak = gpu.peak_for(Precision::bf16);
  input.bandwidth = gpu.memory_bandwidth;
  for (std::size_t i = 0; i < samples.size(); i += samples.size() / kMostSamples + 1) {
    input.samples.push_back(samples[i]);
  }
  input.source = source;
  OperatorFit fit = fit_operator(input);
  fit.provenance = Provenance::interpolated;
  fit.samples = static_cast<std::int64_t>(samples.size());
  return fit;
}

}  // namespace

std::vector<OperatorFit> PlainSamples::fits(const GpuSpec& gpu) const {
  std::vector<OperatorFit> fits;
  if (elementwise_.size() > 1) {
    fits.push_back(plain_fit(OperatorKind::elementwise, elementwise_, gpu, source_));
  }
  if (sampling_.size() > 1) {
    fits.push_back(plain_fit(OperatorKind::sampling, sampling_, gpu, source_));
  }
  return fits;
}

void note_too_fast(const ImportOptions& options, const std::string& file,
                   const TableSummary& summary) {
  if (options.note && summary.too_fast > 0) {
    options.note(file + ": left out " + too_fast_text(summary));
  }
}

Profile finish_import(const ImportOptions& options, const std::string& what, Profile profile,
                      const Slices& slices, const PlainSamples& plain) {
  // What the base has surfaces of is measured better than this could.
  Slices wanted;
  for (const auto& [name, slice] : slices) {
    const bool known = std::any_of(
        profile.operators.begin(), profile.operators.end(), [&slice = slice](const auto& fit) {
          return fit.kind == slice.key.kind && !fit.surfaces.empty() &&
                 fit.precision == slice.key.precision && fit.gpus == slice.key.gpus;
        });
    if (!known) {
      wanted.emplace(name, slice);
    }
  }
  std::vector<OperatorFit> fits =
      fit_slices(wanted, profile.device, {options.cancelled, options.note});
  for (OperatorFit& fit : plain.fits(profile.device)) {
    fits.push_back(std::move(fit));
  }
  put_fits(std::move(fits), profile);
  const std::string command = "dyn profile import " + what + " --gpu " + profile.device.id;
  profile.created_by = options.base ? command + " on a base made by: " + profile.created_by
                                    : command + ", dyn " + std::string(version());
  return profile;
}

}  // namespace dyn::profiler
