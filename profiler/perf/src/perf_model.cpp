#include "dyn/perf/perf_model.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "attention_curve.h"
#include "dyn/core/check.h"
#include "dyn/core/quantity_text.h"
#include "dyn/perf/engine_host.h"
#include "dyn/perf/operator_work.h"
#include "dyn/perf/speculation.h"
#include "engine_hosts.h"
#include "fit_choice.h"
#include "mixed_attention.h"
#include "operators.h"
#include "pricing.h"
#include "token_curve.h"

namespace dyn::perf {

namespace {

/// The sizes vLLM captures CUDA graphs for: 1, 2, 4, then multiples of 8 to 256, of 16 to 512
/// (vLLM 0.19, cudagraph_capture_sizes). Smaller steps run padded to the next.
std::int64_t padded_tokens(std::int64_t n) {
  if (n <= 2) {
    return n;
  }
  if (n <= 4) {
    return 4;
  }
  if (n <= 256) {
    return (n + 7) / 8 * 8;
  }
  return n <= 512 ? (n + 15) / 16 * 16 : n;
}

/// The numbers of a version such as 0.5.10.post1, for comparing.
EngineHost find_host(const Profile& profile, const PerfTarget& target) {
  if (const EngineHost* host = engine_host(profile, target.engine, target.engine_version)) {
    return *host;
  }
  EngineHost none;
  none.engine = target.engine;
  none.source = "no host constants for " + target.engine + " in the profile: counted as none";
  return none;
}

const char* bound_by(const PricedOperator& op, const Roofline& r) {
  if (is_collective(op.op.kind)) {
    return r.overhead > r.memory ? "latency" : "network";
  }
  const double work = std::max(r.compute, r.memory);
  if (r.overhead > work) {
    return "latency";
  }
  return r.compute > r.memory ? "compute" : "memory";
}

/// A serving factor where an execution is bound like this. Gaps that a graph closes make kernels
/// faster than they are alone, but not their arithmetic.
double in_steps(double factor, const Roofline& r) {
  const double work = r.memory + r.compute;
  return factor >= 1 || work <= 0 ? factor : 1 - (1 - factor) * r.memory / work;
}

/// Seconds of prefill and decode attention, of the layers of `curve`, that slow each other down.
double beside(const AttentionCurve& curve, const MixedAttention& mixed,
              const StepView& v) noexcept {
  const double prefill = curve.prefill(v);
  const double decode = curve.decode(v);
  if (prefill == 0 || decode == 0 || !mixed.measured()) {
    return prefill + decode;
  }
  const double layers = curve.layers();
  return layers * mixed.seconds(prefill / layers, decode / layers, v.decode_sequences);
}

}  // namespace

struct PerfModel::Impl {
  /// An operator that is priced by a curve, with the curve of all its executions in a step.
  struct Tabled {
    PricedOperator priced;
    TokenCurve curve;
  };

  std::vector<Tabled> tabled;                // in order of execution
  std::vector<PricedOperator> attention;     // in order of execution, each count > 0
  std::vector<AttentionCost> costs;          // of each
  std::vector<AttentionCurve> curves;        // of each
  AttentionCurve alone;                      // sum of those whose phases do not meet
  AttentionCurve meeting;                    // sum of those whose phases do
  std::vector<std::size_t> attention_after;  // tabled operators before each
  MixedAttention mixed;                      // interaction of prefill and decode
  TokenCurve by_tokens;                      // sum of all that grow with tokens
  TokenCurve by_sampled;                     // sum of all that grow with sampled sequences
  EngineHost host;
  double host_base = 0;
  double host_per_sequence = 0;
  double stages = 1;
  double tokens_per_decode = 1;
  bool graph_padding = true;

