#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "collector.h"

// Tables of experts: those of which each GPU computes all tokens that are there, and those that an
// all-to-all brings their tokens to (SGLang with DeepEP and DeepGEMM).

namespace dyn::profiler {
namespace {

/// What the tables have of each row's experts.
struct ExpertColumns {
  explicit ExpertColumns(const TableRows& table) : rows(table) {}

  /// With whole experts; whose weights' precision is not said.
  perf::ExpertShape shape(std::size_t row) const {
    perf::ExpertShape shape;
    shape.tokens = rows.positive(tokens, row);
    shape.experts = rows.positive(experts, row);
    shape.per_token = rows.positive(topk, row);
    shape.ranks = rows.positive(ranks, row);
    shape.hidden = rows.positive(hidden, row);
    shape.width = rows.positive(inter, row);
    return shape;
  }

  const TableRows& rows;
  const TableColumn& tokens = rows.numbers("num_tokens");  ///< of all GPUs, before they are sent
  const TableColumn& hidden = rows.numbers("hidden_size");
  const TableColumn& inter = rows.numbers("inter_size");
  const TableColumn& topk = rows.numbers("topk");
  const TableColumn& experts = rows.numbers("num_experts");
  const TableColumn& ranks = rows.numbers("moe_ep_size");
};

/// Whether each kernel of the dictionary multiplies by a gate, as the experts of dyn's models do.
std::vector<bool> gated(const TableColumn& kernel) {
  std::vector<bool> result;
  for (const std::string& name : kernel.dictionary) {
    result.push_back(name.find("nongated") == std::string::npos);
  }
  return result;
}

/// Deployments of wide expert parallelism balance their experts, with copies of the busy ones
/// (SGLang: --ep-num-redundant-experts, --init-expert-location), so that of the distributions
/// measured the mildest uneven one is theirs.
constexpr const char* kBalanced = "power_law_0.6";

/// Prefill was measured launch by launch, up to 0.6 ms of the host's time, which hides behind the
/// GPU where a layer takes longer. Rows within this factor of the shortest say little of the GPU.
constexpr double kOfLaunching = 2;

/// Rows of prefill by GPUs: the shortest time, in milliseconds.
std::map<double, double> shortest_by_ranks(const TableRows& rows, const TableColumn& ranks,
                                           const TableColumn& latency) {
  std::map<double, double> shortest;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double time = rows.positive(latency, i);
    double& least = shortest.try_emplace(rows.positive(ranks, i), time).first->second;
    least = std::min(least, time);
  }
  return shortest;
}

TableSummary dispatched(const Table& table, const GpuSpec& gpu, Slices& slices,
                        const OperatorFit& from, bool prefill) {
  const TableRows rows(table);
  const TableColumn& type = rows.texts("moe_dtype");
  const auto types = precisions(type);
  const TableColumn& spread = rows.texts("distribution");
  const ExpertColumns experts(rows);
  const TableColumn& latency = rows.numbers("latency");
  const std::map<double, double> launching =
      prefill ? shortest_by_ranks(rows, experts.ranks, latency) : std::map<double, double>{};
  Collector collector(rows, gpu, slices);
  OperatorFit key = from;
  key.kind = OperatorKind::moe_dispatched;
  // Both tables fill one slice: small steps from decode, in a CUDA graph, large ones from prefill.
  key.source.replace(key.source.rfind('/') + 1, std::string::npos,
                     "wideep_generation_moe_perf and wideep_context_moe_perf");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    perf::ExpertShape shape = experts.shape(i);
    const double time = rows.positive(latency, i);
    if (!types[type.codes[i]] || spread.dictionary[spread.codes[i]] != kBalanced) {
      collector.unknown();
      continue;
    }
    if (prefill && time < kOfLaunching * launching.at(shape.ranks)) {
      collector.unknown();
      collector.explain("short rows are of launching, which the GPU's work hides");
      continue;
    }
    key.precision = *types[type.codes[i]];
    shape.weights = key.precision;
    collector.add(i, key, expert_sample(shape, time * kMilliseconds));
  }
  return collector.finish();
}

}  // namespace

SurfaceSample expert_sample(const perf::ExpertShape& shape, double seconds) {
  const perf::Work work = perf::moe_work(shape);
  return {
      {shape.tokens, shape.tokens * shape.per_token / shape.experts, shape.experts / shape.ranks,
       shape.ranks, shape.hidden, shape.width, shape.experts, shape.per_token},
      work.flops,
      work.bytes,
      seconds};
}

TableSummary TableImporter::moe(const Table& table, const OperatorFit& from) {
  const TableRows rows(table);
  const TableColumn& type = rows.texts("moe_dtype");
  const auto types = precisions(type);
  const TableColumn& kernel = rows.texts("kernel_source");
  const TableColumn& spread = rows.texts("distribution");
  const auto usable = gated(kernel);
  const ExpertColumns experts(rows);
  const TableColumn& shards = rows.numbers("moe_tp_size");
  const TableColumn& latency = rows.numbers("latency");
  // TensorRT-LLM and SGLang multiply MXFP4 weights with 8-bit activations where the device can
  // (TensorRT-LLM: ModelConfig.get_mxfp4_quant_algo; SGLang: --flashinfer-mxfp4-moe-precision).
  constexpr const char* kEightBits = "w4a8_mxfp4_mxfp8";
  std::set<std::pair<double, double>> narrow;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (type.dictionary[type.codes[i]] == kEightBits) {
      narrow.emplace(experts.hidden.numbers[i], experts.experts.numbers[i]);
    }
  }
  Collector collector(rows, gpu_, slices_);
  OperatorFit key = from;
  key.kind = OperatorKind::moe;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    perf::ExpertShape shape = experts.shape(i);
    shape.width /= rows.positive(shards, i);
    const double seconds = rows.positive(latency, i) * kMilliseconds;
    const char* wanted = shape.hidden == 7168 ? "power_law_1.01" : "power_law_1.2";
    if (!types[type.codes[i]] || !usable[kernel.codes[i]] ||
        spread.dictionary[spread.codes[i]] != wanted) {
      collector.unknown();
      continue;
    }
    key.precision = *types[type.codes[i]];
    const bool eight_bits = type.dictionary[type.codes[i]] == kEightBits;
    if (key.precision == Precision::mxfp4 && !eight_bits &&
        narrow.count({shape.hidden, shape.experts}) > 0) {
      collector.unknown();
      collector.explain("of W4A16 and W4A8 the latter, which the engine chooses, is read");
      continue;
    }
    shape.weights = key.precision;
    collector.add(i, key, expert_sample(shape, seconds),
                  eight_bits ? std::optional(Precision::fp8) : std::nullopt);
  }
  return collector.finish();
}

TableSummary TableImporter::dispatched_decode(const Table& table, const OperatorFit& key) {
  return dispatched(table, gpu_, slices_, key, false);
}

TableSummary TableImporter::dispatched_prefill(const Table& table, const OperatorFit& key) {
  return dispatched(table, gpu_, slices_, key, true);
}

}  // namespace dyn::profiler
