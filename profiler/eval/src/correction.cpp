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
constexpr std::size_t kCentres = 300;  ///< of each figure; both share them
constexpr std::size_t kKernelRows = 500;
constexpr int kKernelRounds = 18;

/// A deployment as its two residuals see it.
struct PointPair {
  CodedPoint ttft;
  CodedPoint tpot;
};

/// Numbers names by first appearance; a name that was never given one is like no other.
class NameCodes {
 public:
  PointPair code(const Descriptor& d) const {
    CodedPoint point;
    point.numbers = d.numbers;
    for (std::size_t i = 0; i < d.names.size(); ++i) {
      const auto found = codes_[i].find(d.names[i]);
      point.names[i] = found != codes_[i].end() ? found->second : -1;
    }
    PointPair pair{point, point};
    pair.ttft.parts = d.ttft_parts;
    pair.tpot.parts = d.tpot_parts;
    return pair;
  }
  PointPair learn(const Descriptor& d) {
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

Kernel kernel_for(const std::vector<CodedPoint>& points, const std::vector<double>& residuals) {
  return likeliest_kernel(thinned(points, kKernelRows), thinned(residuals, kKernelRows),
                          kKernelRounds);
}

/// What one of the figures was fitted on.
struct Figure {
  std::vector<CodedPoint> points;
  std::vector<double> residuals;
};

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
  Figure ttft;
  Figure tpot;
  for (const EvaluatedRow& row : train) {
    if (row.measured()) {
      const PointPair pair = codes.learn(describe_point(row));
      ttft.points.push_back(pair.ttft);
      tpot.points.push_back(pair.tpot);
      ttft.residuals.push_back(residual(*row.row.ttft_ms, row.raw->ttft_ms));
      tpot.residuals.push_back(residual(*row.row.tpot_ms, row.raw->tpot_ms));
    }
  }
  const Kernel ttft_kernel = kernel_for(ttft.points, ttft.residuals);
  const Kernel tpot_kernel = kernel_for(tpot.points, tpot.residuals);
  std::vector<std::size_t> centres = choose_centres(ttft_kernel, ttft.points, kCentres);
  const auto others = choose_centres(tpot_kernel, tpot.points, kCentres);
  centres.insert(centres.end(), others.begin(), others.end());
  std::sort(centres.begin(), centres.end());
  centres.erase(std::unique(centres.begin(), centres.end()), centres.end());
  const auto rows = static_cast<std::int64_t>(ttft.points.size());
  return CorrectionModel(std::make_unique<const Impl>(Impl{
      std::move(codes), ResidualProcess::fit(ttft_kernel, ttft.points, ttft.residuals, centres),
      ResidualProcess::fit(tpot_kernel, tpot.points, tpot.residuals, centres), rows}));
}

Correction CorrectionModel::at(const EvaluatedRow& row) const {
  const PointPair point = impl_->codes.code(describe_point(row));
  const ResidualAt ttft = impl_->ttft.at(point.ttft);
  const ResidualAt tpot = impl_->tpot.at(point.tpot);
  return {ttft.mean, tpot.mean, std::sqrt(ttft.variance), std::sqrt(tpot.variance)};
}

std::string CorrectionModel::to_json(const std::string& source) const {
  CorrectionFile file;
  file.source = source;
  file.rows = impl_->rows;
  file.ttft = file_of(impl_->ttft.kernel());
  file.tpot = file_of(impl_->tpot.kernel());
  const auto weight_at = [](const ResidualProcess& process, std::size_t i) {
    const auto& parts = process.centres()[i].parts;
    return CentreWeight{{parts.begin(), parts.end()}, process.weights()[i], process.spread()[i]};
  };
  for (std::size_t i = 0; i < impl_->ttft.centres().size(); ++i) {
    const CodedPoint& point = impl_->ttft.centres()[i];
    CentreFile centre;
    for (std::size_t n = 0; n < Descriptor::kNames; ++n) {
      centre.names.push_back(impl_->codes.name(n, point.names[n]));
    }
    centre.numbers.assign(point.numbers.begin(), point.numbers.end());
    centre.ttft = weight_at(impl_->ttft, i);
    centre.tpot = weight_at(impl_->tpot, i);
    file.centres.push_back(std::move(centre));
  }
  return write_corrections(file);
}

CorrectionModel CorrectionModel::parse(const std::string& text, const std::string& name) {
  const CorrectionFile file = parse_corrections(text, name);
  NameCodes codes;
  std::vector<CodedPoint> ttft;
  std::vector<CodedPoint> tpot;
  std::array<std::vector<double>, 2> weights;
  std::array<std::vector<double>, 2> spread;
  for (const CentreFile& centre : file.centres) {
    Descriptor d;
    std::copy(centre.names.begin(), centre.names.end(), d.names.begin());
    std::copy(centre.numbers.begin(), centre.numbers.end(), d.numbers.begin());
    std::copy(centre.ttft.parts.begin(), centre.ttft.parts.end(), d.ttft_parts.begin());
    std::copy(centre.tpot.parts.begin(), centre.tpot.parts.end(), d.tpot_parts.begin());
    const PointPair pair = codes.learn(d);
    ttft.push_back(pair.ttft);
    tpot.push_back(pair.tpot);
    weights[0].push_back(centre.ttft.weight);
    weights[1].push_back(centre.tpot.weight);
    spread[0].push_back(centre.ttft.spread);
    spread[1].push_back(centre.tpot.spread);
  }
  return CorrectionModel(std::make_unique<const Impl>(
      Impl{std::move(codes),
           {kernel_of(file.ttft), std::move(ttft), std::move(weights[0]), std::move(spread[0])},
           {kernel_of(file.tpot), std::move(tpot), std::move(weights[1]), std::move(spread[1])},
           file.rows}));
}

CorrectionModel CorrectionModel::builtin() {
  return parse(std::string(embedded_corrections()), "built-in corrections");
}

}  // namespace dyn::eval
