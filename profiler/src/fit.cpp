#include "dyn/profiler/fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "dyn/core/error.h"

namespace dyn::profiler {
namespace {

/// No clock and no machine is steadier than this from run to run.
constexpr double kLeastError = 0.01;
constexpr std::size_t kTablePoints = 6;
/// A table whose factors are all this near to 1 says nothing.
constexpr double kNoCorrection = 0.01;
constexpr int kReweightings = 12;

/// Seconds per flop, seconds per byte, seconds per launch.
struct Constants {
  double per_flop = 0;
  double per_byte = 0;
  double overhead = 0;
};

double roofline(const Constants& c, const Sample& s) {
  return std::max(s.flops * c.per_flop, s.bytes * c.per_byte) + c.overhead;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

/// Linear between order statistics, as numpy's default.
double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - std::floor(at)) * (values[above] - values[below]);
}

// ------------------------------------------------------------------ constants

using Row = std::array<double, 3>;

/// One weighted equation: row * unknowns = target.
struct Equation {
  Row row{};
  double target = 0;
  double weight = 1;
};

/// Solves the free unknowns of the normal equations by elimination; false if they are singular.
bool solve(const std::vector<Equation>& equations, unsigned free_mask, Row& unknowns) {
  std::array<std::array<double, 4>, 3> m{};
  for (const Equation& e : equations) {
    for (unsigned i = 0; i < 3; ++i) {
      for (unsigned j = 0; j < 3; ++j) {
        m[i][j] += e.weight * e.row[i] * e.row[j];
      }
      m[i][3] += e.weight * e.row[i] * e.target;
    }
  }
  unknowns = {};
  std::vector<unsigned> free;
  for (unsigned i = 0; i < 3; ++i) {
    if ((free_mask >> i & 1u) != 0) {
      free.push_back(i);
    }
  }
  for (const unsigned pivot : free) {
    const double diagonal = m[pivot][pivot];
    if (!(diagonal > 1e-12)) {
      return false;
    }
    for (const unsigned i : free) {
      if (i != pivot) {
        const double factor = m[i][pivot] / diagonal;
        for (unsigned j = 0; j < 4; ++j) {
          m[i][j] -= factor * m[pivot][j];
        }
      }
    }
  }
  for (const unsigned i : free) {
    unknowns[i] = m[i][3] / m[i][i];
  }
  return true;
}

double squares(const std::vector<Equation>& equations, const Row& unknowns) {
  double total = 0;
  for (const Equation& e : equations) {
    double r = -e.target;
    for (unsigned i = 0; i < 3; ++i) {
      r += e.row[i] * unknowns[i];
    }
    total += e.weight * r * r;
  }
  return total;
}

/// Least squares with unknowns >= 0. With three unknowns the best of all eight ways to hold some
/// of them at zero is the exact answer.
Row non_negative_least_squares(const std::vector<Equation>& equations) {
  Row best{};
  double best_squares = squares(equations, best);
  for (unsigned mask = 1; mask < 8; ++mask) {
    Row candidate;
    if (!solve(equations, mask, candidate) ||
        std::any_of(candidate.begin(), candidate.end(), [](double v) { return v < 0; })) {
      continue;
    }
    const double s = squares(equations, candidate);
    if (s < best_squares) {
      best_squares = s;
      best = candidate;
    }
  }
  return best;
}

/// The constants if the first `compute_bound` of `samples` (ordered by falling intensity) are
/// bound by compute and the others by memory. `least` are those of a perfect device.
Constants constants_for_split(const std::vector<Sample>& samples, std::size_t compute_bound,
                              const Constants& least) {
  // Unknowns are what exceeds `least`, in units in which columns are of like size.
  double overhead_unit = std::numeric_limits<double>::infinity();
  for (const Sample& s : samples) {
    overhead_unit = std::min(overhead_unit, s.seconds);
  }
  const Row unit{least.per_flop, least.per_byte, overhead_unit};
  std::vector<Equation> equations;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Sample& s = samples[i];
    const bool compute = i < compute_bound;
    const double floor = compute ? s.flops * unit[0] : s.bytes * unit[1];
    Equation e;
    e.row[compute ? 0 : 1] = floor / s.seconds;
    e.row[2] = unit[2] / s.seconds;
    e.target = 1 - floor / s.seconds;
    equations.push_back(e);
  }
  Row x{};
  for (int round = 0; round < kReweightings; ++round) {
    x = non_negative_least_squares(equations);
    for (Equation& e : equations) {
      const double r = e.row[0] * x[0] + e.row[1] * x[1] + e.row[2] * x[2] - e.target;
      e.weight = 1 / std::max(std::abs(r), kLeastError);
    }
  }
  return {unit[0] * (1 + x[0]), unit[1] * (1 + x[1]), unit[2] * x[2]};
}

Constants fit_constants(std::vector<Sample> samples, const Constants& least) {
  std::stable_sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
    return a.flops * b.bytes > b.flops * a.bytes;
  });
  Constants best = least;
  double best_deviation = std::numeric_limits<double>::infinity();
  for (std::size_t split = 0; split <= samples.size(); ++split) {
    const Constants c = constants_for_split(samples, split, least);
    double deviation = 0;
    for (const Sample& s : samples) {
      deviation += std::abs(roofline(c, s) / s.seconds - 1);
    }
    if (deviation < best_deviation) {
      best_deviation = deviation;
      best = c;
    }
  }
  return best;
}

// ------------------------------------------------------------------ correction table

/// Measured over predicted at x.
struct Ratio {
  double x = 0;
  double ratio = 1;
};

