#include "attention_table.h"

#include <cmath>

#include "csv_table.h"

namespace dyn::perf {

AttentionTable::AttentionTable(const std::string& path) {
  const CsvTable table(path, {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"});
  std::vector<GridPoint<2>> prefill;
  std::vector<GridPoint<2>> decode;
  std::vector<GridPoint<4>> mixed;
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const double chunk = table.number(row, 0);
    const double prior = table.number(row, 1);
    const double sequences = table.number(row, 2);
    const double context = table.number(row, 3);
    const double seconds = table.number(row, 4) * 1e-6;
    if (chunk > 0 && sequences > 0) {
      mixed.push_back({{chunk, prior, sequences, context}, seconds});
    } else if (chunk > 0) {
      prefill.push_back({{chunk, prior}, seconds});
    } else if (sequences > 0) {
      decode.push_back({{sequences, context}, seconds});
    } else {
      table.fail(row, 0, "a point with neither a prefill chunk nor decoding sequences");
    }
  }
  if (prefill.empty() || decode.empty()) {
    table.fail(table.rows() - 1, 0,
               prefill.empty() ? "no point with a prefill chunk alone (n_decode 0)"
                               : "no point with decoding sequences alone (prefill_chunk 0)");
  }
  prefill_ = MeasuredGrid<2>(prefill);
  decode_ = MeasuredGrid<2>(decode);
  if (!mixed.empty()) {
    mixed_ = MeasuredGrid<4>(mixed);
  }
}

double AttentionTable::prefill_seconds(double chunk, double prior) const noexcept {
  const double q = std::min(chunk, prefill_.high(0));
  const double kv = std::min(prior, prefill_.high(1));
  double seconds = prefill_.at({q, kv});
  if (q < chunk || kv < prior) {
    seconds *= chunk * (prior + 0.5 * chunk) / (q * (kv + 0.5 * q));  // by query-key pairs
  }
  return seconds;
}

double AttentionTable::decode_seconds(double sequences, double context) const noexcept {
  const double n = std::min(sequences, decode_.high(0));
  const double kv = std::min(context, decode_.high(1));
  double seconds = decode_.at({n, kv});
  if (n < sequences || kv < context) {
    seconds *= sequences * context / (n * kv);  // by KV tokens read
  }
  return seconds;
}

double AttentionTable::seconds(const StepBatch& batch) const noexcept {
  double chunk = 0;
  double prior = 0;
  if (batch.prefill_tokens > 0) {
    chunk = std::sqrt(static_cast<double>(batch.prefill_square));
    prior = static_cast<double>(batch.prefill_cross) / chunk;
  }
  if (batch.decode_sequences == 0) {
    return chunk > 0 ? prefill_seconds(chunk, prior) : 0;
  }
  const double sequences = batch.decode_sequences;
  const double context = static_cast<double>(batch.decode_context) / sequences;
  if (chunk == 0) {
    return decode_seconds(sequences, context);
  }
  if (mixed_.empty()) {
    return prefill_seconds(chunk, prior) + decode_seconds(sequences, context);
  }
  const std::array<double, 4> at{chunk, prior, sequences, context};
  double seconds = mixed_.at(at);
  bool outside = false;
  for (std::size_t d = 0; d < 4; ++d) {
    outside = outside || at[d] > mixed_.high(d);
  }
  if (outside) {
    // Beyond the grid the parts grow as they do alone, with the interaction of its edge.
    const double q = std::min(chunk, mixed_.high(0));
    const double kv = std::min(prior, mixed_.high(1));
    const double n = std::min(sequences, mixed_.high(2));
    const double c = std::min(context, mixed_.high(3));
    seconds *= (prefill_seconds(chunk, prior) + decode_seconds(sequences, context)) /
               (prefill_seconds(q, kv) + decode_seconds(n, c));
  }
  return seconds;
}

}  // namespace dyn::perf
