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

AttentionTable::Prefill AttentionTable::measured(const Prefill& p) const noexcept {
  return {std::min(p.chunk, prefill_.high(0)), std::min(p.prior, prefill_.high(1))};
}
AttentionTable::Decode AttentionTable::measured(const Decode& d) const noexcept {
  return {std::min(d.sequences, decode_.high(0)), std::min(d.context, decode_.high(1))};
}

double AttentionTable::beyond(double seconds, const Prefill& p, const Prefill& within) noexcept {
  if (p == within) {
    return seconds;
  }
  return seconds * (p.chunk * (p.prior + 0.5 * p.chunk) /
                    (within.chunk * (within.prior + 0.5 * within.chunk)));
}
double AttentionTable::beyond(double seconds, const Decode& d, const Decode& within) noexcept {
  if (d == within) {
    return seconds;
  }
  return seconds * (d.sequences * d.context / (within.sequences * within.context));
}

double AttentionTable::alone(const Prefill& p) const noexcept {
  const Prefill within = measured(p);
  return beyond(prefill_.at({within.chunk, within.prior}), p, within);
}
double AttentionTable::alone(const Decode& d) const noexcept {
  const Decode within = measured(d);
  return beyond(decode_.at({within.sequences, within.context}), d, within);
}

/// `part` is within the grid of mixed steps, which ends where this one does more often than not.
template <class Work>
double AttentionTable::alone(const Work& work, const Work& part, double alone_part) const noexcept {
  const Work within = measured(work);
  return within == part ? beyond(alone_part, work, part) : alone(work);
}

double AttentionTable::seconds(const StepBatch& batch) const noexcept {
  double chunk = 0;
  double prior = 0;
  if (batch.prefill_tokens > 0) {
    chunk = std::sqrt(static_cast<double>(batch.prefill_square));
    prior = static_cast<double>(batch.prefill_cross) / chunk;
  }
  const Prefill prefill{chunk, prior};
  if (batch.decode_sequences == 0) {
    return chunk > 0 ? alone(prefill) : 0;
  }
  const double sequences = batch.decode_sequences;
  const Decode decode{sequences, static_cast<double>(batch.decode_context) / sequences};
  if (chunk == 0) {
    return alone(decode);
  }
  if (mixed_.empty()) {
    return alone(prefill) + alone(decode);
  }
  const double seconds = mixed_.at({chunk, prior, sequences, decode.context});
  // Beyond the grid the parts grow as they do alone, with the interaction of its edge.
  const Prefill prefill_part{std::min(chunk, mixed_.high(0)), std::min(prior, mixed_.high(1))};
  const Decode decode_part{std::min(sequences, mixed_.high(2)),
                           std::min(decode.context, mixed_.high(3))};
  if (prefill == prefill_part && decode == decode_part) {
    return seconds;
  }
  const double prefill_alone = alone(prefill_part);
  const double decode_alone = alone(decode_part);
  return seconds *
         ((alone(prefill, prefill_part, prefill_alone) + alone(decode, decode_part, decode_alone)) /
          (prefill_alone + decode_alone));
}

}  // namespace dyn::perf
