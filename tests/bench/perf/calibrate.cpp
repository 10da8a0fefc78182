// Repeats the calibration behind profiler/perf/src/engine_hosts.h: launch gaps on Hopper and the
// hosts of the engines, by coordinate descent on the mean absolute error of TPOT over the
// measured dense rows of silicon/train.csv. With the name of a model as second argument, its rows
// are held out of the fit and reported alone.
//
//   calibrate_perf .../silicon/train.csv [Llama-3.1-70B]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/memory_model.h"
#include "dyn/perf/perf_model.h"
#include "silicon_rows.h"

namespace {

using namespace dyn;
using namespace dyn::perf;
using test::SiliconRow;

/// The calibrated constants in microseconds, starting at the built-in ones.
struct Constants {
  double gemm = 0;
  double gemm_fp8 = 0;
  double elementwise = 0;
  double decode = 0;
  std::map<int, double> all_reduce;
  std::map<std::string, double> host_base;
  std::map<std::string, double> host_per_sequence;
};

double microseconds(Duration d) {
  return static_cast<double>(d.count()) * 1e-3;
}
Duration duration(double us) {
  return Duration(static_cast<std::int64_t>(us * 1e3 + 0.5));
}

Constants built_in() {
  Constants c;
  const Profile profile = builtin_profile("h100");
  for (const OperatorFit& fit : profile.operators) {
    const double us = microseconds(fit.overhead);
    switch (fit.kind) {
      case OperatorKind::gemm:
        (fit.precision == Precision::fp8 ? c.gemm_fp8 : c.gemm) = us;
        break;
      case OperatorKind::elementwise:
        c.elementwise = us;
        break;
      case OperatorKind::attention_decode:
        c.decode = us;
        break;
      case OperatorKind::all_reduce:
        c.all_reduce[fit.gpus] = us;
        break;
      default:
        break;
    }
  }
  for (const EngineHost& host : profile.engines) {
    c.host_base[host.engine] = microseconds(host.step_base);
    c.host_per_sequence[host.engine] = microseconds(host.step_per_sequence);
  }
  return c;
}

Profile with(Profile profile, const Constants& c) {
  for (OperatorFit& fit : profile.operators) {
    switch (fit.kind) {
      case OperatorKind::gemm:
        fit.overhead = duration(fit.precision == Precision::fp8 ? c.gemm_fp8 : c.gemm);
        break;
      case OperatorKind::elementwise:
        fit.overhead = duration(c.elementwise);
        break;
      case OperatorKind::attention_decode:
        fit.overhead = duration(c.decode);
        break;
      case OperatorKind::all_reduce:
        fit.overhead = duration(c.all_reduce.at(fit.gpus));
        break;
      default:
        break;
    }
  }
  for (EngineHost& host : profile.engines) {
    host.step_base = duration(c.host_base.at(host.engine));
    host.step_per_sequence = duration(c.host_per_sequence.at(host.engine));
  }
  return profile;
}

struct Score {
  double absolute = 0;
  double bias = 0;
  int rows = 0;
};

/// Errors in percent, by deployment; the entry "all" is over all rows.
std::map<std::string, Score> score(const std::vector<SiliconRow>& rows, const Constants& c) {
  std::map<std::string, Score> scores;
  std::map<std::string, Profile> profiles;
  for (const char* gpu : {"h100", "h200"}) {
    profiles[gpu] = with(builtin_profile(gpu), c);
  }
  std::map<std::string, std::shared_ptr<const PerfModel>> models;
  for (const SiliconRow& row : rows) {
    const Profile& profile = profiles[row.gpu];
    const std::string deployment = row.gpu + " " + row.target.model.name + " " + row.target.engine +
                                   (row.target.weights == Precision::bf16 ? " bf16" : " fp8");
    auto& model = models[deployment + std::to_string(row.target.layout.tensor) + "/" +
                         std::to_string(row.target.layout.pipeline)];
    if (!model) {
      model = PerfModel::compile(row.target, profile);
    }
    const EngineConfig config;
    const std::int64_t tokens =
        memory_use(row.target, profile.device, config).kv_tokens(config.block_size);
    const double error = 100 * (test::closed_loop_tpot_ms(*model, row, tokens) / row.tpot_ms - 1);
    for (const std::string& key : {deployment, std::string("all")}) {
      scores[key].absolute += std::abs(error);
      scores[key].bias += error;
      ++scores[key].rows;
    }
  }
  return scores;
}

double mean_error(const std::vector<SiliconRow>& rows, const Constants& c) {
  const Score all = score(rows, c)["all"];
  return all.absolute / std::max(1, all.rows);
}

void report(const char* title, const std::vector<SiliconRow>& rows, const Constants& c) {
  std::printf("%s\n", title);
  for (const auto& [deployment, s] : score(rows, c)) {
    std::printf("  %-46s %4d rows  MAPE %5.1f %%  bias %+6.1f %%\n", deployment.c_str(), s.rows,
                s.absolute / s.rows, s.bias / s.rows);
  }
}

void descend(const std::vector<SiliconRow>& rows, Constants& c) {
  std::vector<double*> values{&c.gemm, &c.gemm_fp8, &c.elementwise, &c.decode};
  for (auto* group : {&c.host_base, &c.host_per_sequence}) {
    for (auto& [name, value] : *group) {
      values.push_back(&value);
    }
  }
  for (auto& [gpus, value] : c.all_reduce) {
    values.push_back(&value);
  }
  double best = mean_error(rows, c);
  for (int round = 0; round < 8; ++round) {
    for (double* value : values) {
      for (const double factor : {0.5, 0.8, 0.9, 1.1, 1.25, 2.0}) {
        const double old = *value;
        *value = std::max(0.3, old * factor);
        const double error = mean_error(rows, c);
        if (error < best - 1e-3) {
          best = error;
        } else {
          *value = old;
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s silicon/train.csv [model to hold out]\n", argv[0]);
    return 2;
  }
  std::vector<SiliconRow> fitted;
  std::vector<SiliconRow> held_out;
  for (SiliconRow& row : test::read_silicon_rows(argv[1])) {
    const bool hold = argc > 2 && row.target.model.name.find(argv[2]) != std::string::npos;
    (hold ? held_out : fitted).push_back(std::move(row));
  }
  Constants c = built_in();
  report("built-in constants", fitted, c);
  if (argc > 2) {
    // Far from the answer, so that nothing of it leaks in.
    c.gemm = c.gemm_fp8 = c.decode = 8;
    c.elementwise = 2.5;
    c.all_reduce = {{2, 16.6}, {4, 30.6}, {8, 28.6}};
    for (auto* group : {&c.host_base, &c.host_per_sequence}) {
      for (auto& [name, value] : *group) {
        value = group == &c.host_base ? 1000 : 10;
      }
    }
  }
  descend(fitted, c);
  report("refitted", fitted, c);
  if (!held_out.empty()) {
    report("held out", held_out, c);
  }
  std::printf("gemm %.2f fp8 %.2f elementwise %.2f decode %.2f us\n", c.gemm, c.gemm_fp8,
              c.elementwise, c.decode);
  for (const auto& [gpus, value] : c.all_reduce) {
    std::printf("all-reduce of %d: %.1f us\n", gpus, value);
  }
  for (const auto& [engine, value] : c.host_base) {
    std::printf("%s: %.0f us a step + %.1f us a sequence\n", engine.c_str(), value,
                c.host_per_sequence[engine]);
  }
  return 0;
}
