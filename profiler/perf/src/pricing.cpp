#include "pricing.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "dyn/core/math.h"
#include "dyn/perf/operator_work.h"
#include "fit_choice.h"

namespace dyn::perf {

namespace {

OperatorFit default_fit(const Operator& op, const Profile& profile) {
  OperatorFit fit;
  fit.kind = op.kind;
  fit.compute_efficiency = 0.6;
  fit.bandwidth_efficiency = is_collective(op.kind) ? 0.6 : 0.75;
  fit.overhead = std::chrono::microseconds(5);
  if (is_collective(op.kind)) {
    const Duration latency =
        op.between_nodes ? profile.inter_node_latency : profile.intra_node_latency;
    fit.overhead += 2 * latency;
  }
  fit.relative_error = 0.5;
  fit.provenance = Provenance::specification;
  fit.source = "no fit in the profile: 60 % of peak, 75 % of memory bandwidth, 5 us a launch";
  return fit;
}

/// Half-width of the 90 % interval of a GEMM with 8- or 4-bit weights that is priced with the fit
/// of unquantised ones, at least: what the profiles of seven GPUs, which have both, are off by so
/// (28 to 69 % by GPU, engine and format, 48 % in the middle; int4 on the A100 57 %).
constexpr double kNarrowerWeights = 0.5;

/// The same of a collective that is priced with the fit of another group of GPUs, within a node and
/// between nodes: built-in latencies of small all-reduces between 2, 4 and 8 GPUs of a node are 22
/// to 47 % apart, and what crosses nodes has the fabric's, which is of specification grade.
constexpr double kOtherGroup = 0.35;
constexpr double kOtherNodes = 0.5;

/// What another number of experts than any that was measured counts, in octaves.
constexpr double kOtherExperts = 0.5;
/// GPUs that experts are dispatched to, at least, in the tables (profiler/README).
constexpr int kFewestDispatched = 2;

bool unquantised(Precision p) {
  return p == Precision::bf16 || p == Precision::fp16 || p == Precision::fp32;
}

/// How many octaves the sizes of an operator that steps do not change are beyond what its fit was
/// measured at.
double octaves_beyond(const Operator& op, const Surface& surface) {
  constexpr Quantity kFixed[] = {
      Quantity::n,         Quantity::k,      Quantity::heads,        Quantity::kv_group,
      Quantity::kv_heads,  Quantity::hidden, Quantity::width,        Quantity::experts,
      Quantity::per_token, Quantity::ranks,  Quantity::local_experts};
  const Quantities at = quantities_of(op, 1);
  double sum = 0;
  for (const Quantity q : kFixed) {
    sum += surface.beyond(q, at[q]);
  }
  return sum;
}

}  // namespace

double correction_at(const std::vector<CorrectionPoint>& points, double x) {
  if (points.empty()) {
    return 1;
  }
  if (x <= points.front().x) {
    return points.front().factor;
  }
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (x <= points[i].x) {
      const CorrectionPoint& a = points[i - 1];
      const CorrectionPoint& b = points[i];
      const double share = portable_log2(x / a.x) / portable_log2(b.x / a.x);
      return a.factor + share * (b.factor - a.factor);
    }
  }
  return points.back().factor;
}

FactorCurve::FactorCurve(const std::vector<CorrectionPoint>& points) {
  if (points.empty()) {
    return;
  }
  factors_.resize(kOctaves * 4 + 1);
  for (std::size_t i = 0; i < factors_.size(); ++i) {
    const double x = std::bit_cast<double>(static_cast<std::uint64_t>(1023 * 4 + i) << 50);
    factors_[i] = correction_at(points, x);
  }
}

