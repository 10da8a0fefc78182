#include <Eigen/Core>
#include <cmath>

#include "cases.h"

namespace dyn::kernels::test {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatMap =
    Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

Matrix matrix(const std::vector<float>& values, std::int64_t rows, std::int64_t cols) {
  return FloatMap(values.data(), rows, cols).cast<double>();
}

std::vector<double> flat(const Matrix& m) {
  return {m.data(), m.data() + m.size()};
}

/// Keys or values of one head of one sequence, put side by side.
Matrix head_of(const PagedCase& c, const std::vector<float>& cache, std::size_t sequence,
               std::int64_t head) {
  Matrix result(c.context[sequence], c.head_dim);
  for (std::int64_t t = 0; t < c.context[sequence]; ++t) {
    const std::int64_t block = c.table[sequence * static_cast<std::size_t>(c.table_stride) +
                                       static_cast<std::size_t>(t / c.block_size)];
    for (std::int64_t d = 0; d < c.head_dim; ++d) {
      result(t, d) = cache[static_cast<std::size_t>(
          ((block * c.block_size + t % c.block_size) * c.kv_heads + head) * c.head_dim + d)];
    }
  }
  return result;
}

}  // namespace

std::vector<double> oracle_gemm(std::int64_t m, std::int64_t n, std::int64_t k,
                                const std::vector<float>& a, const std::vector<float>& b) {
  return flat(matrix(a, m, k) * matrix(b, n, k).transpose());
}

std::vector<double> oracle_attention(const PagedCase& c) {
  Matrix out = Matrix::Zero(c.query_start.back() * c.heads, c.head_dim);
  const Matrix query = matrix(c.query, c.query_start.back() * c.heads, c.head_dim);
  for (std::size_t s = 0; s < c.context.size(); ++s) {
    const std::int64_t chunk = c.query_start[s + 1] - c.query_start[s];
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const std::int64_t kv_head = h * c.kv_heads / c.heads;
      const Matrix keys = head_of(c, c.keys, s, kv_head);
      const Matrix values = head_of(c, c.values, s, kv_head);
      for (std::int64_t i = 0; i < chunk; ++i) {
        const std::int64_t visible = c.context[s] - chunk + 1 + i;
        if (visible == 0) {
          continue;
        }
        const std::int64_t row = (c.query_start[s] + i) * c.heads + h;
        Eigen::VectorXd scores =
            static_cast<double>(c.scale) * (keys.topRows(visible) * query.row(row).transpose());
        scores = (scores.array() - scores.maxCoeff()).exp();
        out.row(row) = (scores / scores.sum()).transpose() * values.topRows(visible);
      }
    }
  }
  return flat(out);
}

std::vector<double> oracle_rms_norm(std::int64_t tokens, std::int64_t hidden,
                                    const std::vector<float>& x, const std::vector<float>& weight,
                                    float epsilon) {
  Matrix rows = matrix(x, tokens, hidden);
  const Matrix gain = matrix(weight, 1, hidden);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const double mean = rows.row(t).squaredNorm() / static_cast<double>(hidden);
    rows.row(t) =
        (rows.row(t) / std::sqrt(mean + static_cast<double>(epsilon))).cwiseProduct(gain.row(0));
  }
  return flat(rows);
}

std::vector<double> oracle_rope(const Rope& r, const std::vector<float>& x) {
  Matrix rows = matrix(x, r.tokens * r.heads, r.head_dim);
  const std::int64_t rotary = r.rotary_dim == 0 ? r.head_dim : r.rotary_dim;
  for (std::int64_t row = 0; row < rows.rows(); ++row) {
    for (std::int64_t i = 0; i < rotary / 2; ++i) {
      const double angle =
          r.positions[row / r.heads] *
          std::pow(r.base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
      Eigen::Matrix2d turn;
      turn << std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle);
      const Eigen::Vector2d pair = turn * Eigen::Vector2d(rows(row, i), rows(row, i + rotary / 2));
      rows(row, i) = pair(0);
      rows(row, i + rotary / 2) = pair(1);
    }
  }
  return flat(rows);
}

}  // namespace dyn::kernels::test
