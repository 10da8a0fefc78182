#include "dyn/eval/correction.h"

#include <algorithm>
#include <map>
#include <vector>

#include "correction_file.h"
#include "descriptor.h"
#include "dyn/core/math.h"
#include "residual_process.h"

namespace dyn::eval {
namespace {

/// Residuals beyond a factor of 20 are no measurement of this model.
constexpr double kMostResidual = 3;
constexpr std::size_t kCentres = 600;
constexpr std::size_t kKernelRows = 400;
constexpr int kKernelRounds = 50;

/// Numbers names by first appearance; a name that was never given one is like no other.
class NameCodes {
 public:
  CodedPoint code(const Descriptor& d) const {
    CodedPoint point;
    point.numbers = d.numbers;
    for (std::size_t i = 0; i < d.names.size(); ++i) {
      const auto found = codes_[i].find(d.names[i]);
      point.names[i] = found != codes_[i].end() ? found->second : -1;
    }
    return point;
  }
  CodedPoint learn(const Descriptor& d) {
    for (std::size_t i = 0; i < d.names.size(); ++i) {
      codes_[i].emplace(d.names[i], static_cast<std::int32_t>(codes_[i].size()));
    }
    return code(d);
  }
  /// The name that has a number.
  std::string name(std::size_t which, std::int32_t code) const {
    for (const auto& [text, number] : codes_[which]) {
      if (number == code) {
        return text;
      }
    }
    return {};
  }

 private:
  std::array<std::map<std::string, std::int32_t>, Descriptor::kNames> codes_;
};

/// Every so manieth, `most` of them.
template <class T>
std::vector<T> thinned(const std::vector<T>& all, std::size_t most) {
  if (all.size() <= most) {
    return all;
  }
  std::vector<T> out;
  for (std::size_t i = 0; i < most; ++i) {
    out.push_back(all[i * all.size() / most]);
  }
  return out;
}

double residual(double measured, double predicted) {
  return std::clamp(portable_log(measured / predicted), -kMostResidual, kMostResidual);
}

ResidualProcess fit_process(const std::vector<CodedPoint>& points,
                            const std::vector<double>& residuals) {
  const Kernel kernel = likeliest_kernel(thinned(points, kKernelRows),
                                         thinned(residuals, kKernelRows), kKernelRounds);
  return ResidualProcess::fit(kernel, points, residuals, choose_centres(kernel, points, kCentres));
}

}  // namespace

struct CorrectionModel::Impl {
  NameCodes codes;
  ResidualProcess ttft;
  ResidualProcess tpot;
  std::int64_t rows = 0;
};

CorrectionModel::CorrectionModel(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
CorrectionModel::~CorrectionModel() = default;
CorrectionModel::CorrectionModel(CorrectionModel&&) noexcept = default;
CorrectionModel& CorrectionModel::operator=(CorrectionModel&&) noexcept = default;

CorrectionModel CorrectionModel::fit(std::span<const EvaluatedRow> train) {
  NameCodes codes;
  std::vector<CodedPoint> points;
  std::vector<double> ttft;
  std::vector<double> tpot;
  for (const EvaluatedRow& row : train) {
    if (row.measured()) {
      points.push_back(codes.learn(describe_point(row)));
      ttft.push_back(residual(*row.row.ttft_ms, row.raw->ttft_ms));
      tpot.push_back(residual(*row.row.tpot_ms, row.raw->tpot_ms));
    }
  }
  const auto rows = static_cast<std::int64_t>(points.size());
  return CorrectionModel(std::make_unique<const Impl>(
      Impl{std::move(codes), fit_process(points, ttft), fit_process(points, tpot), rows}));
}

Correction CorrectionModel::at(const EvaluatedRow& row) const {
  const CodedPoint point = impl_->codes.code(describe_point(row));
  const ResidualAt ttft = impl_->ttft.at(point);
  const ResidualAt tpot = impl_->tpot.at(point);
  return {ttft.mean, tpot.mean, std::sqrt(ttft.variance), std::sqrt(tpot.variance)};
}

std::string CorrectionModel::to_json(const std::string& source) const {
  CorrectionFile file;
  file.source = source;
  file.rows = impl_->rows;
  const auto process = [this](const ResidualProcess& from) {
    ProcessFile out;
    out.kernel = file_of(from.kernel());
    for (std::size_t i = 0; i < from.centres().size(); ++i) {
      const CodedPoint& point = from.centres()[i];
      CentreFile centre;
      for (std::size_t n = 0; n < Descriptor::kNames; ++n) {
        centre.names.push_back(impl_->codes.name(n, point.names[n]));
      }
      centre.numbers.assign(point.numbers.begin(), point.numbers.end());
      centre.weight = from.weights()[i];
      centre.spread = from.spread()[i];
      out.centres.push_back(std::move(centre));
    }
    return out;
  };
  file.ttft = process(impl_->ttft);
  file.tpot = process(impl_->tpot);
  return write_corrections(file);
}

CorrectionModel CorrectionModel::parse(const std::string& text, const std::string& name) {
  const CorrectionFile file = parse_corrections(text, name);
  NameCodes codes;
  const auto process = [&codes](const ProcessFile& from) {
    std::vector<CodedPoint> centres;
    std::vector<double> weights;
    std::vector<double> spread;
    for (const CentreFile& centre : from.centres) {
      Descriptor d;
      std::copy(centre.names.begin(), centre.names.end(), d.names.begin());
      std::copy(centre.numbers.begin(), centre.numbers.end(), d.numbers.begin());
      centres.push_back(codes.learn(d));
      weights.push_back(centre.weight);
      spread.push_back(centre.spread);
    }
    return ResidualProcess(kernel_of(from.kernel), std::move(centres), std::move(weights),
                           std::move(spread));
  };
  ResidualProcess ttft = process(file.ttft);
  ResidualProcess tpot = process(file.tpot);
  return CorrectionModel(std::make_unique<const Impl>(
      Impl{std::move(codes), std::move(ttft), std::move(tpot), file.rows}));
}

CorrectionModel CorrectionModel::builtin() {
  return parse(std::string(embedded_corrections()), "built-in corrections");
}

}  // namespace dyn::eval
