#include "dyn/eval/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "constants.h"
#include "dyn/core/error.h"
#include "dyn/core/version.h"
#include "fitter.h"
#include "hardware_bounds.h"
#include "run_simulator.h"

namespace dyn::eval {
namespace {

constexpr std::size_t kLeastRuns = 3;   ///< of means, to hold one out
constexpr std::size_t kMeansOfRun = 2;  ///< of a run of means: TTFT and ITL, which make its E2E
constexpr double kHalfWidth = 1.6449;   ///< deviations from the middle of a 90 % interval

RunFigures figures(const RecordedRun& run, Part part, std::string label,
                   const std::vector<Times>& before, const std::vector<Times>& after) {
  std::vector<std::size_t> requests;
  for (std::size_t i = part.begin; i < part.end; ++i) {
    requests.push_back(i);
  }
  RunFigures out;
  out.run = run.name;
  out.part = std::move(label);
  const auto figure = [&](auto measured, auto predicted) {
    RunFigures::Figure f;
    const Mean was =
        mean_of(requests, measured, [&](std::size_t i) { return predicted(before[i]); });
    const Mean is = mean_of(requests, measured, [&](std::size_t i) { return predicted(after[i]); });
    f.measured = is.measured;
    f.before = was.predicted;
    f.after = is.predicted;
    return f;
  };
  out.ttft = figure([&](std::size_t i) { return run.requests[i].ttft_ms; },
                    [](const Times& t) { return t.ttft; });
  out.itl = figure([&](std::size_t i) { return run.requests[i].itl_ms(); },
                   [](const Times& t) { return t.itl; });
  out.e2e = figure([&](std::size_t i) { return run.requests[i].e2e_ms; },
                   [](const Times& t) { return t.e2e; });
  return out;
}

/// Half-width of a prediction's 90 % interval: what held-out requests and whole runs are off by,
/// and what runs do not repeat by. Where nothing is held out, so many constants can make the fit
/// look as good as one likes: its variance counts (n + p) / (n - p) times for p constants fitted to
/// n figures, Akaike's final prediction error (1969), with one figure to spare where none is.
double half_width(const std::vector<RunFigures>& held_out, const std::vector<RunFigures>& fitted,
                  std::size_t constants) {
  const auto mean_square = [](const std::vector<RunFigures>& runs) {
    double sum = 0;
    double n = 0;
    for (const RunFigures& run : runs) {
      for (const RunFigures::Figure& f : {run.ttft, run.itl, run.e2e}) {
        sum += f.error_after() * f.error_after();
        ++n;
      }
    }
    return n > 0 ? sum / n : 0;
  };
  const double worst = std::max(mean_square(held_out), mean_square(fitted));
  double variance = worst + kLeastDeviation * kLeastDeviation;
  if (held_out.empty()) {
    const auto n = static_cast<double>(kMeansOfRun * fitted.size());
    const auto p = static_cast<double>(constants);
    variance *= (n + p) / std::max(1.0, n - p);
  }
  return kHalfWidth * std::sqrt(variance);
}

void set_intervals(std::vector<RunFigures>& runs, double half) {
  for (RunFigures& run : runs) {
    for (RunFigures::Figure* f : {&run.ttft, &run.itl, &run.e2e}) {
      f->low = f->after * (1 - std::min(half, 0.95));
      f->high = f->after * (1 + half);
    }
  }
}

std::string source_of(const std::vector<RecordedRun>& runs) {
  std::string out = "dyn profile calibrate, on ";
  std::size_t requests = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    out += (i == 0 ? "" : ", ") + runs[i].name.substr(runs[i].name.rfind('/') + 1);
    requests += runs[i].requests.size();
  }
  return fmt::format("{} ({} requests)", out, requests);
}

/// Sets to try where the user chose none, best liked first: a step's cost grows with its sequences
/// by the host's time or by the device's, and what no figure depends on enough is left as it is.
std::vector<std::vector<Constant>> default_sets() {
  std::vector<std::vector<Constant>> sets;
  for (const Constant growing : {Constant::step_per_sequence, Constant::decode_time}) {
    for (const std::vector<Constant>& more :
         {std::vector{Constant::frontend, Constant::prefill_time},
          std::vector{Constant::prefill_time}, std::vector{Constant::frontend}}) {
      sets.push_back({Constant::step_base, growing});
      sets.back().insert(sets.back().end(), more.begin(), more.end());
    }
  }
  return sets;
}

/// What the fit says of what it has not seen: the last third of each run by requests, and each of
/// three or more runs of means from the others.
void add_held_out(const Fitter& fitter, const std::vector<RecordedRun>& runs,
                  const RunSimulator& original, Calibration& out) {
  const bool means =
      std::all_of(runs.begin(), runs.end(), [](const RecordedRun& run) { return run.means_only; });
  if (means && runs.size() < kLeastRuns) {
    return;
  }
  const ConstantValues part = means ? fitter.start() : fitter.values(fitter.fit(false).parameters);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RecordedRun& run = runs[i];
    const std::vector<Times> before = original.run(run, fitter.start());
    if (means) {
      std::vector<RecordedRun> others = runs;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
      const Fitter rest(fitter.simulator(), others, fitter.constants(), fitter.start());
      const ConstantValues values = rest.values(rest.fit(true).parameters);
      out.held_out.push_back(figures(run, all_of(run), "fitted on the other runs", before,
                                     fitter.simulator().run(run, values)));
    } else if (!run.means_only) {
      out.held_out.push_back(figures(run, {first_part(run).end, run.requests.size()},
                                     "held-out third", before, fitter.simulator().run(run, part)));
    }
  }
}

