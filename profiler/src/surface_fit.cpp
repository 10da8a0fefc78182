#include "surface_fit.h"

#include <Eigen/IterativeLinearSolvers>
#include <Eigen/SparseCore>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "surface_grid.h"

namespace dyn::profiler {
namespace {

using Matrix = Eigen::SparseMatrix<double, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

constexpr double kSmooth = 0.03;  // weight of second differences
constexpr double kFlat = 0.01;    // weight of first differences: what no sample says stays level
constexpr double kRidge = 1e-3;   // what two surfaces can both say is said by both in part
constexpr double kSteady = 0.03;  // deviations below this (log2) count quadratically
constexpr int kReweightings = 4;
constexpr std::uint64_t kHeldOutOf = 5;  // one sample in so many

using Penalties = std::vector<Eigen::Triplet<double>>;

/// Penalties on the differences between neighbours along every axis of one grid, whose first cell
/// is `first` of all; returns the next free row.
int add_penalties(const Grid& grid, int first, int row, Penalties& entries) {
  const std::size_t cells = grid.cells();
  std::size_t stride = cells;
  for (const GridAxis& axis : grid.axes) {
    const std::vector<double>& knots = axis.knots;
    stride /= knots.size();
    for (std::size_t cell = 0; cell < cells; ++cell) {
      const std::size_t i = cell / stride % knots.size();
      const auto column = [&](std::size_t steps) {
        return first + static_cast<int>(cell + steps * stride);
      };
      if (i + 1 < knots.size()) {
        entries.emplace_back(row, column(0), std::sqrt(kFlat));
        entries.emplace_back(row++, column(1), -std::sqrt(kFlat));
      }
      if (i + 2 < knots.size()) {
        const double step = std::log2(knots[i + 1] / knots[i]);
        const double next = std::log2(knots[i + 2] / knots[i + 1]);
        const double scale = std::sqrt(kSmooth) * std::min(step, next);
        entries.emplace_back(row, column(0), scale / step);
        entries.emplace_back(row, column(1), -scale / step - scale / next);
        entries.emplace_back(row++, column(2), scale / next);
      }
    }
  }
  return row;
}

struct Constants {
  double compute = 0.6;
  double bandwidth = 0.75;
  double overhead = 5e-6;  // seconds
};

double roofline(const Constants& c, const SurfaceInput& input, const SurfaceSample& s) {
  return std::max(s.flops / (c.compute * input.peak.count()),
                  s.bytes / (c.bandwidth * input.bandwidth.count())) +
         c.overhead;
}

/// Pattern search: deterministic, and good enough, since the surfaces correct what is left.
Constants fit_constants(const SurfaceInput& input) {
  if (input.bare) {
    return {1, 1, 0};
  }
  std::vector<SurfaceSample> used;
  for (const SurfaceSample& s : input.samples) {
    if (!held_out(s)) {
      used.push_back(s);
    }
  }
  const std::size_t stride = used.size() / 1500 + 1;
  Constants best;
  double least = used.front().seconds;
  for (const SurfaceSample& s : used) {
    least = std::min(least, s.seconds);
  }
  best.overhead = 0.8 * least;
  const auto loss = [&](const Constants& c) {
    double sum = 0;
    for (std::size_t i = 0; i < used.size(); i += stride) {
      sum += std::abs(std::log(roofline(c, input, used[i]) / used[i].seconds));
    }
    return sum;
  };
  double lowest = loss(best);
  for (double step = 0.4; step > 0.005; step /= 2) {
    for (bool better = true; better;) {
      better = false;
      for (int change = 0; change < 6; ++change) {
        Constants next = best;
        const double factor = change % 2 == 0 ? 1 + step : 1 / (1 + step);
        // Bounds keep the roofline sane where few samples bear on it.
        if (change / 2 == 0) {
          next.compute = std::clamp(next.compute * factor, 0.2, 1.0);
        } else if (change / 2 == 1) {
          next.bandwidth = std::clamp(next.bandwidth * factor, 0.3, 1.0);
        } else {
          next.overhead *= factor;
        }
        const double now = loss(next);
        if (now < lowest * (1 - 1e-9)) {
          lowest = now;
          best = next;
          better = true;
        }
      }
    }
  }
  const auto rounded = [](double value) { return std::round(value * 1000) / 1000; };
  best.compute = rounded(best.compute);
  best.bandwidth = rounded(best.bandwidth);
  best.overhead = std::round(best.overhead * 1e8) / 1e8;
  return best;
}

/// Every bit of a value reaches every bit of the result, so that powers of two are spread as evenly
/// as anything else (the finaliser of SplitMix64: Steele, Lea, Flood 2014).
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

std::uint64_t hash_of(const SurfaceSample& sample) {
  std::uint64_t hash = 0;
  for (const double x : sample.at) {
    hash = mixed(hash + 0x9E3779B97F4A7C15 + static_cast<std::uint64_t>(std::llround(x * 65536)));
  }
  return hash;
}

/// A fifth of the training samples, which choices are made by.
bool chosen_by(const SurfaceSample& sample) {
  return hash_of(sample) / kHeldOutOf % kHeldOutOf == 0;
}

/// 100 * log2(measured / modelled) of every sample.
std::vector<double> residuals(const Constants& c, const SurfaceInput& input) {
  std::vector<double> result;
  for (const SurfaceSample& s : input.samples) {
    result.push_back(100 * std::log2(s.seconds / roofline(c, input, s)));
  }
  return result;
}

/// The values of the grids' cells, one grid after the other, from the samples that `use` keeps.
template <typename Keep>
std::vector<double> fit_grids(const std::vector<Grid>& grids, const SurfaceInput& input,
                              const std::vector<double>& target, Keep keep) {
  std::vector<Eigen::Triplet<double>> entries;
  std::vector<double> wanted;
  for (std::size_t i = 0; i < input.samples.size(); ++i) {
    if (!keep(input.samples[i])) {
      continue;
    }
    const int row = static_cast<int>(wanted.size());
    std::size_t first = 0;
    for (const Grid& grid : grids) {
      grid.for_corners(input.samples[i].at, [&](std::size_t cell, double weight) {
        entries.emplace_back(row, static_cast<int>(first + cell), weight);
      });
      first += grid.cells();
    }
    wanted.push_back(target[i] / 100);
  }
  std::size_t count = 0;
  int rows = 0;
  Penalties penalties;
  for (const Grid& grid : grids) {
    rows = add_penalties(grid, static_cast<int>(count), rows, penalties);
    count += grid.cells();
  }
  const auto cells = static_cast<Eigen::Index>(count);
  Matrix a(static_cast<Eigen::Index>(wanted.size()), cells);
  a.setFromTriplets(entries.begin(), entries.end());
  Matrix p(rows, cells);
  p.setFromTriplets(penalties.begin(), penalties.end());
  Matrix smooth = Matrix(p.transpose()) * p;
  Matrix ridge(cells, cells);
  ridge.setIdentity();
  smooth += kRidge * ridge;
  const Vector y = Eigen::Map<const Vector>(wanted.data(), a.rows());
  Vector weights = Vector::Ones(a.rows());
  Vector x = Vector::Zero(cells);
  const Matrix transposed = a.transpose();
  for (int round = 0; round < kReweightings; ++round) {
    const Matrix weighted = weights.asDiagonal() * a;
    const Matrix normal = Matrix(transposed * weighted) + smooth;
    Eigen::ConjugateGradient<Matrix, Eigen::Lower | Eigen::Upper> solver(normal);
    solver.setTolerance(1e-4);
    solver.setMaxIterations(500);
    x = solver.solveWithGuess(weighted.transpose() * y, x);
    weights = kSteady / (a * x - y).cwiseAbs().array().max(kSteady);
  }
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = std::round(100 * x[static_cast<Eigen::Index>(i)]) + 0.0;
  }
  return values;
}

double value_at(const std::vector<Grid>& grids, const std::vector<double>& values,
                const std::array<double, kMaxQuantities>& at) {
  double sum = 0;
  std::size_t first = 0;
  for (const Grid& grid : grids) {
    grid.for_corners(
        at, [&](std::size_t cell, double weight) { sum += weight * values[first + cell]; });
    first += grid.cells();
  }
  return sum;
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

template <typename Use>
std::vector<double> errors_of(const std::vector<Grid>& grids, const std::vector<double>& values,
                              const SurfaceInput& input, const std::vector<double>& target,
                              Use use) {
  std::vector<double> errors;
  for (std::size_t i = 0; i < input.samples.size(); ++i) {
    if (use(input.samples[i])) {
      const double off = value_at(grids, values, input.samples[i].at) - target[i];
      errors.push_back(std::abs(std::exp2(0.01 * off) - 1));
    }
  }
  return errors;
}

double three_digits(double value) {
  return std::round(value * 1000) / 1000;
}

std::vector<Grid> grids_of(const SurfaceDesign& design, const SurfaceInput& input) {
  std::vector<Grid> grids;
  for (const std::vector<DesignAxis>& axes : design) {
    Grid grid = cut(axes, input.samples);
    if (!grid.axes.empty()) {
      grids.push_back(std::move(grid));
    }
  }
  return grids;
}

/// What the grids have to write down: their cells and their knots.
std::size_t values_of(const std::vector<Grid>& grids) {
  std::size_t values = 0;
  for (const Grid& grid : grids) {
    values += grid.cells();
    for (const GridAxis& axis : grid.axes) {
      values += axis.knots.size();
    }
  }
  return values;
}

}  // namespace

bool held_out(const SurfaceSample& sample) {
  return hash_of(sample) % kHeldOutOf == 0;
}

std::vector<DesignScore> score_designs(const SurfaceInput& input) {
  const std::vector<double> target = residuals(fit_constants(input), input);
  std::vector<DesignScore> scores;
  for (std::size_t i = 0; i < input.designs.size(); ++i) {
    const std::vector<Grid> grids = grids_of(input.designs[i], input);
    DesignScore score{i, values_of(grids), 0};
    // A surface has two values a sample at most: more only make the file larger.
    if (!scores.empty() && score.values > 2 * input.samples.size()) {
      break;
    }
    const auto values = fit_grids(
        grids, input, target, [](const SurfaceSample& s) { return !held_out(s) && !chosen_by(s); });
    score.median =
        quantile(errors_of(grids, values, input, target,
                           [](const SurfaceSample& s) { return !held_out(s) && chosen_by(s); }),
                 0.5);
    if (scores.empty() || score.median < scores.back().median) {
      scores.push_back(score);
    }
  }
  return scores;
}

OperatorFit fit_surfaces(OperatorFit key, const SurfaceInput& input, std::size_t design) {
  const Constants constants = fit_constants(input);
  const std::vector<double> target = residuals(constants, input);
  const std::vector<Grid> grids = grids_of(input.designs[design], input);
  const auto values =
      fit_grids(grids, input, target, [](const SurfaceSample& s) { return !held_out(s); });
  key.surfaces.clear();
  std::size_t first = 0;
  for (const Grid& grid : grids) {
    CorrectionSurface& surface = key.surfaces.emplace_back();
    for (const GridAxis& axis : grid.axes) {
      surface.axes.push_back({input.quantities[axis.quantity], axis.knots});
    }
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first);
    surface.log2_hundredths.assign(begin, begin + static_cast<std::ptrdiff_t>(grid.cells()));
    first += grid.cells();
  }
  std::vector<double> errors =
      errors_of(grids, values, input, target, [](const SurfaceSample& s) { return held_out(s); });
  key.compute_efficiency = constants.compute;
  key.bandwidth_efficiency = constants.bandwidth;
  key.overhead = from_seconds(constants.overhead);
  key.held_out_error = three_digits(quantile(errors, 0.5));
  key.relative_error = std::max(three_digits(quantile(errors, 0.9)), 0.02);
  key.samples = static_cast<std::int64_t>(input.samples.size());
  key.provenance = Provenance::interpolated;
  return key;
}

double modelled_seconds(const OperatorFit& fit, const SurfaceInput& input,
                        const SurfaceSample& sample) {
  const Constants constants{fit.compute_efficiency, fit.bandwidth_efficiency,
                            to_seconds(fit.overhead)};
  double sum = 0;
  for (const CorrectionSurface& surface : fit.surfaces) {
    Grid grid;
    for (const SurfaceAxis& axis : surface.axes) {
      const auto named = std::find(input.quantities.begin(), input.quantities.end(), axis.quantity);
      grid.axes.push_back({static_cast<std::size_t>(named - input.quantities.begin()), axis.knots});
    }
    grid.for_corners(sample.at, [&](std::size_t cell, double weight) {
      sum += weight * surface.log2_hundredths[cell];
    });
  }
  return roofline(constants, input, sample) * std::exp2(0.01 * sum);
}

}  // namespace dyn::profiler
