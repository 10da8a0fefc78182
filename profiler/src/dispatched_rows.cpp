#include <algorithm>
#include <map>
#include <string>

#include "collector.h"

// Tables of experts that an all-to-all brings their tokens to (SGLang with DeepEP and DeepGEMM).

namespace dyn::profiler {
namespace {

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
  const TableColumn& tokens = rows.numbers("num_tokens");  // of all GPUs, before they are sent
  const TableColumn& hidden = rows.numbers("hidden_size");
  const TableColumn& inter = rows.numbers("inter_size");
  const TableColumn& topk = rows.numbers("topk");
  const TableColumn& experts = rows.numbers("num_experts");
  const TableColumn& ranks = rows.numbers("moe_ep_size");
  const TableColumn& latency = rows.numbers("latency");
  const std::map<double, double> launching =
      prefill ? shortest_by_ranks(rows, ranks, latency) : std::map<double, double>{};
  Collector collector(rows, gpu, slices);
  OperatorFit key = from;
  key.kind = OperatorKind::moe_dispatched;
  // Both tables fill one slice: small steps from decode, in a CUDA graph, large ones from prefill.
  key.source.replace(key.source.rfind('/') + 1, std::string::npos,
                     "wideep_generation_moe_perf and wideep_context_moe_perf");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    perf::ExpertShape shape;
    shape.tokens = rows.positive(tokens, i);
    shape.experts = rows.positive(experts, i);
    shape.per_token = rows.positive(topk, i);
    shape.ranks = rows.positive(ranks, i);
    shape.hidden = rows.positive(hidden, i);
    shape.width = rows.positive(inter, i);
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
    const perf::Work work = perf::moe_work(shape);
    collector.add(
        i, key,
        {{shape.tokens, shape.tokens * shape.per_token / shape.experts, shape.experts / shape.ranks,
          shape.ranks, shape.hidden, shape.width, shape.experts, shape.per_token},
         work.flops,
         work.bytes,
         time * kMilliseconds});
  }
  return collector.finish();
}

}  // namespace

TableSummary TableImporter::dispatched_decode(const Table& table, const OperatorFit& key) {
  return dispatched(table, gpu_, slices_, key, false);
}

TableSummary TableImporter::dispatched_prefill(const Table& table, const OperatorFit& key) {
  return dispatched(table, gpu_, slices_, key, true);
}

}  // namespace dyn::profiler
