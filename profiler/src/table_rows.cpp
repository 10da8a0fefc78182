#include "table_rows.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "collector.h"
#include "dyn/core/error.h"
#include "dyn/core/quantity_text.h"
#include "dyn/core/schemas.h"
#include "dyn/perf/operator_work.h"

namespace dyn::profiler {

QuantityPoint attention_point(double first, const perf::AttentionShape& s, double prior) {
  return {first, s.sequences, s.heads, s.kv_heads, s.sequences * s.kv_heads, s.heads / s.kv_heads,
          prior};
}

std::string key_text(const OperatorFit& key) {
  std::string text = enum_text(key.kind) + ' ' + key.engine + ' ' + enum_text(key.precision);
  const auto add = [&text](const char* what, const std::string& value) {
    text += std::string(", ") + what + ' ' + value;
  };
  if (key.kv_cache) {
    add("KV", enum_text(*key.kv_cache));
  }
  if (key.head_dim > 0) {
    add("head", std::to_string(key.head_dim));
  }
  if (key.window > 0) {
    add("window", std::to_string(key.window));
  }
  if (key.gpus > 1) {
    add("GPUs", std::to_string(key.gpus));
  }
  return text;
}

void TableRows::refuse(std::size_t row, const std::string& why) const {
  throw Error(ErrorKind::bad_input, {{"row " + std::to_string(row + 1) + ": " + why,
                                      Where{table_.file, 0, 0, {}},
                                      "correct the row or its units",
                                      {}}});
}

void TableRows::refuse_text(const TableColumn& column) const {
  for (std::size_t row = 0; row < column.codes.size(); ++row) {
    const std::string& cell = column.dictionary[column.codes[row]];
    double value = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (error != std::errc() || end != cell.data() + cell.size()) {
      refuse(row, column.name + " is '" + cell + "', which is not a number");
    }
  }
  throw Error(ErrorKind::bad_input, {{"column '" + column.name + "' is not of numbers",
                                      Where{table_.file, 0, 0, {}},
                                      "write its numbers as numbers, not as texts",
                                      {}}});
}

const TableColumn& TableRows::column(std::string_view name, bool text) const {
  const TableColumn* found = table_.find(name);
  if (found == nullptr || found->text != text) {
    std::vector<std::string> names;
    for (const TableColumn& c : table_.columns) {
      names.push_back(c.name);
    }
    if (found != nullptr && !text) {
      refuse_text(*found);
    }
    const auto near = nearest(std::string(name), names);
    std::string hint = "it has";
    for (const std::string& other : names) {
      hint += (hint == "it has" ? " " : ", ") + other;
    }
    throw Error(ErrorKind::bad_input,
                {{found == nullptr ? "has no column '" + std::string(name) + "'"
                                   : "column '" + std::string(name) + "' is not of texts",
                  Where{table_.file, 0, 0, {}},
                  found != nullptr ? ""
                  : near           ? "did you mean '" + *near + "'?"
                                   : hint,
                  {}}});
  }
  return *found;
}

const TableColumn& TableRows::numbers(std::string_view name) const {
  return column(name, false);
}

const TableColumn& TableRows::texts(std::string_view name) const {
  return column(name, true);
}

double TableRows::positive(const TableColumn& column, std::size_t row, bool zero) const {
  const double value = column.numbers[row];
  if (!std::isfinite(value) || value < 0 || (value == 0 && !zero)) {
    refuse(row, column.name + " is " +
                    (std::isfinite(value) ? shortest(value)
                     : std::isnan(value)  ? "not a number"
                                          : "infinite"));
  }
  return value;
}

TableSummary TableImporter::gemm(const Table& table, const OperatorFit& from) {
  const TableRows rows(table);
  const TableColumn& type = rows.texts("gemm_dtype");
  const auto types = precisions(type);
  const TableColumn& m = rows.numbers("m");
  const TableColumn& n = rows.numbers("n");
  const TableColumn& k = rows.numbers("k");
  const TableColumn& latency = rows.numbers("latency");
  Collector collector(rows, gpu_, slices_);
  OperatorFit key = from;
  key.kind = OperatorKind::gemm;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SurfaceSample s;
    s.at = {rows.positive(m, i), rows.positive(n, i), rows.positive(k, i)};
    s.seconds = rows.positive(latency, i) * kMilliseconds;
    // vLLM's block-scaled GEMM was measured with 80 to 180 us of launching, which is not there in
    // a CUDA graph: measured steps of such models take less than the sum of their GEMMs.
    const bool launched = key.engine == "vllm" && types[type.codes[i]] == Precision::fp8_block;
    if (!types[type.codes[i]] || launched) {
      collector.unknown();
      if (launched) {
        collector.explain("fp8_block was measured with 80 to 180 us of launching a GEMM");
      }
      continue;
    }
    key.precision = *types[type.codes[i]];
    const perf::Work work = perf::gemm_work(s.at[0], s.at[1], s.at[2], key.precision);
    s.flops = work.flops;
    s.bytes = work.bytes;
    collector.add(i, key, s);
  }
  return collector.finish();
}