PricedOperator price(const Operator& op, const Profile& profile, const std::string& engine) {
  const FitChoice choice = choose_fit(op, engine, profile);
  const OperatorFit none = choice.fit == nullptr ? default_fit(op, profile) : OperatorFit{};
  const OperatorFit& fit = choice.fit != nullptr ? *choice.fit : none;
  PricedOperator priced;
  priced.op = op;
  const GpuSpec& device = profile.device;
  priced.flop_rate = fit.compute_efficiency * device.peak_for(op.precision).count();
  double bandwidth = device.memory_bandwidth.count();
  priced.overhead = to_seconds(fit.overhead) * op.launches;
  priced.provenance = fit.provenance;
  priced.relative_error = fit.relative_error;
  std::string differences = choice.differences;
  double distance = choice.distance;
  if (is_collective(op.kind)) {
    bandwidth = op.between_nodes ? device.inter_node.count() : device.intra_node.count();
    if (op.between_nodes && fit.gpus <= device.gpus_per_node) {
      priced.overhead += to_seconds(profile.inter_node_latency);
      differences += (differences.empty() ? "" : ", ") + std::string("between nodes");
    }
  }
  priced.byte_rate = fit.bandwidth_efficiency * bandwidth;
  priced.correction = fit.correction;
  // Experts have the same quantities however their tokens come.
  const bool alike = op.kind == OperatorKind::moe_dispatched && fit.kind == OperatorKind::moe;
  if (!fit.surfaces.empty() && (fit.kind == op.kind || alike)) {
    priced.surface = Surface(fit.surfaces);
    // A surface is of whole executions, launches included.
    priced.overhead = to_seconds(fit.overhead);
    if (const double beyond = octaves_beyond(op, priced.surface); beyond > 0) {
      differences += (differences.empty() ? "" : ", ") + std::string("a size beyond the measured");
      distance += beyond;
    } else if (const int gpus = fit.kind == OperatorKind::moe ? 1 : kFewestDispatched;
               op.experts && !priced.surface.measured_experts(op.experts->experts, gpus)) {
      differences += (differences.empty() ? "" : ", ") + std::string("another number of experts");
      distance += kOtherExperts;
    }
    if (op.driver == Driver::tokens || op.driver == Driver::sampled) {
      priced.surface = priced.surface.held(quantities_of(op, 1),
                                           {Quantity::tokens, Quantity::rows, Quantity::bytes});
    }
  }
  priced.source = fit.source;
  if (choice.fit != nullptr && !differences.empty()) {
    priced.provenance = worst(priced.provenance, Provenance::extrapolated);
    priced.relative_error = std::min(0.9, priced.relative_error * (1.25 + 0.1 * distance));
    if (op.kind == OperatorKind::gemm && unquantised(fit.precision) && !unquantised(op.precision)) {
      priced.relative_error = std::max(priced.relative_error, kNarrowerWeights);
    }
    if (is_collective(op.kind)) {
      priced.relative_error =
          std::max(priced.relative_error, op.between_nodes ? kOtherNodes : kOtherGroup);
    }
    priced.source += " (nearest fit: " + differences + ")";
  }
  return priced;
}

Quantities quantities_of(const Operator& op, double n) {
  Quantities q;
  q[Quantity::tokens] = n;
  q[Quantity::n] = op.shape.n;
  q[Quantity::k] = op.shape.k;
  q[Quantity::heads] = op.shape.heads;
  q[Quantity::kv_group] = std::max(1, op.shape.kv_group);
  q[Quantity::kv_heads] = op.shape.heads / std::max(1, op.shape.kv_group);
  q[Quantity::hidden] = op.shape.hidden;
  q[Quantity::width] = op.shape.width;
  q[Quantity::bytes] = op.shape.message * n;
  if (op.experts) {
    const ExpertSpread& spread = *op.experts;
    q[Quantity::tokens] = n * spread.tokens_factor;
    q[Quantity::rows] = n * spread.tokens_factor * spread.per_token / spread.experts;
    q[Quantity::local_experts] = spread.experts / spread.ranks;
    q[Quantity::ranks] = spread.ranks;
    q[Quantity::experts] = spread.experts;
    q[Quantity::per_token] = spread.per_token;
  }
  return q;
}

Roofline roofline_at(const PricedOperator& priced, double n) {
  const Operator& op = priced.op;
  double flops = op.flops * n;
  double bytes = op.fixed_bytes + op.bytes * n;
  if (op.experts) {
    const ExpertSpread& spread = *op.experts;
    const ExpertLoad load =
        busiest_load(n * spread.tokens_factor, spread.per_token, spread.experts, spread.ranks);
    flops = op.flops * load.rows;
    bytes = op.fixed_bytes * load.experts + op.bytes * load.rows;
  }
  Roofline r;
  r.compute = flops / priced.flop_rate;
  r.memory = bytes / priced.byte_rate;
  r.overhead = priced.overhead;
  const bool by_bytes = op.kind != OperatorKind::gemm && !op.experts;
  r.seconds = (std::max(r.compute, r.memory) + r.overhead) *
              correction_at(priced.correction, by_bytes ? bytes : n);
  if (!priced.surface.empty()) {
    r.seconds *= priced.surface.factor(quantities_of(op, n));
  }
  return r;
}