  void add(const Operator& op, const Profile& profile);
  StepView view(const StepBatch& batch) const noexcept;
  double gpu_seconds(const StepView& view) const noexcept;
  double host_seconds(const StepBatch& batch) const noexcept;
  OperatorTime attention_time(std::size_t index, const StepView& view, double factor) const;
  OperatorTime tabled_time(const Tabled& entry, const StepView& view) const;
};

void PerfModel::Impl::add(const Operator& op, const Profile& profile) {
  PricedOperator priced = price(op, profile, host.engine);
  const double factor = serving_factor(host, op.kind);
  if (factor != 1) {
    priced.source += "; x " + shortest(factor) + " in " + host.engine + "'s steps";
    priced.source += host.serving->source.empty() ? "" : ": " + host.serving->source;
  }
  if (op.driver == Driver::prefill || op.driver == Driver::decode) {
    priced.op.count *= factor;  // so many times as long is as if it was executed so many times
    costs.push_back(attention_cost(priced));
    curves.emplace_back(costs.back());
    (costs.back().mixes ? meeting : alone) += curves.back();
    attention.push_back(std::move(priced));
    attention_after.push_back(tabled.size());
    return;
  }
  const bool pad = graph_padding && op.driver == Driver::tokens;
  std::int64_t last = 0;
  double seconds = 0;
  TokenCurve curve([&](std::int64_t n) {
    if (const std::int64_t run = pad ? padded_tokens(n) : n; run != last) {
      last = run;
      const Roofline roofline = roofline_at(priced, static_cast<double>(run));
      seconds = roofline.seconds * in_steps(factor, roofline);
    }
    return seconds;
  });
  curve *= op.count;
  (op.driver == Driver::tokens ? by_tokens : by_sampled) += curve;
  tabled.push_back({std::move(priced), std::move(curve)});
}

StepView PerfModel::Impl::view(const StepBatch& batch) const noexcept {
  StepView v;
  v.tokens = static_cast<double>(batch.prefill_tokens) + tokens_per_decode * batch.decode_sequences;
  v.sampled = batch.sampled;
  v.prefill_sequences = batch.prefill_sequences;
  v.prefill_tokens = static_cast<double>(batch.prefill_tokens);
  v.prefill_context = static_cast<double>(batch.prefill_context);
  // Query i of a chunk sees the prior tokens and i + 1 of the chunk: q prior + q (q + 1) / 2.
  v.own_pairs = 0.5 * static_cast<double>(batch.prefill_square + batch.prefill_tokens);
  v.pairs = static_cast<double>(batch.prefill_cross) + v.own_pairs;
  v.decode_sequences = batch.decode_sequences;
  v.decode_context = static_cast<double>(batch.decode_context);
  if (stages > 1) {
    // A step of a pipeline gives every sequence its tokens: `stages` micro-batches follow each
    // other without a gap, so that a cycle takes all stages for one of them. A chunk cannot be
    // split: the Euclidean norm of the chunks bounds the longest from above.
    const double longest =
        std::sqrt(static_cast<double>(batch.prefill_square) + v.decode_sequences);
    v.tokens = std::max(v.tokens / stages, longest);
    v.sampled = v.sampled > 0 ? std::max(v.sampled / stages, 1.0) : 0;
    if (v.prefill_tokens > 0) {
      const double share = std::max(
          1 / stages, std::sqrt(static_cast<double>(batch.prefill_square)) / v.prefill_tokens);
      v.prefill_sequences *= share;
      v.prefill_tokens *= share;
      v.prefill_context *= share;
      v.pairs *= share;
      v.own_pairs *= share;
    }
    if (v.decode_sequences > 0) {
      const double share = std::max(1 / stages, 1 / v.decode_sequences);
      v.decode_sequences *= share;
      v.decode_context *= share;
    }
  }
  return v;
}

double PerfModel::Impl::gpu_seconds(const StepView& v) const noexcept {
  return by_tokens.at(v.tokens) + by_sampled.at(v.sampled) + alone.prefill(v) + alone.decode(v) +
         beside(meeting, mixed, v);
}

double PerfModel::Impl::host_seconds(const StepBatch& batch) const noexcept {
  const double sequences = batch.sequences();
  return host_base * std::min(stages, sequences) + host_per_sequence * sequences;
}

PerfTarget target_of(const Plan& plan, const PoolSpec& pool) {
  PerfTarget target;
  target.model = plan.model;
  target.weights = plan.weights;
  target.kv_cache = plan.kv_cache;
  target.layout = pool.layout;
  target.engine = pool.config.kind;
  target.engine_version = pool.config.version.value_or("");
  if (pool.config.speculation) {
    target.speculation = speculation_of(plan.model, *pool.config.speculation);
  }
  return target;
}

PerfModel::PerfModel() = default;
PerfModel::~PerfModel() = default;

std::shared_ptr<const PerfModel> PerfModel::compile(const PerfTarget& target,
                                                    const Profile& profile) {
  auto impl = std::make_unique<Impl>();
  impl->host = find_host(profile, target);
  impl->host_base = to_seconds(impl->host.step_base);
  impl->host_per_sequence = to_seconds(impl->host.step_per_sequence);
  impl->stages = target.layout.pipeline;
  impl->tokens_per_decode = target.tokens_per_decode();
  impl->mixed = MixedAttention(profile, target.engine);
  impl->graph_padding = target.cuda_graphs && profile.device.vendor != "cpu";
  for (const Operator& op : operator_graph(target, profile.device)) {
    impl->add(op, profile);
  }
  std::shared_ptr<PerfModel> model(new PerfModel());
  model->impl_ = std::move(impl);
  return model;
}

Duration PerfModel::step_time(const StepBatch& batch) const noexcept {
  if (batch.empty()) {
    return Duration{0};
  }
  const double gpu = impl_->gpu_seconds(impl_->view(batch));
  const double host = impl_->host_seconds(batch);
  const double seconds = impl_->host.overlapped ? std::max(gpu, host) : gpu + host;
  return std::max(Duration{1}, Duration(static_cast<std::int64_t>(seconds * 1e9 + 0.5)));
}

Duration PerfModel::frontend_time() const noexcept {
  return impl_->host.frontend_per_request;
}

OperatorTime PerfModel::Impl::attention_time(std::size_t index, const StepView& v,
                                             double factor) const {
  const PricedOperator& op = attention[index];
  const double seconds = curves[index].prefill(v) + curves[index].decode(v);
  OperatorTime time;
  time.name = op.op.name;
  time.time = from_seconds(seconds);
  time.bound_by = bound_by(op, attention_at(costs[index], v));
  time.provenance = op.provenance;
  time.relative_error = op.relative_error;
  time.source = op.source;
  if (v.prefill_tokens > 0 && v.decode_sequences > 0) {
    if (costs[index].mixes && mixed.measured()) {
      const OperatorFit& fit = mixed.fit();
      time.time = from_seconds(seconds * factor);
      time.relative_error = std::sqrt(time.relative_error * time.relative_error +
                                      fit.relative_error * fit.relative_error);
      time.provenance = worst(time.provenance, fit.provenance);
      time.source +=
          "; x " + shortest(std::round(factor * 100) / 100) + " beside each other: " + fit.source;
    } else {
      time.provenance = worst(time.provenance, Provenance::extrapolated);
      time.source += "; interaction of prefill and decode unmeasured, taken as 1";
    }
  }
  return time;
}

OperatorTime PerfModel::Impl::tabled_time(const Tabled& entry, const StepView& v) const {
  const double n = entry.priced.op.driver == Driver::tokens ? v.tokens : v.sampled;
  OperatorTime time;
  time.name = entry.priced.op.name;
  time.time = from_seconds(entry.curve.at(n));
  time.bound_by = n > 0 ? bound_by(entry.priced, roofline_at(entry.priced, n)) : "latency";
  time.provenance = entry.priced.provenance;
  time.relative_error = entry.priced.relative_error;
  time.source = entry.priced.source;
  return time;
}

std::vector<OperatorTime> PerfModel::explain(const StepBatch& batch) const {
  std::vector<OperatorTime> times;
  if (batch.empty()) {
    return times;
  }
  const StepView v = impl_->view(batch);
  const double apart = impl_->meeting.prefill(v) + impl_->meeting.decode(v);
  const double factor = apart > 0 ? beside(impl_->meeting, impl_->mixed, v) / apart : 1;
  std::size_t attention = 0;
  const auto add_attention = [&](std::size_t before) {
    for (; attention < impl_->attention.size() && impl_->attention_after[attention] == before;
         ++attention) {
      OperatorTime time = impl_->attention_time(attention, v, factor);
      if (time.time > Duration{0}) {
        times.push_back(std::move(time));
      }
    }
  };
  for (std::size_t i = 0; i < impl_->tabled.size(); ++i) {
    add_attention(i);
    OperatorTime time = impl_->tabled_time(impl_->tabled[i], v);
    if (time.time > Duration{0}) {
      times.push_back(std::move(time));
    }
  }
  add_attention(impl_->tabled.size());
  const double gpu = impl_->gpu_seconds(v);
  const double host = impl_->host_seconds(batch);
  OperatorTime rest;
  rest.name = impl_->host.overlapped ? "host (beyond the GPU's time)" : "host";
  rest.time = from_seconds(impl_->host.overlapped ? std::max(0.0, host - gpu) : host);
  rest.bound_by = "host";
  rest.provenance = impl_->host.provenance;
  rest.relative_error = impl_->host.relative_error;
  rest.source = impl_->host.source;
  if (rest.time > Duration{0}) {
    times.push_back(std::move(rest));
  }
  return times;
}

Estimate PerfModel::estimate(const StepBatch& batch) const {
  Estimate estimate;
  estimate.provenance = Provenance::measured;
  estimate.value = to_seconds(step_time(batch));
  // Errors of one kind of bound go together, those of different kinds are independent.
  const std::vector<OperatorTime> times = explain(batch);
  std::array<double, 5> by_bound{};
  constexpr std::array<const char*, 5> kBounds{"compute", "memory", "network", "latency", "host"};
  for (const OperatorTime& time : times) {
    estimate.provenance = worst(estimate.provenance, time.provenance);
    for (std::size_t i = 0; i < kBounds.size(); ++i) {
      if (time.bound_by == kBounds[i]) {
        by_bound[i] += to_seconds(time.time) * time.relative_error;
      }
    }
  }
  double squares = 0;
  for (const double error : by_bound) {
    squares += error * error;
  }
  const double half = std::sqrt(squares);
  estimate.low = std::max(0.0, estimate.value - half);
  estimate.high = estimate.value + half;
  return estimate;
}

}  // namespace dyn::perf
