#include "dyn/perf/model_spread.h"

#include <algorithm>
#include <cmath>

#include "dyn/core/math.h"
#include "dyn/perf/engine_host.h"

namespace dyn::perf {
namespace {

struct EngineSpread {
  std::string_view engine;
  ModelSpread spread;
};

/// 551, 425 and 506 runs of the public sample's complete rows, and all 1,482.
constexpr EngineSpread kEngines[] = {
    {"vllm", {{0.69, 1.37}, {0.82, 1.21}}},
    {"sglang", {{0.68, 4.17}, {0.81, 1.25}}},
    {"trtllm", {{0.58, 3.48}, {0.71, 1.39}}},
};
constexpr ModelSpread kAll{{0.58, 2.57}, {0.78, 1.28}};

/// The factor of two factors on the same side of 1 that are off independently.
double together(double a, double b) {
  const double x = portable_log(a);
  const double y = portable_log(b);
  return portable_exp(std::sqrt(x * x + y * y));
}

}  // namespace

ModelSpread model_spread(const Profile& profile, std::string_view engine,
                         std::string_view version) {
  const EngineHost* const host = engine_host(profile, engine, version);
  if (host != nullptr && host->provenance == Provenance::measured) {
    return {};
  }
  const auto found = std::find_if(std::begin(kEngines), std::end(kEngines),
                                  [&](const EngineSpread& e) { return e.engine == engine; });
  return found != std::end(kEngines) ? found->spread : kAll;
}

Estimate widened(Estimate estimate, const Spread& by) {
  if (estimate.value > 0) {
    constexpr double kLeast = 0.01;  // of the value: a logarithm's end
    const double low = std::clamp(estimate.low / estimate.value, kLeast, 1.0);
    estimate.low = estimate.value / together(1 / low, 1 / by.low);
    estimate.high =
        estimate.value * together(std::max(1.0, estimate.high / estimate.value), by.high);
  }
  return estimate;
}

}  // namespace dyn::perf
