#include "constants.h"

#include <algorithm>
#include <set>

#include "dyn/core/math.h"
#include "dyn/perf/engine_host.h"

namespace dyn::eval {
namespace {

constexpr double kDecodeTokens = 32;
constexpr double kPrefillTokens = 256;

/// A search for constants may try any: one beyond this is none of a step or a request.
constexpr double kLongestMs = 1e5;

Duration milliseconds(double ms) {
  return from_seconds(std::clamp(ms, 0.0, kLongestMs) * 1e-3);
}

/// `points` at x, as profiles define it.
double factor_at(const std::vector<CorrectionPoint>& points, double x) {
  if (points.empty()) {
    return 1;
  }
  if (x <= points.front().x) {
    return points.front().factor;
  }
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (x <= points[i].x) {
      const double part =
          portable_log(x / points[i - 1].x) / portable_log(points[i].x / points[i - 1].x);
      return points[i - 1].factor + part * (points[i].factor - points[i - 1].factor);
    }
  }
  return points.back().factor;
}

/// Multiplies a correction by a factor that goes from one value to the other between the knots.
void scale_by_tokens(std::vector<CorrectionPoint>& points, double decode, double prefill) {
  const auto scale = [&](double x) {
    const double part = std::clamp(
        portable_log(x / kDecodeTokens) / portable_log(kPrefillTokens / kDecodeTokens), 0.0, 1.0);
    return decode + part * (prefill - decode);
  };
  std::set<double> knots{kDecodeTokens, kPrefillTokens};
  for (const CorrectionPoint& point : points) {
    knots.insert(point.x);
  }
  std::vector<CorrectionPoint> out;
  for (const double x : knots) {
    out.push_back({x, factor_at(points, x) * scale(x)});
  }
  points = std::move(out);
}

void scale_all(std::vector<CorrectionPoint>& points, double factor) {
  if (points.empty()) {
    points.push_back({1, 1});
  }
  for (CorrectionPoint& point : points) {
    point.factor *= factor;
  }
}

}  // namespace

const char* to_text(Constant constant) {
  switch (constant) {
    case Constant::step_base:
      return "step_base";
    case Constant::step_per_sequence:
      return "step_per_sequence";
    case Constant::frontend:
      return "frontend_per_request";
    case Constant::prefill_time:
      return "prefill_time";
    case Constant::decode_time:
      return "decode_time";
  }
  return "";
}

ConstantValues constants_of(const Profile& profile, const EngineConfig& engine) {
  ConstantValues values{0, 0, kLeastFrontend, 1, 1};
  if (const EngineHost* host =
          perf::engine_host(profile, engine.kind, engine.version.value_or(""))) {
    value_of(values, Constant::step_base) = to_millis(host->step_base);
    value_of(values, Constant::step_per_sequence) = to_millis(host->step_per_sequence);
    value_of(values, Constant::frontend) =
        std::max(kLeastFrontend, to_millis(host->frontend_per_request));
  }
  return values;
}

EngineHost* host_of(Profile& profile, const EngineConfig& engine) {
  return const_cast<EngineHost*>(
      perf::engine_host(profile, engine.kind, engine.version.value_or("")));
}

Profile engine_profile(Profile profile) {
  if (profile.device.vendor == "cpu") {
    for (OperatorFit& fit : profile.operators) {
      if (!fit.correction.empty()) {
        fit.correction.clear();
        fit.source += "; its corrections by size left out by `dyn profile calibrate`";
      }
    }
  }
  return profile;
}

Profile with_constants(Profile profile, const EngineConfig& engine, const ConstantValues& values) {
  EngineHost* host = host_of(profile, engine);
  if (host == nullptr) {
    profile.engines.emplace_back();
    host = &profile.engines.back();
    host->engine = engine.kind;
  }
  host->step_base = milliseconds(value_of(values, Constant::step_base));
  host->step_per_sequence = milliseconds(value_of(values, Constant::step_per_sequence));
  host->frontend_per_request = milliseconds(value_of(values, Constant::frontend));
  const double prefill = value_of(values, Constant::prefill_time);
  const double decode = value_of(values, Constant::decode_time);
  if (prefill == 1 && decode == 1) {
    return profile;
  }
  for (OperatorFit& fit : profile.operators) {
    switch (fit.kind) {
      case OperatorKind::gemm:
      case OperatorKind::moe:
      case OperatorKind::moe_dispatched:
        scale_by_tokens(fit.correction, decode, prefill);
        break;
      case OperatorKind::attention_prefill:
      case OperatorKind::latent_prefill:
      case OperatorKind::sparse_prefill:
      case OperatorKind::linear_prefill:
        scale_all(fit.correction, prefill);
        break;
      default:
        scale_all(fit.correction, decode);
        break;
    }
  }
  return profile;
}

}  // namespace dyn::eval
