#include "dyn/perf/given_timing.h"

#include <algorithm>
#include <array>

#include "dyn/core/check.h"
#include "dyn/perf/perf_model.h"

namespace dyn::perf {
namespace {

using Coefficients = std::array<double, 3>;

Coefficients coefficients(const std::vector<double>& values) {
  DYN_ASSERT(values.size() == 3, "a polynomial of degree 2");
  return {values[0], values[1], values[2]};
}

double at(const Coefficients& c, double x) {
  return c[2] * x * x + c[1] * x + c[0];
}

Duration from_millis(double ms) {
  constexpr double kLongest = 1e12;  // 30 years
  return Duration(static_cast<std::int64_t>(std::clamp(ms, 0.0, kLongest) * 1e6 + 0.5));
}

/// Whether the step computes prompt tokens, and whether somebody decodes in it.
bool prefills(const StepBatch& batch) {
  return batch.prefill_sequences + batch.last_tokens > 0;
}
bool decodes(const StepBatch& batch) {
  return batch.decode_sequences > batch.last_tokens;
}

class PolynomialTimer final : public StepTimer {
 public:
  PolynomialTimer(const StepTiming& timing, std::int64_t kv_tokens)
      : prefill_(coefficients(timing.prefill_ms)),
        decode_(coefficients(timing.decode_ms)),
        floor_ms_(to_millis(timing.decode_floor)),
        kv_tokens_(static_cast<double>(kv_tokens)) {}

  Duration step_time(const StepBatch& batch) const noexcept override {
    double ms = 0;
    if (prefills(batch)) {
      ms += std::max(0.0,
                     at(prefill_, static_cast<double>(batch.prefill_tokens + batch.last_tokens)));
    }
    if (decodes(batch)) {
      const auto tokens = static_cast<double>(batch.decode_context - batch.last_context);
      ms += std::max(floor_ms_, at(decode_, std::min(1.0, tokens / kv_tokens_)));
    }
    return std::max(Duration(1), from_millis(ms));
  }

 private:
  Coefficients prefill_;
  Coefficients decode_;
  double floor_ms_;
  double kv_tokens_;
};

class ConstantTimer final : public StepTimer {
 public:
  explicit ConstantTimer(const StepTiming& timing)
      : prefill_(timing.prefill), decode_(timing.decode) {}

  Duration step_time(const StepBatch& batch) const noexcept override {
    return (prefills(batch) ? prefill_ : Duration{0}) + (decodes(batch) ? decode_ : Duration{0});
  }

 private:
  Duration prefill_;
  Duration decode_;
};

}  // namespace

std::shared_ptr<const StepTimer> given_timing(const StepTiming& timing, std::int64_t kv_tokens) {
  DYN_ASSERT(timing.kind != TimingKind::model, "the latency model is no given timing");
  DYN_ASSERT(kv_tokens > 0, "an engine without KV cache");
  if (timing.kind == TimingKind::constant) {
    return std::make_shared<ConstantTimer>(timing);
  }
  return std::make_shared<PolynomialTimer>(timing, kv_tokens);
}

const Profile& profile_of(const Plan& plan, const PoolSpec& pool) {
  return pool.profile ? *pool.profile : plan.profile;
}

const Profile& profile_of(const Plan& plan, const EncodeSpec& pool) {
  return pool.profile ? *pool.profile : plan.profile;
}

std::shared_ptr<const StepTimer> step_timer(const Plan& plan, const PoolSpec& pool) {
  if (pool.timing.kind == TimingKind::model) {
    return PerfModel::compile(target_of(plan, pool), profile_of(plan, pool));
  }
  return given_timing(pool.timing, pool.config.kv_blocks.value_or(1) * pool.config.block_size);
}

}  // namespace dyn::perf
