#include <fmt/format.h>

#include "constants.h"
#include "dyn/core/json_writer.h"
#include "dyn/eval/calibrate.h"

namespace dyn::eval {
namespace {

constexpr const char* kNoHoldOut = "no hold-out: means only, of fewer than three runs";

std::string line_of(const char* name, const RunFigures::Figure& f) {
  return fmt::format(
      "    {:<5} {:>10.2f} {:>10.2f} {:>+8.1f} % {:>10.2f} {:>+8.1f} %   {:.2f} to {:.2f}{}\n",
      name, f.measured, f.before, 100 * f.error_before(), f.after, 100 * f.error_after(), f.low,
      f.high, f.low <= f.measured && f.measured <= f.high ? "" : "  (not held)");
}

std::string text_of(const char* title, const std::vector<RunFigures>& runs) {
  std::string out;
  for (const RunFigures& run : runs) {
    out += fmt::format("\n{}: {}, {}\n", title, run.run, run.part);
    out += fmt::format("    {:<5} {:>10} {:>10} {:>10} {:>10} {:>10}   {}\n", "ms", "measured",
                       "before", "error", "after", "error", "90 % interval");
    out += line_of("TTFT", run.ttft) + line_of("ITL", run.itl) + line_of("E2E", run.e2e);
  }
  return out;
}

void write(Writer& out, const char* name, const RunFigures::Figure& f) {
  out.key(name);
  out.begin_object();
  for (const auto& [key, value] : {std::pair{"measured_ms", f.measured},
                                   {"before_ms", f.before},
                                   {"after_ms", f.after},
                                   {"low_ms", f.low},
                                   {"high_ms", f.high}}) {
    out.key(key);
    out.number(value);
  }
  out.end_object();
}

void write(Writer& out, const char* name, const std::vector<RunFigures>& runs) {
  out.key(name);
  out.begin_list();
  for (const RunFigures& run : runs) {
    out.begin_object();
    out.member("run", run.run);
    out.member("part", run.part);
    write(out, "ttft", run.ttft);
    write(out, "itl", run.itl);
    write(out, "e2e", run.e2e);
    out.end_object();
  }
  out.end_list();
}

}  // namespace

std::string to_text(const Calibration& calibration) {
  std::string out =
      fmt::format("{:<22} {:>10} {:>10} {:>12}\n", "constant", "before", "after", "deviation");
  for (const FittedConstant& c : calibration.constants) {
    out += fmt::format("{:<22} {:>10.3f} {:>10.3f} {:>12.3f} {}\n", to_text(c.constant), c.before,
                       c.after, c.deviation, is_factor(c.constant) ? "x" : "ms");
  }
  out += text_of("fitted", calibration.fitted);
  out += calibration.held_out.empty() ? std::string("\n") + kNoHoldOut + '\n'
                                      : text_of("held out", calibration.held_out);
  out += text_of("predicted", calibration.predicted);
  return out + fmt::format("\n90 % interval of a prediction: +-{:.1f} %\n",
                           100 * calibration.relative_error);
}

std::string to_json(const Calibration& calibration) {
  JsonWriter out;
  out.begin_object();
  out.member("schema", "dyn.calibration/1");
  out.key("constants");
  out.begin_list();
  for (const FittedConstant& c : calibration.constants) {
    out.begin_object();
    out.member("name", to_text(c.constant));
    out.member("unit", is_factor(c.constant) ? "factor" : "ms");
    for (const auto& [key, value] :
         {std::pair{"before", c.before}, {"after", c.after}, {"deviation", c.deviation}}) {
      out.key(key);
      out.number(value);
    }
    out.end_object();
  }
  out.end_list();
  write(out, "fitted", calibration.fitted);
  write(out, "held_out", calibration.held_out);
  if (calibration.held_out.empty()) {
    out.member("no_hold_out", "means only, of fewer than three runs");
  }
  write(out, "predicted", calibration.predicted);
  out.key("relative_error");
  out.number(calibration.relative_error);
  out.end_object();
  return out.finish();
}

}  // namespace dyn::eval
