#include "fit_choice.h"

#include <array>
#include <cmath>
#include <optional>

#include "dyn/core/math.h"
#include "dyn/perf/operator_work.h"

namespace dyn::perf {

namespace {

/// What another kind, another engine and so on cost in the choice. Only their order matters.
constexpr double kOtherKind = 16;
constexpr double kOtherExchange = 6;
constexpr double kOtherPrecision = 4;
constexpr double kOtherWindow = 3;
constexpr double kOctave = 1;
constexpr double kOtherKvCache = 0.8;
constexpr double kOtherEngine = 0.5;
constexpr double kAnyEngine = 0.25;

/// The kind whose kernels are most like this one's, for profiles that lack it.
std::optional<OperatorKind> similar_kind(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::latent_prefill:
    case OperatorKind::sparse_prefill:
      return OperatorKind::attention_prefill;
    case OperatorKind::latent_decode:
    case OperatorKind::sparse_decode:
      return OperatorKind::attention_decode;
    case OperatorKind::linear_prefill:
    case OperatorKind::linear_decode:
      return OperatorKind::elementwise;
    case OperatorKind::moe:
      return OperatorKind::gemm;
    case OperatorKind::moe_dispatched:
      return OperatorKind::moe;
    case OperatorKind::all_gather:
    case OperatorKind::reduce_scatter:
    case OperatorKind::all_to_all:
      return OperatorKind::all_reduce;
    default:
      return std::nullopt;
  }
}

double octaves_between(double a, double b) {
  return std::abs(portable_log2(a / b));
}

/// Steps from the precision that was measured to the one that is used.
int precision_steps(Precision measured, Precision used) {
  if (measured == used) {
    return 0;
  }
  const Precision compute = compute_precision(used);
  if (compute_precision(measured) == compute) {
    // Formats that multiply alike; weight-only ones differ more.
    return measured == compute || compute != Precision::bf16 ? 1 : 2;
  }
  return measured == Precision::bf16 ? 3 : 4;
}

/// What a fit and an operator differ in. Texts are joined only for the fit that is chosen: many are
/// compared.
class Comparison {
 public:
  void differs(double cost, const char* what) {
    distance_ += cost;
    differences_[count_++] = what;
  }
  void prefer_others(double cost) { distance_ += cost; }
  double distance() const { return distance_; }
  std::string differences() const {
    std::string text;
    for (std::size_t i = 0; i < count_; ++i) {
      text += std::string(text.empty() ? "" : ", ") + differences_[i];
    }
    return text;
  }

 private:
  double distance_ = 0;
  std::array<const char*, 8> differences_{};
  std::size_t count_ = 0;
};

bool has_precision(OperatorKind kind) {
  return kind == OperatorKind::gemm || kind == OperatorKind::moe ||
         kind == OperatorKind::moe_dispatched || kind == OperatorKind::sparse_prefill ||
         kind == OperatorKind::sparse_decode;
}

bool has_heads(OperatorKind kind) {
  return kind == OperatorKind::attention_prefill || kind == OperatorKind::attention_decode;
}

Comparison compare(const OperatorFit& fit, const Operator& op, const std::string& engine) {
  Comparison c;
  if (fit.kind != op.kind) {
    if (op.kind == OperatorKind::moe_dispatched) {
      c.differs(kOtherExchange, "another exchange");
    } else {
      c.differs(kOtherKind, "another operator");
    }
  }
  if (has_precision(op.kind)) {
    if (const int steps = precision_steps(fit.precision, op.precision); steps > 0) {
      c.differs(kOtherPrecision * steps, "another precision");
    }
  }
  if (is_collective(op.kind) && fit.gpus != op.group) {
    c.differs(2 * kOctave * octaves_between(fit.gpus, op.group) + (fit.gpus < op.group ? 0.1 : 0),
              "another group size");
  }
  if (has_heads(op.kind)) {
    if ((fit.window > 0) != (op.window > 0)) {
      c.differs(kOtherWindow, fit.window > 0 ? "a window" : "no window");
    } else if (fit.window > 0 && fit.window != op.window) {
      c.differs(kOctave * octaves_between(fit.window, op.window), "another window");
    }
    if (fit.head_dim > 0 && op.shape.head_dim > 0 && fit.head_dim != op.shape.head_dim) {
      c.differs(kOctave * octaves_between(fit.head_dim, op.shape.head_dim), "another head size");
    }
    if (fit.kv_group > 0 && op.shape.kv_group > 0 && fit.kv_group != op.shape.kv_group) {
      c.differs(0.3 * kOctave * octaves_between(fit.kv_group, op.shape.kv_group),
                "another sharing of KV heads");
    }
  }
  if (fit.kv_cache && *fit.kv_cache != op.kv_cache && op.driver != Driver::tokens) {
    c.differs(kOtherKvCache, "another KV precision");
  }
  if (fit.engine.empty()) {
    c.prefer_others(kAnyEngine);  // as good as any, and nothing to tell
  } else if (fit.engine != engine) {
    c.prefer_others(kOtherEngine);
  }
  return c;
}

}  // namespace

FitChoice choose_fit(const Operator& op, const std::string& engine, const Profile& profile) {
  const OperatorFit* best = nullptr;
  Comparison nearest;
  const std::optional<OperatorKind> similar = similar_kind(op.kind);
  for (const OperatorFit& fit : profile.operators) {
    if (fit.kind != op.kind && fit.kind != similar) {
      continue;
    }
    const Comparison comparison = compare(fit, op, engine);
    if (best == nullptr || comparison.distance() < nearest.distance()) {
      best = &fit;
      nearest = comparison;
    }
  }
  FitChoice choice{best, nearest.distance(), nearest.differences()};
  if (best != nullptr && !best->engine.empty() && best->engine != engine) {
    choice.differences += (choice.differences.empty() ? "" : ", ") + ("kernels of " + best->engine);
  }
  return choice;
}

}  // namespace dyn::perf
