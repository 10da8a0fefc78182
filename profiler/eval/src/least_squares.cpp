#include "least_squares.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace dyn::eval {
namespace {

constexpr int kIterations = 25;
constexpr double kEnough = 1e-4;     ///< relative fall of the cost that is not worth another round
constexpr double kSingular = 1e-10;  ///< pivots below this part of their diagonal

using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;

/// The inverse of a symmetric positive matrix by Gauss-Jordan elimination; none if it has none.
std::optional<Matrix> inverse(Matrix a) {
  const std::size_t n = a.size();
  Matrix inv(n, Vector(n, 0));
  Vector scale(n);
  for (std::size_t i = 0; i < n; ++i) {
    inv[i][i] = 1;
    scale[i] = a[i][i];
  }
  for (std::size_t k = 0; k < n; ++k) {
    if (!(a[k][k] > kSingular * scale[k])) {
      return std::nullopt;
    }
    const double pivot = a[k][k];
    for (std::size_t j = 0; j < n; ++j) {
      a[k][j] /= pivot;
      inv[k][j] /= pivot;
    }
    for (std::size_t i = 0; i < n; ++i) {
      const double factor = a[i][k];
      for (std::size_t j = 0; i != k && j < n; ++j) {
        a[i][j] -= factor * a[k][j];
        inv[i][j] -= factor * inv[k][j];
      }
    }
  }
  return inv;
}

double cost_of(const Vector& residuals) {
  double sum = 0;
  for (const double r : residuals) {
    sum += r * r;
  }
  return sum;
}

/// Derivatives of the residuals, one row a parameter. Central, but forward at the bound.
Matrix derivatives(const LeastSquares& problem, const Vector& at) {
  Matrix rows;
  for (std::size_t i = 0; i < at.size(); ++i) {
    Vector up = at;
    Vector down = at;
    up[i] += problem.step[i];
    down[i] = std::max(problem.least[i], down[i] - problem.step[i]);
    Vector row = problem.residuals(up);
    const Vector low = problem.residuals(down);
    for (std::size_t k = 0; k < row.size(); ++k) {
      row[k] = (row[k] - low[k]) / (up[i] - down[i]);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Matrix normal_matrix(const Matrix& rows) {
  Matrix normal(rows.size(), Vector(rows.size(), 0));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < rows.size(); ++j) {
      for (std::size_t k = 0; k < rows[i].size(); ++k) {
        normal[i][j] += rows[i][k] * rows[j][k];
      }
    }
  }
  return normal;
}

/// The next parameters; those that are at their bound and want below it stay there.
std::optional<Vector> next_parameters(const LeastSquares& problem, const Vector& at,
                                      const Vector& residuals, const Matrix& rows, double damping) {
  const std::size_t n = at.size();
  Vector gradient(n, 0);
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < residuals.size(); ++k) {
      gradient[i] += rows[i][k] * residuals[k];
    }
    if (at[i] > problem.least[i] || gradient[i] < 0) {
      free.push_back(i);
    }
  }
  const Matrix full = normal_matrix(rows);
  Matrix normal(free.size(), Vector(free.size()));
  for (std::size_t i = 0; i < free.size(); ++i) {
    for (std::size_t j = 0; j < free.size(); ++j) {
      normal[i][j] = full[free[i]][free[j]] * (i == j ? 1 + damping : 1);
    }
    // What nothing depends on stays as it is.
    normal[i][i] = normal[i][i] > 0 ? normal[i][i] : 1;
  }
  const std::optional<Matrix> inv = inverse(normal);
  if (!inv) {
    return std::nullopt;
  }
  Vector next = at;
  for (std::size_t i = 0; i < free.size(); ++i) {
    for (std::size_t j = 0; j < free.size(); ++j) {
      next[free[i]] -= (*inv)[i][j] * gradient[free[j]];
    }
    next[free[i]] = std::max(next[free[i]], problem.least[free[i]]);
  }
  return next;
}

void add_deviations(const Matrix& rows, LeastSquaresFit& fit) {
  const std::size_t n = rows.size();
  Matrix normal = normal_matrix(rows);
  fit.deviation.assign(n, std::numeric_limits<double>::infinity());
  fit.correlation.assign(n * n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    // A ridge of 1e-6: what is singular gets a large error instead of none.
    normal[i][i] = normal[i][i] > 0 ? normal[i][i] * (1 + 1e-6) : 1e-12;
  }
  const std::optional<Matrix> covariance = inverse(normal);
  if (!covariance) {
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    fit.deviation[i] = std::sqrt((*covariance)[i][i]);
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      fit.correlation[i * n + j] = (*covariance)[i][j] / (fit.deviation[i] * fit.deviation[j]);
    }
  }
}

}  // namespace

LeastSquaresFit solve(const LeastSquares& problem) {
  LeastSquaresFit fit;
  fit.parameters = problem.start;
  Vector residuals = problem.residuals(fit.parameters);
  fit.cost = cost_of(residuals);
  Matrix rows = derivatives(problem, fit.parameters);
  double damping = 1e-3;
  for (int i = 0; i < kIterations; ++i) {
    const std::optional<Vector> next =
        next_parameters(problem, fit.parameters, residuals, rows, damping);
    Vector changed = next ? problem.residuals(*next) : Vector();
    if (!next || cost_of(changed) >= fit.cost) {
      damping *= 8;
      continue;
    }
    const double fall = fit.cost - cost_of(changed);
    fit.parameters = *next;
    residuals = std::move(changed);
    fit.cost -= fall;
    rows = derivatives(problem, fit.parameters);
    damping = std::max(1e-6, damping / 4);
    if (fall < kEnough * fit.cost) {
      break;
    }
  }
  add_deviations(rows, fit);
  return fit;
}

}  // namespace dyn::eval
