#include "surface_fit.h"

#include <Eigen/IterativeLinearSolvers>
#include <Eigen/SparseCore>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

namespace dyn::profiler {
namespace {

using Matrix = Eigen::SparseMatrix<double, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

constexpr double kSmooth = 0.3;   // weight of second differences
constexpr double kFlat = 0.01;    // weight of first differences: what no sample says stays level
constexpr double kSteady = 0.03;  // deviations below this (log2) count quadratically
constexpr int kReweightings = 3;
constexpr double kHeldOut = 0.1;
constexpr double kDecimals = 100;  // values of a surface are rounded to 0.01

/// Between which knots x lies, and how far along, in log2.
struct Place {
  std::size_t knot = 0;
  double fraction = 0;
};

Place place(const std::vector<double>& knots, double x) {
  if (knots.size() == 1 || x <= knots.front()) {
    return {};
  }
  if (x >= knots.back()) {
    return {knots.size() - 2, 1};
  }
  const auto above = std::upper_bound(knots.begin(), knots.end(), x);
  const auto knot = static_cast<std::size_t>(above - knots.begin()) - 1;
  return {knot, std::log2(x / knots[knot]) / std::log2(knots[knot + 1] / knots[knot])};
}

/// Calls `use(cell, weight)` for every corner around a point.
template <typename Use>
void for_corners(const Grid& grid, const std::array<double, kMaxAxes>& at, Use use) {
  std::array<Place, kMaxAxes> places;
  for (std::size_t d = 0; d < grid.size(); ++d) {
    places[d] = place(grid[d], at[d]);
  }
  for (unsigned corner = 0; corner < (1U << grid.size()); ++corner) {
    std::size_t cell = 0;
    double weight = 1;
    for (std::size_t d = 0; d < grid.size(); ++d) {
      const bool upper = ((corner >> d) & 1) != 0;
      weight *= upper ? places[d].fraction : 1 - places[d].fraction;
      cell = cell * grid[d].size() + places[d].knot + (upper && grid[d].size() > 1 ? 1 : 0);
    }
    if (weight > 0) {
      use(cell, weight);
    }
  }
}

std::size_t cells_of(const Grid& grid) {
  std::size_t cells = 1;
  for (const auto& knots : grid) {
    cells *= knots.size();
  }
  return cells;
}

/// Penalties on the differences between neighbours along every axis.
Matrix penalties(const Grid& grid) {
  std::vector<Eigen::Triplet<double>> entries;
  const std::size_t cells = cells_of(grid);
  int row = 0;
  std::size_t stride = cells;
  for (const auto& knots : grid) {
    const std::size_t count = knots.size();
    stride /= count;
    for (std::size_t cell = 0; cell < cells; ++cell) {
      const std::size_t i = cell / stride % count;
      const auto column = [&](std::size_t steps) {
        return static_cast<int>(cell + steps * stride);
      };
      if (i + 1 < count) {
        entries.emplace_back(row, column(0), std::sqrt(kFlat));
        entries.emplace_back(row++, column(1), -std::sqrt(kFlat));
      }
      if (i + 2 < count) {
        const double first = std::log2(knots[i + 1] / knots[i]);
        const double second = std::log2(knots[i + 2] / knots[i + 1]);
        const double scale = std::sqrt(kSmooth) * std::min(first, second);
        entries.emplace_back(row, column(0), scale / first);
        entries.emplace_back(row, column(1), -scale / first - scale / second);
        entries.emplace_back(row++, column(2), scale / second);
      }
    }
  }
  Matrix matrix(row, static_cast<int>(cells));
  matrix.setFromTriplets(entries.begin(), entries.end());
  return matrix;
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

/// Pattern search: deterministic, and good enough, since the surface corrects what is left.
Constants fit_constants(const SurfaceInput& input) {
  const std::size_t stride = input.samples.size() / 1500 + 1;
  Constants best;
  double least = input.samples.front().seconds;
  for (const SurfaceSample& s : input.samples) {
    least = std::min(least, s.seconds);
  }
  best.overhead = 0.8 * least;
  const auto loss = [&](const Constants& c) {
    double sum = 0;
    for (std::size_t i = 0; i < input.samples.size(); i += stride) {
      const SurfaceSample& s = input.samples[i];
      sum += std::abs(std::log(roofline(c, input, s) / s.seconds));
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

/// Whether a sample is of the tenth that is held out: the same on every machine.
bool held_out(const SurfaceSample& sample) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const double x : sample.at) {
    const auto bits = static_cast<std::uint64_t>(std::llround(x * 65536));
    hash = (hash ^ bits) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 29;
  }
  return static_cast<double>(hash % 1000) < kHeldOut * 1000;
}

/// log2(measured / modelled) of every sample.
std::vector<double> residuals(const Constants& c, const SurfaceInput& input) {
  std::vector<double> result;
  for (const SurfaceSample& s : input.samples) {
    result.push_back(std::log2(s.seconds / roofline(c, input, s)));
  }
  return result;
}

/// The values of a grid's cells, from the samples that `use` keeps.
template <typename Keep>
std::vector<double> fit_grid(const Grid& grid, const SurfaceInput& input,
                             const std::vector<double>& target, Keep keep) {
  std::vector<Eigen::Triplet<double>> entries;
  std::vector<double> wanted;
  for (std::size_t i = 0; i < input.samples.size(); ++i) {
    if (keep(input.samples[i])) {
      const int row = static_cast<int>(wanted.size());
      for_corners(grid, input.samples[i].at, [&](std::size_t cell, double weight) {
        entries.emplace_back(row, static_cast<int>(cell), weight);
      });
      wanted.push_back(target[i]);
    }
  }
  const auto cells = static_cast<Eigen::Index>(cells_of(grid));
  Matrix a(static_cast<Eigen::Index>(wanted.size()), cells);
  a.setFromTriplets(entries.begin(), entries.end());
  const Matrix p = penalties(grid);
  const Vector y = Eigen::Map<const Vector>(wanted.data(), a.rows());
  Vector weights = Vector::Ones(a.rows());
  Vector x = Vector::Zero(cells);
  const Matrix smooth = p.transpose() * p;
  for (int round = 0; round < kReweightings; ++round) {
    const Matrix weighted = weights.asDiagonal() * a;
    Matrix normal = Matrix(a.transpose() * weighted) + smooth;
    for (Eigen::Index i = 0; i < cells; ++i) {
      normal.coeffRef(i, i) += 1e-6;
    }
    Eigen::ConjugateGradient<Matrix, Eigen::Lower | Eigen::Upper> solver(normal);
    solver.setTolerance(1e-4);
    solver.setMaxIterations(500);
    x = solver.solveWithGuess(weighted.transpose() * y, x);
    weights = kSteady / (a * x - y).cwiseAbs().array().max(kSteady);
  }
  std::vector<double> values(static_cast<std::size_t>(cells));
  for (Eigen::Index i = 0; i < cells; ++i) {
    values[static_cast<std::size_t>(i)] = std::round(x[i] * kDecimals) / kDecimals + 0.0;
  }
  return values;
}

double value_at(const Grid& grid, const std::vector<double>& values,
                const std::array<double, kMaxAxes>& at) {
  double sum = 0;
  for_corners(grid, at, [&](std::size_t cell, double weight) { sum += weight * values[cell]; });
  return sum;
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

/// The knots between which there are samples, and one on either side.
Grid cut(const Grid& grid, const std::vector<SurfaceSample>& samples) {
  Grid result(grid.size());
  for (std::size_t d = 0; d < grid.size(); ++d) {
    double low = samples.front().at[d];
    double high = low;
    for (const SurfaceSample& s : samples) {
      low = std::min(low, s.at[d]);
      high = std::max(high, s.at[d]);
    }
    for (std::size_t i = 0; i < grid[d].size(); ++i) {
      const double knot = grid[d][i];
      const bool below = knot <= low && i + 1 < grid[d].size() && grid[d][i + 1] <= low;
      const bool above = knot >= high && i > 0 && grid[d][i - 1] >= high;
      if (!below && !above) {
        result[d].push_back(knot);
      }
    }
    if (low == high) {
      result[d] = {low};
    }
  }
  return result;
}

struct Score {
  double median = 0;
  double ninety = 0;
};

Score score(const Grid& grid, const std::vector<double>& values, const SurfaceInput& input,
            const std::vector<double>& target, bool held) {
  std::vector<double> errors;
  for (std::size_t i = 0; i < input.samples.size(); ++i) {
    if (held_out(input.samples[i]) == held) {
      errors.push_back(
          std::abs(std::exp2(value_at(grid, values, input.samples[i].at) - target[i]) - 1));
    }
  }
  return {quantile(errors, 0.5), quantile(errors, 0.9)};
}

double three_digits(double value) {
  return std::round(value * 1000) / 1000;
}

}  // namespace

OperatorFit fit_surface(OperatorFit key, const SurfaceInput& input) {
  const Constants constants = fit_constants(input);
  const std::vector<double> target = residuals(constants, input);
  std::vector<std::pair<Grid, Score>> tried;
  double best = 1e9;
  for (const Grid& candidate : input.grids) {
    const Grid grid = cut(candidate, input.samples);
    if (!tried.empty() && cells_of(grid) > input.samples.size()) {
      break;
    }
    const auto values =
        fit_grid(grid, input, target, [](const SurfaceSample& s) { return !held_out(s); });
    const Score got = score(grid, values, input, target, true);
    tried.emplace_back(grid, got);
    best = std::min(best, got.median);
  }
  const auto chosen = std::find_if(tried.begin(), tried.end(), [best](const auto& t) {
    return t.second.median <= std::max(1.1 * best, best + 0.003);
  });
  const Grid& grid = chosen->first;
  CorrectionSurface surface;
  for (std::size_t d = 0; d < grid.size(); ++d) {
    if (grid[d].size() > 1) {
      surface.axes.push_back({input.quantities[d], grid[d]});
    }
  }
  surface.log2_factors = fit_grid(grid, input, target, [](const SurfaceSample&) { return true; });
  if (surface.axes.empty()) {
    surface.axes.push_back({input.quantities.front(), grid.front()});
  }
  key.compute_efficiency = constants.compute;
  key.bandwidth_efficiency = constants.bandwidth;
  key.overhead = from_seconds(constants.overhead);
  key.surface = std::move(surface);
  key.held_out_error = three_digits(chosen->second.median);
  key.relative_error = std::max(0.02, three_digits(chosen->second.ninety));
  key.samples = static_cast<std::int64_t>(input.samples.size());
  key.provenance = Provenance::interpolated;
  return key;
}

double surface_at(const CorrectionSurface& surface, const std::array<double, kMaxAxes>& at) {
  Grid grid;
  for (const SurfaceAxis& axis : surface.axes) {
    grid.push_back(axis.knots);
  }
  return value_at(grid, surface.log2_factors, at);
}

}  // namespace dyn::profiler
