#include <fmt/format.h>

#include "csv.h"
#include "dyn/core/describe.h"
#include "dyn/core/schemas.h"
#include "dyn/eval/report.h"

namespace dyn::eval {
namespace {

std::string header_of(const char* step) {
  std::string out;
  for (const char* kind :
       {"gemm", "attention", "experts", "collective", "elementwise", "sampling", "host"}) {
    out += fmt::format(",{}_{}_ms", step, kind);
  }
  return out;
}

std::string line_of(const ClassTimes& t) {
  return fmt::format(",{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g}", t.gemm, t.attention,
                     t.experts, t.collective, t.elementwise, t.sampling, t.host);
}

std::string layout_of(const MeasuredWorkers& w) {
  return fmt::format("{},{},{},{},{},{},{}", w.layout.tensor, w.layout.pipeline, w.layout.data,
                     w.moe_tensor, w.layout.expert, w.workers, w.batch);
}

}  // namespace

std::string answers_csv(const std::vector<EvaluatedRow>& rows) {
  std::string out =
      "id,ttft_ms,tpot_ms,ttft_low_ms,ttft_high_ms,tpot_low_ms,tpot_high_ms,provenance\n";
  for (const EvaluatedRow& row : rows) {
    if (row.answer) {
      const Estimate& ttft = row.answer->ttft;
      const Estimate& tpot = row.answer->tpot;
      out += fmt::format("{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{}\n", csv_field(row.row.id),
                         ttft.value, tpot.value, ttft.low, ttft.high, tpot.low, tpot.high,
                         enum_text(ttft.provenance));
    }
  }
  return out;
}

std::string features_csv(const std::vector<EvaluatedRow>& rows) {
  std::string out =
      "id,group,source,other_client,engine,version,model,system,mode,gemm,moe,isl,osl,"
      "concurrency,gpus,tp,pp,dp,moe_tp,moe_ep,workers,batch,p_tp,p_pp,p_dp,p_moe_tp,p_moe_ep,"
      "p_workers,p_batch,measured_ttft_ms,measured_tpot_ms,ttft_ms,tpot_ms,provenance";
  out += header_of("decode") + header_of("prefill");
  out +=
      ",mixed_step_ms,decode_sequences,decode_context,chunk_tokens,chunk_sequences,steps,"
      "prefill_steps,burst_ttft_ms,steady_ttft_ms,queue_ms,transfer_ms,kv_pressure,preemptions,"
      "poll_steps,step_error,prefill_error,ranks,layout_changed\n";
  for (const EvaluatedRow& row : rows) {
    if (!row.raw) {
      continue;
    }
    const MeasuredRow& r = row.row;
    const PointFeatures& f = row.raw->features;
    const auto number = [](const std::optional<double>& x) {
      return x ? fmt::format("{:.6g}", *x) : std::string();
    };
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},", csv_field(r.id),
                       csv_field(r.group()), csv_field(r.source), r.other_client() ? 1 : 0,
                       r.engine, csv_field(r.version), csv_field(r.model), r.system, r.mode(),
                       static_cast<int>(r.gemm), static_cast<int>(r.moe), r.isl, r.osl,
                       r.in_flight(), r.gpus);
    out += layout_of(r.disaggregated ? r.decode : r.aggregated) + ',' + layout_of(r.prefill);
    out += fmt::format(",{},{},{:.6g},{:.6g},{}", number(r.ttft_ms), number(r.tpot_ms),
                       row.raw->ttft_ms, row.raw->tpot_ms, enum_text(row.raw->provenance));
    out += line_of(f.decode) + line_of(f.prefill);
    out += fmt::format(
        ",{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},"
        "{:.6g},{:.6g},{:.6g},{:.6g},{},{}\n",
        f.mixed_step_ms, f.decode_sequences, f.decode_context, f.chunk_tokens, f.chunk_sequences,
        f.steps, f.prefill_steps, f.burst_ttft_ms, f.steady_ttft_ms, f.queue_ms, f.transfer_ms,
        f.kv_pressure, f.preemptions, f.poll_steps, f.step_error, f.prefill_error, f.ranks,
        f.layout_changed ? 1 : 0);
  }
  return out;
}

}  // namespace dyn::eval