namespace {

/// What the attention tables have in common.
struct AttentionColumns {
  explicit AttentionColumns(const TableRows& r, bool latent)
      : rows(r),
        batch(r.numbers("batch_size")),
        isl(r.numbers("isl")),
        step(r.numbers("step")),
        heads(r.numbers("num_heads")),
        kv_heads(latent ? r.numbers("num_heads") : r.numbers("num_key_value_heads")),
        head_dim(latent ? nullptr : &r.numbers("head_dim")),
        window(r.has("window_size") ? &r.numbers("window_size") : nullptr),
        compute(r.texts(latent ? "mla_dtype" : "attn_dtype")),
        kv(r.texts("kv_cache_dtype")),
        latency(r.numbers("latency")),
        computes(precisions(compute)),
        kvs(precisions(kv)) {}

  const TableRows& rows;
  const TableColumn& batch;
  const TableColumn& isl;
  const TableColumn& step;
  const TableColumn& heads;
  const TableColumn& kv_heads;
  const TableColumn* head_dim;
  const TableColumn* window;
  const TableColumn& compute;
  const TableColumn& kv;
  const TableColumn& latency;
  std::vector<std::optional<Precision>> computes;
  std::vector<std::optional<Precision>> kvs;
};

struct AttentionRow {
  OperatorFit key;
  perf::AttentionShape shape;
  double seconds = 0;
};

/// One row, or none if its formats are unknown.
std::optional<AttentionRow> attention_row(const AttentionColumns& c, std::size_t i,
                                          const OperatorFit& from, bool prefill) {
  const TableRows& rows = c.rows;
  AttentionRow row;
  row.key = from;
  row.shape.sequences = rows.positive(c.batch, i);
  const double isl = rows.positive(c.isl, i);
  const double step = rows.positive(c.step, i, true);
  row.shape.queries = prefill ? isl : 1;
  row.shape.context = prefill ? step : isl + step;
  row.shape.heads = rows.positive(c.heads, i);
  // The tables write 0 key/value heads where every head has its own.
  row.shape.kv_heads = rows.positive(c.kv_heads, i, true);
  if (row.shape.kv_heads == 0) {
    row.shape.kv_heads = row.shape.heads;
  }
  row.shape.head_dim = c.head_dim != nullptr ? rows.positive(*c.head_dim, i) : 0;
  row.shape.window = c.window != nullptr ? rows.positive(*c.window, i, true) : 0;
  row.seconds = rows.positive(c.latency, i) * kMilliseconds;
  const auto compute = c.computes[c.compute.codes[i]];
  const auto kv = c.kvs[c.kv.codes[i]];
  if (!compute || !kv) {
    return std::nullopt;
  }
  row.shape.kv_cache = *kv;
  row.key.precision = *compute;
  row.key.kv_cache = *kv;
  row.key.head_dim = static_cast<int>(row.shape.head_dim);
  row.key.window = static_cast<int>(row.shape.window);
  return row;
}

using WorkOf = perf::Work (*)(const perf::AttentionShape&);
using Point = QuantityPoint;
using PointOf = Point (*)(const perf::AttentionShape&);

struct AttentionTable {
  OperatorKind kind = OperatorKind::attention_prefill;
  bool prefill = true;
  bool latent = false;
  WorkOf work = nullptr;
  PointOf point = nullptr;
};

TableSummary attention(const Table& table, const OperatorFit& from, const AttentionTable& how,
                       const GpuSpec& gpu, Slices& slices) {
  const TableRows rows(table);
  const AttentionColumns columns(rows, how.latent);
  Collector collector(rows, gpu, slices);
  OperatorFit key = from;
  key.kind = how.kind;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = attention_row(columns, i, key, how.prefill);
    if (!row) {
      collector.unknown();
      continue;
    }
    const perf::Work work = how.work(row->shape);
    collector.add(i, row->key, {how.point(row->shape), work.flops, work.bytes, row->seconds});
  }
  return collector.finish();
}

}  // namespace