void refuse_impossible(const std::vector<const std::vector<RecordedRun>*>& groups,
                       const Deployment& deployment) {
  std::vector<ErrorItem> errors;
  for (const std::vector<RecordedRun>* runs : groups) {
    for (const RecordedRun& run : *runs) {
      for (ErrorItem& error : too_fast(run, deployment)) {
        errors.push_back(std::move(error));
      }
    }
  }
  if (!errors.empty()) {
    throw Error(ErrorKind::bad_input, std::move(errors));
  }
}

/// The set of constants with the best fit among those that the runs can tell.
std::vector<Constant> choose(const RunSimulator& simulator, const std::vector<RecordedRun>& runs,
                             const ConstantValues& start) {
  std::vector<Constant> best;
  double best_score = 0;
  std::vector<ErrorItem> errors;
  for (const std::vector<Constant>& set : default_sets()) {
    const Fitter fitter(simulator, runs, set, start);
    const LeastSquaresFit fit = fitter.fit(true);
    std::vector<ErrorItem> unidentified = fitter.unidentified(fit);
    if (!unidentified.empty()) {
      if (errors.empty()) {
        errors = std::move(unidentified);
      }
      continue;
    }
    const double score = fit.cost + 2 * static_cast<double>(set.size());  // Akaike's
    if (best.empty() || score < best_score) {
      best = set;
      best_score = score;
    }
  }
  if (best.empty()) {
    throw Error(ErrorKind::infeasible, std::move(errors));
  }
  return best;
}

}  // namespace

Calibration calibrate(const Deployment& deployment, const std::vector<RecordedRun>& runs,
                      const std::vector<Constant>& wanted,
                      const std::vector<RecordedRun>& predict) {
  refuse_impossible({&runs, &predict}, deployment);
  const EngineConfig& engine = deployment.config;
  Deployment base = deployment;
  base.profile = engine_profile(deployment.profile);
  const RunSimulator original(deployment);
  const RunSimulator simulator(base);
  const ConstantValues start = constants_of(deployment.profile, engine);
  const std::vector<Constant> constants = wanted.empty() ? choose(simulator, runs, start) : wanted;
  const Fitter fitter(simulator, runs, constants, start);
  const LeastSquaresFit fit = fitter.fit(true);
  if (std::vector<ErrorItem> errors = fitter.unidentified(fit); !errors.empty()) {
    throw Error(ErrorKind::infeasible, std::move(errors));
  }
  const ConstantValues values = fitter.values(fit.parameters);
  Calibration out;
  for (std::size_t i = 0; i < constants.size(); ++i) {
    const double after = value_of(values, constants[i]);
    out.constants.push_back({constants[i], value_of(start, constants[i]), after,
                             fit.deviation[i] * (is_factor(constants[i]) ? after : 1)});
  }
  for (const RecordedRun& run : runs) {
    out.fitted.push_back(figures(run, all_of(run), "all requests", original.run(run, start),
                                 simulator.run(run, values)));
  }
  add_held_out(fitter, runs, original, out);
  for (const RecordedRun& run : predict) {
    out.predicted.push_back(figures(run, all_of(run), "not fitted", original.run(run, start),
                                    simulator.run(run, values)));
  }
  out.relative_error = half_width(out.held_out, out.fitted, constants.size());
  for (std::vector<RunFigures>* group : {&out.fitted, &out.held_out, &out.predicted}) {
    set_intervals(*group, out.relative_error);
  }
  out.profile = with_constants(base.profile, engine, values);
  EngineHost& host = *host_of(out.profile, engine);
  host.relative_error = out.relative_error;
  host.provenance = Provenance::measured;
  host.source = source_of(runs);
  out.profile.created_by = fmt::format("dyn profile calibrate (dyn {})", version());
  return out;
}

}  // namespace dyn::eval
