#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "collector.h"
#include "dyn/core/quantity_text.h"

// Tables of the way of tokens to the GPUs of their experts and back.

namespace dyn::profiler {
namespace {

constexpr double kMicroseconds = 1e-6;
constexpr double kActivation = 2;  // bytes; sizes are counted as the latency model counts them

/// What one GPU sends: each of its tokens once to every other GPU that has experts of it.
double sent_bytes(double tokens, double hidden, double per_token, double gpus) {
  return tokens * std::min(per_token, gpus) * (gpus - 1) / gpus * hidden * kActivation;
}

void add(Collector& collector, std::size_t row, OperatorFit key, double bytes, double seconds) {
  key.kind = OperatorKind::all_to_all;
  collector.add(row, key, {{bytes}, 0, bytes, seconds});
}

/// The columns that DeepEP's two tables have in common.
struct DeepEpColumns {
  explicit DeepEpColumns(const TableRows& rows)
      : nodes(rows.numbers("node_num")),
        hidden(rows.numbers("hidden_size")),
        tokens(rows.numbers("num_token")),
        per_token(rows.numbers("num_topk")) {}
  const TableColumn& nodes;
  const TableColumn& hidden;
  const TableColumn& tokens;
  const TableColumn& per_token;
};

template <typename SecondsOf>
TableSummary deepep(const TableRows& rows, const GpuSpec& gpu, Slices& slices,
                    const OperatorFit& from, SecondsOf seconds_of) {
  const DeepEpColumns c(rows);
  Collector collector(rows, gpu, slices);
  OperatorFit key = from;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double nodes = rows.positive(c.nodes, i);
    const double seconds = seconds_of(i);
    const double tokens = rows.positive(c.tokens, i);
    const double hidden = rows.positive(c.hidden, i);
    const double per_token = rows.positive(c.per_token, i);
    if (nodes < 2) {
      collector.unknown();
      continue;
    }
    key.gpus = static_cast<int>(nodes) * gpu.gpus_per_node;
    add(collector, i, key, sent_bytes(tokens, hidden, per_token, key.gpus), seconds);
  }
  return collector.finish();
}

}  // namespace

TableSummary TableImporter::deepep_low_latency(const Table& table, const OperatorFit& key) {
  const TableRows rows(table);
  const TableColumn& dispatch = rows.numbers("dispatch_avg_t_us");
  const TableColumn& combine = rows.numbers("combine_avg_t_us");
  return deepep(rows, gpu_, slices_, key, [&](std::size_t i) {
    return 0.5 * (rows.positive(dispatch, i) + rows.positive(combine, i)) * kMicroseconds;
  });
}

TableSummary TableImporter::deepep_normal(const Table& table, const OperatorFit& key) {
  const TableRows rows(table);
  const TableColumn& dispatch = rows.numbers("dispatch_transmit_us");
  const TableColumn& told = rows.numbers("dispatch_notify_us");
  const TableColumn& combine = rows.numbers("combine_transmit_us");
  const TableColumn& back = rows.numbers("combine_notify_us");
  return deepep(rows, gpu_, slices_, key, [&](std::size_t i) {
    return 0.5 * kMicroseconds *
           (rows.positive(dispatch, i) + rows.positive(told, i, true) + rows.positive(combine, i) +
            rows.positive(back, i, true));
  });
}

TableSummary TableImporter::expert_exchange(const Table& table, const OperatorFit& from) {
  const TableRows rows(table);
  const TableColumn& operation = rows.texts("op_name");
  const TableColumn& kernel = rows.texts("kernel_source");
  const TableColumn& type = rows.texts("moe_dtype");
  const TableColumn& tokens = rows.numbers("num_tokens");
  const TableColumn& hidden = rows.numbers("hidden_size");
  const TableColumn& per_token = rows.numbers("topk");
  const TableColumn& ranks = rows.numbers("moe_ep_size");
  const TableColumn& latency = rows.numbers("latency");
  // Preparing, dispatching and combining have rows of their own; of formats that tokens are sent
  // in the fastest counts, since engines quantise before they send.
  struct Ways {
    std::size_t row = 0;
    double prepare = 0;
    std::optional<double> dispatch;
    std::optional<double> combine;
  };
  std::map<std::array<double, 6>, Ways> exchanges;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Ways& ways =
        exchanges[{rows.positive(ranks, i), rows.positive(tokens, i), rows.positive(hidden, i),
                   rows.positive(per_token, i), static_cast<double>(kernel.codes[i]),
                   static_cast<double>(type.codes[i])}];
    const std::string& name = operation.dictionary[operation.codes[i]];
    const double seconds = rows.positive(latency, i) * kMilliseconds;
    ways.row = i;
    if (name == "alltoall_prepare") {
      ways.prepare = seconds;
    } else if (name == "alltoall_dispatch") {
      ways.dispatch = seconds;
    } else if (name == "alltoall_combine") {
      ways.combine = seconds;
    }
  }
  Collector collector(rows, gpu_, slices_);
  OperatorFit key = from;
  for (const auto& [at, ways] : exchanges) {
    if (!ways.dispatch || !ways.combine) {
      collector.unknown();
      continue;
    }
    key.gpus = static_cast<int>(at[0]);
    add(collector, ways.row, key, sent_bytes(at[1], at[2], at[3], at[0]),
        0.5 * (ways.prepare + *ways.dispatch + *ways.combine));
  }
  return collector.finish();
}

}  // namespace dyn::profiler