AttentionCost attention_cost(const PricedOperator& priced) {
  const Operator& op = priced.op;
  AttentionCost cost;
  cost.prefill = op.driver == Driver::prefill;
  cost.count = op.count;
  cost.compute_pair = op.flops / priced.flop_rate;
  cost.compute_index = op.index_flops / priced.flop_rate;
  cost.compute_context = op.context_flops / priced.flop_rate;
  cost.compute_row = op.row_flops / priced.flop_rate;
  cost.memory_fixed = op.fixed_bytes / priced.byte_rate;
  cost.memory_context = op.bytes / priced.byte_rate;
  cost.memory_index = op.index_bytes / priced.byte_rate;
  // A chunk reads its own keys and values too.
  cost.memory_row =
      (op.row_bytes + (cost.prefill ? op.bytes + op.index_bytes : 0)) / priced.byte_rate;
  cost.overhead = priced.overhead;
  cost.window = op.window;
  const bool grouped =
      op.kind == OperatorKind::attention_prefill || op.kind == OperatorKind::attention_decode;
  cost.mixes = grouped;
  cost.factor = FactorCurve(priced.correction);
  if (!priced.surface.empty()) {
    const double streams =
        grouped ? op.shape.heads / std::max(1, op.shape.kv_group) : op.shape.heads;
    const Quantity first = cost.prefill ? Quantity::queries : Quantity::context;
    Quantities q = quantities_of(op, 1);
    // Surfaces over the context of a chunk have axes for nothing else that changes but its queries.
    const Surface main = (cost.prefill ? priced.surface.without(Quantity::context) : priced.surface)
                             .held(q, {first, Quantity::sequences, Quantity::streams});
    cost.surface = FactorGrid(20, 13, [&](double x, double sequences) {
      q[first] = x;
      q[Quantity::sequences] = sequences;
      q[Quantity::streams] = sequences * streams;
      return main.factor(q);
    });
    if (const Surface chunks = priced.surface.with(Quantity::context);
        cost.prefill && !chunks.empty()) {
      const Surface prior = chunks.held(q, {first, Quantity::context});
      cost.prior = FactorGrid(20, 20, [&](double x, double context) {
        q[first] = x;
        q[Quantity::context] = context;
        return prior.factor(q);
      });
    }
  }
  return cost;
}

Roofline attention_at(const AttentionCost& cost, const StepView& view) noexcept {
  Roofline r;
  const double rows = cost.prefill ? view.prefill_tokens : view.decode_sequences;
  if (rows == 0) {
    return r;
  }
  const double sequences = cost.prefill ? view.prefill_sequences : rows;
  const double all_pairs = cost.prefill ? view.pairs : view.decode_context;
  const double all_context = cost.prefill ? view.prefill_context : view.decode_context;
  double pairs = all_pairs;
  double context = all_context;
  if (cost.window > 0) {
    pairs = std::min(pairs, rows * cost.window);
    context = std::min(context, sequences * cost.window);
  }
  r.compute = cost.compute_pair * pairs + cost.compute_index * all_pairs +
              cost.compute_context * context + cost.compute_row * rows;
  r.memory = cost.memory_fixed + cost.memory_context * context + cost.memory_index * all_context +
             cost.memory_row * rows;
  r.overhead = cost.overhead;
  r.seconds = (std::max(r.compute, r.memory) + r.overhead) * cost.factor.at(pairs);
  if (!cost.surface.empty()) {
    // The mean sequence stands for all: surfaces are smooth, and the sums above are exact.
    r.seconds *= cost.surface.at((cost.prefill ? rows : all_context) / sequences, sequences);
    if (!cost.prior.empty()) {
      r.seconds *= cost.prior.at(rows / sequences, all_context / sequences);
    }
  }
  return r;
}

}  // namespace dyn::perf
