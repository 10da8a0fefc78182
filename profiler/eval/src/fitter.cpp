#include "fitter.h"

#include <fmt/format.h>

#include <cmath>

#include "dyn/core/math.h"

namespace dyn::eval {
namespace {

constexpr double kMostFactor = 5;  ///< logarithm of a factor; a search may try any

constexpr std::size_t kBins = 3;  ///< of prompt length, for TTFT
constexpr std::size_t kRequestsOfBin = 4;
constexpr double kFittedPart = 2.0 / 3;  ///< of each run, where the rest is held out
/// A constant is told by the runs if its standard error is at most this part of the figure that
/// it adds to (ITL, or TTFT for the frontend), or of itself for factors.
constexpr double kMostDeviation = 0.2;

/// The relative error of a mean, what depends on prompt length (x) left out.
template <class X, class Y>
double deviation_of(const std::vector<std::size_t>& requests, X x, Y y) {
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
  for (const std::size_t i : requests) {
    const double a = x(i);
    const double b = y(i);
    if (b > 0) {
      n += 1;
      sx += a;
      sy += b;
      sxx += a * a;
      sxy += a * b;
      syy += b * b;
    }
  }
  if (n < 3) {
    return 0;
  }
  const double xx = sxx - sx * sx / n;
  const double xy = sxy - sx * sy / n;
  const double yy = syy - sy * sy / n;
  const double rest = std::max(0.0, xx > 0 ? yy - xy * xy / xx : yy);
  return std::sqrt(rest / (n - 2) / n) / (sy / n);
}

/// The means that are fitted: TTFT by prompt length, and ITL.
std::vector<Mean> means_of(const RecordedRun& run, const std::vector<Times>& times, Part part) {
  std::vector<std::size_t> requests;
  for (std::size_t i = part.begin; i < part.end; ++i) {
    requests.push_back(i);
  }
  const auto isl = [&](std::size_t i) { return static_cast<double>(run.requests[i].isl); };
  const auto itl = [&](std::size_t i) { return run.requests[i].itl_ms(); };
  const auto ttft = [&](std::size_t i) { return run.requests[i].ttft_ms; };
  std::vector<Mean> means{mean_of(requests, itl, [&](std::size_t i) { return times[i].itl; })};
  means.back().deviation = std::max(deviation_of(requests, isl, itl), kLeastDeviation);
  std::stable_sort(requests.begin(), requests.end(), [&](std::size_t a, std::size_t b) {
    return run.requests[a].isl < run.requests[b].isl;
  });
  const std::size_t bins =
      run.means_only ? 1 : std::clamp<std::size_t>(requests.size() / kRequestsOfBin, 1, kBins);
  for (std::size_t bin = 0; bin < bins; ++bin) {
    const auto begin = static_cast<std::ptrdiff_t>(requests.size() * bin / bins);
    const auto end = static_cast<std::ptrdiff_t>(requests.size() * (bin + 1) / bins);
    const std::vector<std::size_t> chosen(requests.begin() + begin, requests.begin() + end);
    means.push_back(mean_of(chosen, ttft, [&](std::size_t i) { return times[i].ttft; }));
    // The bins of one run share its weight.
    means.back().deviation = std::max(deviation_of(chosen, isl, ttft), kLeastDeviation) *
                             std::sqrt(static_cast<double>(bins));
  }
  return means;
}

std::string hint_for(Constant a, Constant b) {
  const auto is = [&](Constant c) { return a == c || b == c; };
  if (is(Constant::step_base) && is(Constant::step_per_sequence)) {
    return "add a run with another number of requests in flight, or fit only one of them "
           "(--fit)";
  }
  if (is(Constant::decode_time)) {
    return "add runs with other contexts and concurrencies, or fit only one of them (--fit)";
  }
  return "add a run with other prompt lengths or another load, or leave it out (--fit)";
}

}  // namespace

Part all_of(const RecordedRun& run) {
  return {0, run.requests.size()};
}

Part first_part(const RecordedRun& run) {
  if (run.means_only) {
    return all_of(run);
  }
  const auto n = static_cast<double>(run.requests.size());
  return {0, static_cast<std::size_t>(std::ceil(n * kFittedPart))};
}

Fitter::Fitter(const RunSimulator& simulator, const std::vector<RecordedRun>& runs,
               const std::vector<Constant>& constants, const ConstantValues& start)
    : simulator_(simulator), runs_(runs), constants_(constants), start_(start) {
  for (const RecordedRun& run : runs) {
    itl_ += run.mean_itl_ms() / static_cast<double>(runs.size());
    ttft_ += run.mean_ttft_ms() / static_cast<double>(runs.size());
    double in_flight = 0;
    double end = 1e-9;
    for (const RecordedRequest& request : run.requests) {
      in_flight += request.e2e_ms;
      end = std::max(end, to_millis(request.sent) + request.e2e_ms);
    }
    const double sequences = run.concurrency > 0 ? run.concurrency : in_flight / end;
    sequences_ = std::max(sequences_, sequences);
  }
  itl_ = std::max(itl_, 1e-6);
}

ConstantValues Fitter::values(const std::vector<double>& parameters) const {
  ConstantValues out = start_;
  for (std::size_t i = 0; i < constants_.size(); ++i) {
    value_of(out, constants_[i]) =
        is_factor(constants_[i])
            ? portable_exp(std::clamp(parameters[i], -kMostFactor, kMostFactor))
            : parameters[i];
  }
  return out;
}

LeastSquaresFit Fitter::fit(bool all) const {
  LeastSquares problem;
  for (const Constant constant : constants_) {
    const double start = value_of(start_, constant);
    problem.start.push_back(is_factor(constant) ? portable_log(start) : start);
    problem.step.push_back(0.1 * unit(constant));
    problem.least.push_back(is_factor(constant)              ? -10.0
                            : constant == Constant::frontend ? kLeastFrontend
                                                             : 0.0);
  }
  problem.residuals = [&](const std::vector<double>& parameters) {
    std::vector<double> residuals;
    for (const RecordedRun& run : runs_) {
      const std::vector<Times> times = simulator_.run(run, values(parameters));
      for (const Mean& mean : means_of(run, times, all ? all_of(run) : first_part(run))) {
        if (mean.measured > 0) {
          residuals.push_back(portable_log(mean.predicted / mean.measured) / mean.deviation);
        }
      }
    }
    return residuals;
  };
  return solve(problem);
}

/// What a constant is measured by: the figure that it adds to.
double Fitter::unit(Constant constant) const {
  switch (constant) {
    case Constant::step_base:
      return itl_;
    case Constant::step_per_sequence:
      return itl_ / std::max(1.0, sequences_);
    case Constant::frontend:
      return ttft_;
    case Constant::prefill_time:
    case Constant::decode_time:
      return 1;
  }
  return 1;
}

std::vector<ErrorItem> Fitter::unidentified(const LeastSquaresFit& fit) const {
  std::vector<ErrorItem> errors;
  const std::size_t n = constants_.size();
  for (std::size_t i = 0; i < n; ++i) {
    const double part = fit.deviation[i] / unit(constants_[i]);
    if (part <= kMostDeviation) {
      continue;
    }
    std::size_t partner = i;
    for (std::size_t j = 0; j < n; ++j) {
      if (j != i && (partner == i || std::abs(fit.correlation[i * n + j]) >
                                         std::abs(fit.correlation[i * n + partner]))) {
        partner = j;
      }
    }
    const bool pair = partner != i && std::abs(fit.correlation[i * n + partner]) > 0.5;
    errors.push_back(
        {fmt::format("{} is not identified by {}: {}", to_text(constants_[i]), names(),
                     pair ? fmt::format("it cannot be told from {}", to_text(constants_[partner]))
                          : std::string("no figure depends on it enough")),
         {},
         hint_for(constants_[i], pair ? constants_[partner] : constants_[i]),
         {}});
  }
  return errors;
}

std::string Fitter::names() const {
  std::string out;
  for (const RecordedRun& run : runs_) {
    out += (out.empty() ? "" : " and ") + run.name;
  }
  return out;
}

}  // namespace dyn::eval