/// Medians over up to kTablePoints groups of neighbouring x; equal x stay together.
std::vector<CorrectionPoint> make_table(std::vector<Ratio> ratios) {
  std::stable_sort(ratios.begin(), ratios.end(),
                   [](const Ratio& a, const Ratio& b) { return a.x < b.x; });
  std::vector<double> distinct;
  for (const Ratio& r : ratios) {
    if (distinct.empty() || distinct.back() != r.x) {
      distinct.push_back(r.x);
    }
  }
  const std::size_t groups = std::min(kTablePoints, distinct.size());
  std::vector<CorrectionPoint> table;
  std::size_t next = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    const double last = distinct[(g + 1) * distinct.size() / groups - 1];
    std::vector<double> factors, logs;
    for (; next < ratios.size() && ratios[next].x <= last; ++next) {
      factors.push_back(ratios[next].ratio);
      logs.push_back(std::log2(ratios[next].x));
    }
    table.push_back({std::exp2(median(logs)), median(factors)});
  }
  return table;
}

double factor_at(const std::vector<CorrectionPoint>& table, double x) {
  if (table.empty() || x <= table.front().x) {
    return table.empty() ? 1 : table.front().factor;
  }
  for (std::size_t i = 1; i < table.size(); ++i) {
    if (x <= table[i].x) {
      const CorrectionPoint& a = table[i - 1];
      const CorrectionPoint& b = table[i];
      return a.factor + (b.factor - a.factor) * std::log2(x / a.x) / std::log2(b.x / a.x);
    }
  }
  return table.back().factor;
}

/// The 90 % quantile of |measured / predicted - 1|, without a table or with one that was made
/// without the sample in question.
double error_of(const std::vector<Ratio>& ratios, bool with_table) {
  std::vector<double> deviations;
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    double factor = 1;
    if (with_table) {
      std::vector<Ratio> others = ratios;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
      factor = factor_at(make_table(std::move(others)), ratios[i].x);
    }
    deviations.push_back(std::abs(ratios[i].ratio / factor - 1));
  }
  return quantile(std::move(deviations), 0.9);
}

/// By how much errors of fresh samples exceed those of the `n` that three constants were fitted on:
/// sqrt((n + 3) / (n - 3)), Akaike's final prediction error (1970).
double optimism(std::size_t n) {
  const auto samples = static_cast<double>(n);
  return n > 4 ? std::sqrt((samples + 3) / (samples - 3)) : 2;
}

// ------------------------------------------------------------------ input

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::bad_input, "cannot fit an operator: " + what);
}

void check(const FitInput& input) {
  const auto positive = [](double v) { return std::isfinite(v) && v > 0; };
  const auto not_negative = [](double v) { return std::isfinite(v) && v >= 0; };
  if (!positive(input.peak.count()) || !positive(input.bandwidth.count())) {
    refuse("the device's peak rate and bandwidth must be above zero");
  }
  if (input.samples.size() < 2) {
    refuse("at least two samples are needed, there are " + std::to_string(input.samples.size()));
  }
  for (std::size_t i = 0; i < input.samples.size(); ++i) {
    const Sample& s = input.samples[i];
    const std::string name = "sample " + std::to_string(i) + ": ";
    if (!positive(s.seconds)) {
      refuse(name + "the time " + std::to_string(s.seconds) + " s is not above zero");
    }
    if (!positive(s.x)) {
      refuse(name + "x = " + std::to_string(s.x) + " is not above zero");
    }
    if (!not_negative(s.flops) || !not_negative(s.bytes) || s.flops + s.bytes <= 0) {
      refuse(name + "flops and bytes must not be negative, nor both zero");
    }
  }
}

}  // namespace

OperatorFit fit_operator(const FitInput& input) {
  check(input);
  const Constants least{1 / input.peak.count(), 1 / input.bandwidth.count(), 0};
  const Constants c = fit_constants(input.samples, least);
  OperatorFit fit;
  fit.kind = input.kind;
  fit.precision = input.precision;
  fit.compute_efficiency = std::min(1.0, least.per_flop / c.per_flop);
  fit.bandwidth_efficiency = std::min(1.0, least.per_byte / c.per_byte);
  fit.overhead = from_seconds(c.overhead);
  fit.provenance = Provenance::measured;
  fit.source = input.source;
  std::vector<Ratio> ratios;
  for (const Sample& s : input.samples) {
    ratios.push_back({s.x, s.seconds / predicted_seconds(fit, input.peak, input.bandwidth, s)});
  }
  double error = error_of(ratios, false);
  const std::vector<CorrectionPoint> table = make_table(ratios);
  const bool says_something = std::any_of(table.begin(), table.end(), [](const auto& point) {
    return std::abs(point.factor - 1) > kNoCorrection;
  });
  if (says_something && ratios.size() > 2) {
    const double corrected = error_of(ratios, true);
    if (corrected < error) {
      error = corrected;
      fit.correction = table;
    }
  }
  fit.relative_error = std::max(error * optimism(ratios.size()), kLeastError);
  return fit;
}

double predicted_seconds(const OperatorFit& fit, FlopsPerSec peak, BytesPerSec bandwidth,
                         const Sample& sample) {
  const double compute = sample.flops / (fit.compute_efficiency * peak.count());
  const double memory = sample.bytes / (fit.bandwidth_efficiency * bandwidth.count());
  return (std::max(compute, memory) + to_seconds(fit.overhead)) *
         factor_at(fit.correction, sample.x);
}

}  // namespace dyn::profiler