TableSummary TableImporter::prefill(const Table& table, const OperatorFit& key) {
  const AttentionTable how{
      OperatorKind::attention_prefill, true, false, perf::prefill_work,
      [](const perf::AttentionShape& s) { return attention_point(s.queries, s, s.context); }};
  return attention(table, key, how, gpu_, slices_);
}

TableSummary TableImporter::decode(const Table& table, const OperatorFit& key) {
  const AttentionTable how{
      OperatorKind::attention_decode, false, false, perf::decode_work,
      [](const perf::AttentionShape& s) { return attention_point(s.context, s, 0); }};
  return attention(table, key, how, gpu_, slices_);
}

TableSummary TableImporter::latent_prefill(const Table& table, const OperatorFit& key) {
  const AttentionTable how{OperatorKind::latent_prefill, true, true, perf::latent_prefill_work,
                           [](const perf::AttentionShape& s) -> Point {
                             return {s.queries, s.sequences, s.heads, s.sequences * s.heads};
                           }};
  return attention(table, key, how, gpu_, slices_);
}

TableSummary TableImporter::latent_decode(const Table& table, const OperatorFit& key) {
  const AttentionTable how{OperatorKind::latent_decode, false, true, perf::latent_decode_work,
                           [](const perf::AttentionShape& s) -> Point {
                             return {s.context, s.sequences, s.heads, s.sequences * s.heads};
                           }};
  return attention(table, key, how, gpu_, slices_);
}

TableSummary TableImporter::all_reduce(const Table& table, const OperatorFit& from) {
  const TableRows rows(table);
  const TableColumn& kernel = rows.texts("kernel_source");
  const TableColumn& gpus = rows.numbers("num_gpus");
  const TableColumn& size = rows.numbers("message_size");
  const TableColumn& latency = rows.numbers("latency");
  Collector collector(rows, gpu_, slices_);
  OperatorFit key = from;
  key.kind = OperatorKind::all_reduce;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double count = rows.positive(gpus, i);
    const double bytes = 2 * rows.positive(size, i);  // the table counts bf16 values
    const double seconds = rows.positive(latency, i) * kMilliseconds;
    if (kernel.dictionary[kernel.codes[i]].find("eager") != std::string::npos) {
      collector.unknown();  // a launch outside CUDA graphs is the host's time
      continue;
    }
    key.gpus = static_cast<int>(count);
    collector.add(i, key, {{bytes}, 0, perf::all_reduce_bytes(bytes, key.gpus), seconds});
  }
  return collector.finish();
}

TableSummary TableImporter::nccl(const Table& table, const OperatorFit& from) {
  static const std::map<std::string, OperatorKind> kKinds{
      {"all_reduce", OperatorKind::all_reduce},
      {"all_gather", OperatorKind::all_gather},
      {"reduce_scatter", OperatorKind::reduce_scatter},
      {"alltoall", OperatorKind::all_to_all}};
  const TableRows rows(table);
  const TableColumn& operation = rows.texts("op_name");
  const TableColumn& type = rows.texts("nccl_dtype");
  const TableColumn& gpus = rows.numbers("num_gpus");
  const TableColumn& size = rows.numbers("message_size");
  const TableColumn& latency = rows.numbers("latency");
  Collector collector(rows, gpu_, slices_);
  OperatorFit key = from;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double count = rows.positive(gpus, i);
    const double values = rows.positive(size, i);
    const double seconds = rows.positive(latency, i) * kMilliseconds;
    const auto kind = kKinds.find(operation.dictionary[operation.codes[i]]);
    if (kind == kKinds.end() || type.dictionary[type.codes[i]] != "half") {
      collector.unknown();
      continue;
    }
    const double bytes = 2 * values;
    key.kind = kind->second;
    key.gpus = static_cast<int>(count);
    const double carried = key.kind == OperatorKind::all_reduce
                               ? perf::all_reduce_bytes(bytes, key.gpus)
                               : perf::gather_bytes(bytes, key.gpus);
    collector.add(i, key, {{bytes}, 0, carried, seconds});
  }
  return collector.finish();
}

}  // namespace dyn::profiler
