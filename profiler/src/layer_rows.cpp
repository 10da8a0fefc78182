#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "collector.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/attention_work.h"

// Tables of whole attention layers: sparse attention (DSA) with its projections, and the gated
// delta rule with its convolution.

namespace dyn::profiler {
namespace {

/// The layer of a sparse model whose GPU has so many of its heads.
perf::PerfTarget sparse_target(const std::string& model, double heads, Precision weights,
                               Precision kv_cache) {
  perf::PerfTarget target;
  target.model = find_model(model);
  target.layout.tensor =
      std::max(1, static_cast<int>(target.model.attention.heads / std::max(1.0, heads)));
  target.weights = weights;
  target.attention_weights = weights;
  target.kv_cache = kv_cache;
  return target;
}

/// Works of the layers that a table has rows of.
class SparseWorks {
 public:
  explicit SparseWorks(const GpuSpec& gpu, bool prefill) : gpu_(gpu), prefill_(prefill) {}

  const perf::AttentionWork& of(const perf::PerfTarget& target) {
    const Key key{target.model.name, target.layout.tensor, target.weights, target.kv_cache};
    const auto found = works_.find(key);
    return found != works_.end()
               ? found->second
               : works_.try_emplace(key, perf::AttentionWork(target, gpu_, prefill_)).first->second;
  }

 private:
  using Key = std::tuple<std::string, int, Precision, Precision>;
  const GpuSpec& gpu_;
  bool prefill_;
  std::map<Key, perf::AttentionWork> works_;
};

TableSummary sparse(const Table& table, const OperatorFit& from, bool prefill, const GpuSpec& gpu,
                    Slices& slices) {
  const TableRows rows(table);
  const TableColumn& model = rows.texts("model");
  const TableColumn& operation = rows.texts("op_name");
  const TableColumn& type = rows.texts("gemm_type");
  const TableColumn& kv = rows.texts("kv_cache_dtype");
  const TableColumn& heads = rows.numbers("num_heads");
  const TableColumn& batch = rows.numbers("batch_size");
  const TableColumn& isl = rows.numbers("isl");
  const TableColumn& step = rows.numbers("step");
  const TableColumn& latency = rows.numbers("latency");
  const auto types = precisions(type);
  const auto kvs = precisions(kv);
  Collector collector(rows, gpu, slices);
  SparseWorks works(gpu, prefill);
  OperatorFit key = from;
  key.kind = prefill ? OperatorKind::sparse_prefill : OperatorKind::sparse_decode;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    perf::AttentionShape shape;
    shape.heads = rows.positive(heads, i);
    shape.sequences = rows.positive(batch, i);
    const double length = rows.positive(isl, i);
    const double prior = rows.positive(step, i, true);
    shape.queries = prefill ? length : 1;
    shape.context = prefill ? prior : length + prior;
    const double seconds = rows.positive(latency, i) * kMilliseconds;
    const auto weights = types[type.codes[i]];
    const auto cache = kvs[kv.codes[i]];
    // Layers that use the choice of an earlier one have another operator's work.
    const bool other = operation.dictionary[operation.codes[i]].find("skip") != std::string::npos;
    if (!weights || !cache || other) {
      collector.unknown();
      continue;
    }
    const perf::PerfTarget target =
        sparse_target(model.dictionary[model.codes[i]], shape.heads, *weights, *cache);
    const perf::Work work = works.of(target).at(shape);
    key.precision = *weights;
    key.kv_cache = *cache;
    SurfaceSample s;
    s.at = {prefill ? shape.queries : shape.context,
            shape.sequences,
            shape.heads,
            shape.sequences * shape.heads,
            static_cast<double>(target.model.hidden),
            prefill ? std::max(1.0, shape.context) : 1};
    s.flops = work.flops;
    s.bytes = work.bytes;
    s.seconds = seconds;
    collector.add(i, key, s);
  }
  return collector.finish();
}

}  // namespace

TableSummary TableImporter::sparse_prefill(const Table& table, const OperatorFit& key) {
  return sparse(table, key, true, gpu_, slices_);
}

TableSummary TableImporter::sparse_decode(const Table& table, const OperatorFit& key) {
  return sparse(table, key, false, gpu_, slices_);
}

TableSummary TableImporter::linear(const Table& table, const OperatorFit& from) {
  const TableRows rows(table);
  const TableColumn& kernel = rows.texts("kernel_source");
  const TableColumn& phase = rows.texts("phase");
  const TableColumn& batch = rows.numbers("batch_size");
  const TableColumn& length = rows.numbers("seq_len");
  const TableColumn& key_heads = rows.numbers("num_k_heads");
  const TableColumn& value_heads = rows.numbers("num_v_heads");
  const TableColumn& key_dim = rows.numbers("head_k_dim");
  const TableColumn& value_dim = rows.numbers("head_v_dim");
  const TableColumn& taps = rows.numbers("d_conv");
  const TableColumn& latency = rows.numbers("latency");
  // A layer runs its convolution and its delta rule, which have rows of their own.
  struct Halves {
    std::size_t row = 0;
    std::optional<double> convolution;
    std::optional<double> rule;
  };
  std::map<std::array<double, 8>, Halves> layers;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string& name = phase.dictionary[phase.codes[i]];
    const bool prefill = name == "context";
    if (!prefill && name != "generation") {
      rows.refuse(i, "phase is '" + name + "', neither context nor generation");
    }
    Halves& halves = layers[{prefill ? 1.0 : 0.0, rows.positive(batch, i),
                             prefill ? rows.positive(length, i) : 1, rows.positive(key_heads, i),
                             rows.positive(value_heads, i), rows.positive(key_dim, i),
                             rows.positive(value_dim, i), rows.positive(taps, i)}];
    const double seconds = rows.positive(latency, i) * kMilliseconds;
    const bool convolution = kernel.dictionary[kernel.codes[i]].find("conv") != std::string::npos;
    auto& half = convolution ? halves.convolution : halves.rule;
    half = std::min(half.value_or(seconds), seconds);
    halves.row = i;
  }
  Collector collector(rows, gpu_, slices_);
  for (const auto& [at, halves] : layers) {
    const bool prefill = at[0] > 0;
    if (!halves.convolution || !halves.rule) {
      collector.unknown();
      continue;
    }
    perf::PerfTarget target;
    target.model.name = "gated delta rule";
    target.model.layers = 1;
    target.model.hidden = 1024;
    target.model.attention.heads = 1;
    target.model.attention.kv_heads = 1;
    target.model.linear = LinearAttentionSpec{1,
                                              static_cast<int>(at[3]),
                                              static_cast<int>(at[4]),
                                              static_cast<int>(at[5]),
                                              static_cast<int>(at[6]),
                                              static_cast<int>(at[7])};
    perf::AttentionShape shape;
    shape.sequences = at[1];
    shape.queries = at[2];
    const perf::Work work = perf::AttentionWork(target, gpu_, prefill).at(shape);
    OperatorFit key = from;
    key.kind = prefill ? OperatorKind::linear_prefill : OperatorKind::linear_decode;
    const double heads = at[4];
    const double group = at[4] / at[3];
    SurfaceSample s;
    s.at = {at[2], at[1], heads, at[1] * heads, group};
    s.flops = work.flops;
    s.bytes = work.bytes;
    s.seconds = *halves.convolution + *halves.rule;
    collector.add(halves.row, key, s);
  }
  return collector.finish();
}

}  // namespace dyn::profiler
