#include "residual_process.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

namespace dyn::eval {
namespace {

constexpr double kJitter = 1e-6;
constexpr int kRounds = 2;
constexpr double kOutlier = 2.5;  ///< deviations from which on a residual counts less

Eigen::MatrixXd covariances(const Kernel& kernel, const std::vector<CodedPoint>& a,
                            const std::vector<CodedPoint>& b) {
  Eigen::MatrixXd k(static_cast<Eigen::Index>(a.size()), static_cast<Eigen::Index>(b.size()));
  for (Eigen::Index j = 0; j < k.cols(); ++j) {
    for (Eigen::Index i = 0; i < k.rows(); ++i) {
      k(i, j) = kernel.covariance(a[static_cast<std::size_t>(i)], b[static_cast<std::size_t>(j)]);
    }
  }
  return k;
}

std::vector<double> to_vector(const Eigen::VectorXd& v) {
  return {v.data(), v.data() + v.size()};
}

}  // namespace

std::vector<std::size_t> choose_centres(const Kernel& kernel, const std::vector<CodedPoint>& points,
                                        std::size_t most) {
  const std::size_t n = points.size();
  std::vector<double> left;
  for (const CodedPoint& point : points) {
    left.push_back(kernel.variance(point));
  }
  std::vector<std::vector<double>> columns;
  std::vector<std::size_t> chosen;
  while (chosen.size() < std::min(most, n)) {
    const auto pivot =
        static_cast<std::size_t>(std::max_element(left.begin(), left.end()) - left.begin());
    if (left[pivot] < 1e-4 * kernel.noise) {
      break;
    }
    const double root = std::sqrt(left[pivot]);
    std::vector<double> column(n);
    for (std::size_t i = 0; i < n; ++i) {
      column[i] = kernel.covariance(points[i], points[pivot]);
    }
    for (const std::vector<double>& earlier : columns) {
      const double share = earlier[pivot];
      for (std::size_t i = 0; i < n; ++i) {
        column[i] -= share * earlier[i];
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      column[i] /= root;
      left[i] -= column[i] * column[i];
    }
    left[pivot] = -1;  // and only falls from here
    columns.push_back(std::move(column));
    chosen.push_back(pivot);
  }
  return chosen;
}

ResidualProcess::ResidualProcess(const Kernel& kernel, std::vector<CodedPoint> centres,
                                 std::vector<double> weights, std::vector<double> spread)
    : kernel_(kernel),
      centres_(std::move(centres)),
      weights_(std::move(weights)),
      spread_(std::move(spread)) {
  Eigen::MatrixXd k = covariances(kernel_, centres_, centres_);
  k.diagonal().array() += kJitter;
  const Eigen::MatrixXd lower = k.llt().matrixL();
  const std::size_t n = centres_.size();
  factor_.resize(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      factor_[i * n + j] = lower(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j));
    }
  }
}

ResidualProcess ResidualProcess::fit(const Kernel& kernel, const std::vector<CodedPoint>& points,
                                     const std::vector<double>& residuals,
                                     const std::vector<std::size_t>& centres) {
  std::vector<CodedPoint> at;
  for (const std::size_t i : centres) {
    at.push_back(points[i]);
  }
  const Eigen::VectorXd y = Eigen::Map<const Eigen::VectorXd>(
      residuals.data(), static_cast<Eigen::Index>(residuals.size()));
  const Eigen::MatrixXd across = covariances(kernel, at, points);
  Eigen::MatrixXd among = covariances(kernel, at, at);
  among.diagonal().array() += kJitter;
  Eigen::VectorXd trust = Eigen::VectorXd::Ones(y.size());
  Eigen::VectorXd weights;
  Eigen::LLT<Eigen::MatrixXd> normal;
  for (int round = 0; round <= kRounds; ++round) {
    normal.compute(kernel.noise * among + across * trust.asDiagonal() * across.transpose());
    weights = normal.solve(across * (trust.cwiseProduct(y)));
    if (round == kRounds) {
      break;
    }
    const Eigen::VectorXd rest = across.transpose() * weights - y;
    for (Eigen::Index i = 0; i < y.size(); ++i) {
      const double deviations = std::abs(rest(i)) / std::sqrt(kernel.noise);
      trust(i) = std::min(1.0, kOutlier / std::max(deviations, 1e-9));
    }
  }
  const Eigen::VectorXd spread =
      kernel.noise * (among * normal.solve(among)).diagonal().cwiseMax(0.0);
  return {kernel, std::move(at), to_vector(weights), to_vector(spread)};
}

ResidualAt ResidualProcess::at(const CodedPoint& point) const {
  const std::size_t n = centres_.size();
  ResidualAt result;
  std::vector<double> k(n);
  std::size_t nearest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    k[i] = kernel_.covariance(point, centres_[i]);
    result.mean += k[i] * weights_[i];
    nearest = k[i] > k[nearest] ? i : nearest;
  }
  // Variance that the centres explain: |L^-1 k|^2.
  double explained = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double x = k[i];
    const double* row = factor_.data() + i * n;
    for (std::size_t j = 0; j < i; ++j) {
      x -= row[j] * k[j];
    }
    k[i] = x / row[i];
    explained += k[i] * k[i];
  }
  const double unexplained = std::max(0.0, kernel_.variance(point) - explained);
  result.variance = unexplained + (n > 0 ? spread_[nearest] : 0) + kernel_.noise;
  return result;
}

}  // namespace dyn::eval
