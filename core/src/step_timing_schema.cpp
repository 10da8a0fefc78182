#include "dyn/core/schemas.h"

namespace dyn {
namespace {

constexpr std::size_t kCoefficients = 3;  // of 1, x and x^2

bool finite(double value) {
  return value - value == 0;
}

void check_coefficients(const std::vector<double>& values, const char* key, Checker& checker) {
  if (values.size() != kCoefficients) {
    checker.error(key, "expected 3 coefficients, those of 1, x and x^2; got " +
                           std::to_string(values.size()));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!finite(values[i])) {
      checker.error(key, i, "expected a finite number");
    }
  }
}

void check_timing(const StepTiming& timing, Checker& checker) {
  check_coefficients(timing.prefill_ms, "prefill_ms", checker);
  check_coefficients(timing.decode_ms, "decode_ms", checker);
  const auto only = [&](const char* key, TimingKind kind) {
    if (checker.has(key) && timing.kind != kind) {
      checker.error(key, std::string("'") + key + "' belongs to kind: " + enum_text(kind));
    }
  };
  only("prefill_ms", TimingKind::polynomial);
  only("decode_ms", TimingKind::polynomial);
  only("decode_floor", TimingKind::polynomial);
  only("prefill", TimingKind::constant);
  only("decode", TimingKind::constant);
}

}  // namespace

void describe(EnumSchema<TimingKind>& s) {
  s.value(TimingKind::model, "model", "the latency model, from what is in the batch.")
      .value(TimingKind::polynomial, "polynomial",
             "as Dynamo's simulated engine: a polynomial of the prompt tokens computed plus one of "
             "how full the KV cache is.")
      .value(TimingKind::constant, "constant",
             "one time for steps with prompt tokens, one for steps with decoding sequences, and "
             "their sum for steps with both.");
}

void describe(ObjectSchema<StepTiming>& s) {
  s.about("timing",
          "Where step times come from. Other kinds than the model are for comparing simulators and "
          "for queueing theory: real engines take less than the sum for a mixed step.");
  s.field("kind", &StepTiming::kind, "The source.").because("it knows the device");
  s.field("prefill_ms", &StepTiming::prefill_ms,
          "Milliseconds of the prefill part (polynomial): coefficients of 1, T and T^2, where T "
          "counts the prompt tokens that the step computes.")
      .because("Dynamo 1.6's mocker has these")
      .brief();
  s.field("decode_ms", &StepTiming::decode_ms,
          "Milliseconds of the decode part (polynomial): coefficients of 1, u and u^2, where u is "
          "the share of the KV cache, at most 1, that the decoding sequences fill.")
      .because("Dynamo 1.6's mocker has these")
      .brief();
  s.field("decode_floor", &StepTiming::decode_floor, "Least decode part (polynomial).")
      .at_least(Duration{0})
      .because("Dynamo 1.6's mocker has it")
      .brief();
  s.field("prefill", &StepTiming::prefill, "Prefill part (constant).")
      .above(Duration{0})
      .because("a round figure")
      .brief();
  s.field("decode", &StepTiming::decode, "Decode part (constant).")
      .above(Duration{0})
      .because("a round figure")
      .brief();
  s.field("image_time", &StepTiming::image_time,
          "Time that encoding an image takes, whatever its size; several take as much longer.")
      .above(Duration{0})
      .example("30 ms")
      .unset("the latency model, from the model's vision encoder");
  s.check(check_timing);
}

}  // namespace dyn
