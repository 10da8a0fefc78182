#include "dyn/perf/layer_tables.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <vector>

#include "attention_table.h"
#include "csv_table.h"
#include "dyn/core/error.h"
#include "operators.h"

namespace dyn::perf {

namespace {

constexpr double kLargestCount = 1 << 17;  // tokens or sequences of one measured point

/// Measured seconds by a whole count, one entry each, scaled in proportion beyond the last.
class CountTable {
 public:
  CountTable() : seconds_(1, 0.0) {}
  explicit CountTable(std::size_t last) : seconds_(last + 1, 0.0) {}

  double& operator[](std::size_t n) { return seconds_[n]; }
  std::size_t last() const { return seconds_.size() - 1; }

  double at(std::int64_t n) const noexcept {
    const auto i = static_cast<std::size_t>(n);
    if (i < seconds_.size()) {
      return seconds_[i];
    }
    return seconds_.back() * static_cast<double>(n) / static_cast<double>(last());
  }

 private:
  std::vector<double> seconds_;
};

/// Measured (count, seconds) points of one layer, ascending.
using Curve = std::map<double, double>;

/// Linear between points, held below the first, in proportion above the last.
double curve_at(const Curve& curve, double n) {
  const auto above = curve.lower_bound(n);
  if (above == curve.end()) {
    const auto& last = *curve.rbegin();
    return last.second * n / last.first;
  }
  if (above == curve.begin() || above->first == n) {
    return above->second;
  }
  const auto below = std::prev(above);
  const double share = (n - below->first) / (above->first - below->first);
  return below->second + share * (above->second - below->second);
}

/// A layer of the file with how often a step runs it; 0 where the model has no such layer.
struct LayerUse {
  std::string name;
  double count = 0;
};

std::vector<LayerUse> dense_layers(const ModelSpec& model) {
  const double layers = model.layers;
  const double with_mlp = model.moe ? model.moe->dense_layers : layers;
  return {
      {"embedding", 1},           // once a model
      {"layernorm", 2 * layers},  // before attention and before the MLP
      {"qkv_proj", layers},       {"qk_norm", model.attention.qk_norm ? layers : 0},
      {"rotary_emb", layers},     {"o_proj", layers},
      {"gate_up_proj", with_mlp}, {"act_fn", with_mlp},
      {"down_proj", with_mlp},    {"final_layernorm", 1},  // once a model
  };
}

std::vector<LayerUse> sampled_layers() {
  return {{"lm_head", 1}, {"sampler", 1}};
}

/// Reads (layer, count, time) and adds up what one step runs, by count.
CountTable load_layers(const std::string& path, const std::string& count_column,
                       const std::vector<LayerUse>& uses) {
  const CsvTable table(path, {"layer", count_column, "time_us"});
  std::map<std::string, Curve, std::less<>> curves;
  double last = 1;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const std::string layer(table.cell(row, 0));
    const auto known = std::find_if(uses.begin(), uses.end(),
                                    [&](const LayerUse& use) { return use.name == layer; });
    if (known == uses.end()) {
      table.fail(row, 0, "unknown layer '" + layer + "'");
    }
    const double count = table.number(row, 1);
    if (count < 1 || count > kLargestCount || count != std::floor(count)) {
      table.fail(row, 1, "expected a whole number from 1 to 131072");
    }
    curves[layer][count] = table.number(row, 2) * 1e-6;
    last = std::max(last, count);
  }
  CountTable sum(static_cast<std::size_t>(last));
  for (const LayerUse& use : uses) {
    if (use.count == 0) {
      continue;
    }
    const auto curve = curves.find(use.name);
    if (curve == curves.end()) {
      table.fail(table.rows() - 1, 0, "no row of layer '" + use.name + "', which the model has");
    }
    for (std::size_t n = 1; n <= sum.last(); ++n) {
      sum[n] += use.count * curve_at(curve->second, static_cast<double>(n));
    }
  }
  return sum;
}

/// Adds the experts' time, at the number of experts that so many tokens are expected to use.
void add_experts(const std::string& path, const ModelSpec& model, CountTable& sum) {
  const CsvTable table(path, {"tokens", "activated_experts", "time_us"});
  std::map<double, Curve> by_tokens;  // tokens -> experts -> seconds
  for (std::size_t row = 0; row < table.rows(); ++row) {
    by_tokens[table.number(row, 0)][table.number(row, 1)] = table.number(row, 2) * 1e-6;
  }
  const MoeSpec& moe = *model.moe;
  const double layers = model.layers - moe.dense_layers;
  for (std::size_t n = 1; n <= sum.last(); ++n) {
    const double tokens = static_cast<double>(n);
    const double experts =
        expected_experts(moe.experts, moe.experts_per_token, static_cast<std::int64_t>(n));
    Curve at_experts;
    for (const auto& [measured, curve] : by_tokens) {
      at_experts[measured] = curve_at(curve, experts);
    }
    sum[n] += layers * curve_at(at_experts, tokens);
  }
}

class LayerTables final : public StepTimer {
 public:
  LayerTables(const std::string& folder, const ModelSpec& model, const EngineHost& host)
      : by_tokens_(load_layers(folder + "/dense.csv", "tokens", dense_layers(model))),
        by_sampled_(load_layers(folder + "/per_sequence.csv", "sequences", sampled_layers())),
        attention_(folder + "/attention.csv"),
        layers_(model.layers),
        host_base_(to_seconds(host.step_base)),
        host_per_sequence_(to_seconds(host.step_per_sequence)),
        overlapped_(host.overlapped),
        frontend_(host.frontend_per_request) {
    if (model.moe) {
      add_experts(folder + "/moe.csv", model, by_tokens_);
    }
  }

  Duration step_time(const StepBatch& batch) const noexcept override {
    if (batch.empty()) {
      return Duration{0};
    }
    const double gpu = by_tokens_.at(batch.tokens()) + by_sampled_.at(batch.sampled) +
                       layers_ * attention_.seconds(batch);
    const double host = host_base_ + host_per_sequence_ * batch.sequences();
    const double seconds = overlapped_ ? std::max(gpu, host) : gpu + host;
    return std::max(Duration{1}, Duration(static_cast<std::int64_t>(seconds * 1e9 + 0.5)));
  }
  Duration frontend_time() const noexcept override { return frontend_; }

 private:
  CountTable by_tokens_;
  CountTable by_sampled_;
  AttentionTable attention_;
  double layers_;
  double host_base_;
  double host_per_sequence_;
  bool overlapped_;
  Duration frontend_;
};

}  // namespace

std::shared_ptr<const StepTimer> load_layer_tables(const std::string& folder,
                                                   const ModelSpec& model, const EngineHost& host) {
  if (!std::filesystem::is_directory(folder)) {
    throw Error(ErrorKind::bad_input, folder + ": no such folder of layer tables");
  }
  return std::make_shared<LayerTables>(folder, model, host);
}

}  // namespace dyn::perf
