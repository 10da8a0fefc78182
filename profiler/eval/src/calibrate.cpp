#include "dyn/eval/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "constants.h"
#include "dyn/core/error.h"
#include "dyn/core/math.h"
#include "dyn/core/version.h"
#include "dyn/perf/memory_model.h"
#include "dyn/perf/perf_model.h"
#include "dyn/sim/simulation.h"
#include "least_squares.h"

namespace dyn::eval {
namespace {

constexpr double kLeastDeviation = 0.03;  ///< relative, of a mean: runs do not repeat better
constexpr std::size_t kBins = 3;          ///< of prompt length, for TTFT
constexpr std::size_t kRequestsOfBin = 4;
constexpr double kFittedPart = 2.0 / 3;  ///< of each run, where the rest is held out
constexpr std::size_t kLeastRuns = 3;    ///< of means, to hold one out
constexpr double kHalfWidth = 1.6449;    ///< deviations from the middle of a 90 % interval
/// A constant is told by the runs if its standard error is at most this part of the figure that
/// it adds to (ITL, or TTFT for the frontend), or of itself for factors.
constexpr double kMostDeviation = 0.2;

/// Milliseconds of one request.
struct Times {
  double ttft = 0;
  double itl = 0;  ///< 0: one token
  double e2e = 0;
};

/// Requests of a run that count: the first so many, or the others.
struct Part {
  std::size_t begin = 0;
  std::size_t end = 0;
};

Part all_of(const RecordedRun& run) {
  return {0, run.requests.size()};
}

Part first_part(const RecordedRun& run) {
  if (run.means_only) {
    return all_of(run);
  }
  const auto n = static_cast<double>(run.requests.size());
  return {0, static_cast<std::size_t>(std::ceil(n * kFittedPart))};
}

/// Simulates runs on a deployment with given constants.
class Simulator {
 public:
  explicit Simulator(const Deployment& deployment) : deployment_(deployment) {
    plan_.model = deployment.model;
    PoolSpec pool;
    pool.layout = deployment.layout;
    pool.config = deployment.config;
    const perf::PerfTarget target = this->target();
    if (!pool.config.kv_blocks) {
      pool.config.kv_blocks =
          perf::memory_use(target, deployment.profile.device, pool.config).kv_blocks;
      if (*pool.config.kv_blocks == 0) {
        throw Error(ErrorKind::infeasible, "the model does not fit the device's memory",
                    "give --kv-blocks as the engine reports them");
      }
    }
    if (!pool.config.max_model_len) {
      pool.config.max_model_len = deployment.model.max_context;
    }
    plan_.pools = {pool};
    plan_.router.kind = RouterKind::round_robin;
    plan_.router.max_queued_per_worker = 1 << 30;
  }

  std::vector<Times> run(const RecordedRun& run, const ConstantValues& values) const {
    const Profile profile = with_constants(deployment_.profile, deployment_.config.kind, values);
    sim::SimulationSpec spec;
    spec.plan = &plan_;
    spec.timers = {perf::PerfModel::compile(target(), profile)};
    sim::Workload workload;
    workload.concurrency = run.concurrency;
    for (const RecordedRequest& request : run.requests) {
      sim::WorkloadRequest out;
      out.arrival = SimTime(request.sent);
      out.input_tokens = request.isl;
      out.output_tokens = request.osl;
      workload.requests.push_back(out);
    }
    std::vector<Times> times;
    for (const RequestRecord& record : sim::simulate(spec, workload).records) {
      const double ttft = to_millis(record.first_token - record.sent);
      const double e2e = to_millis(record.finished - record.sent);
      const auto gaps = static_cast<double>(record.output_tokens - 1);
      times.push_back({ttft, gaps > 0 ? (e2e - ttft) / gaps : 0, e2e});
    }
    return times;
  }

 private:
  perf::PerfTarget target() const {
    return {deployment_.model, deployment_.weights, deployment_.kv_cache, deployment_.layout,
            deployment_.config.kind};
  }

  const Deployment& deployment_;
  Plan plan_;
};

/// A mean over some requests, and how well the measured one is known.
struct Mean {
  double predicted = 0;
  double measured = 0;
  double deviation = 0;  ///< relative
};

template <class Measured, class Predicted>
Mean mean_of(const std::vector<std::size_t>& requests, Measured measured, Predicted predicted) {
  Mean mean;
  double n = 0;
  for (const std::size_t i : requests) {
    const double x = measured(i);
    mean.measured += x > 0 ? x : 0;
    mean.predicted += x > 0 ? predicted(i) : 0;
    n += x > 0 ? 1 : 0;
  }
  n = std::max(n, 1.0);
  mean.measured /= n;
  mean.predicted /= n;
  return mean;
}

/// The relative error of a mean, what depends on prompt length (x) left out.
template <class X, class Y>
double deviation_of(const std::vector<std::size_t>& requests, X x, Y y) {
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
  for (const std::size_t i : requests) {
    const double a = x(i);
    const double b = y(i);
    if (b > 0) {
      n += 1;
      sx += a;
      sy += b;
      sxx += a * a;
      sxy += a * b;
      syy += b * b;
    }
  }
  if (n < 3) {
    return 0;
  }
  const double xx = sxx - sx * sx / n;
  const double xy = sxy - sx * sy / n;
  const double yy = syy - sy * sy / n;
  const double rest = std::max(0.0, xx > 0 ? yy - xy * xy / xx : yy);
  return std::sqrt(rest / (n - 2) / n) / (sy / n);
}

/// The means that are fitted: TTFT by prompt length, and ITL.
std::vector<Mean> means_of(const RecordedRun& run, const std::vector<Times>& times, Part part) {
  std::vector<std::size_t> requests;
  for (std::size_t i = part.begin; i < part.end; ++i) {
    requests.push_back(i);
  }
  const auto isl = [&](std::size_t i) { return static_cast<double>(run.requests[i].isl); };
  const auto itl = [&](std::size_t i) { return run.requests[i].itl_ms(); };
  const auto ttft = [&](std::size_t i) { return run.requests[i].ttft_ms; };
  std::vector<Mean> means{mean_of(requests, itl, [&](std::size_t i) { return times[i].itl; })};
  means.back().deviation = std::max(deviation_of(requests, isl, itl), kLeastDeviation);
  std::stable_sort(requests.begin(), requests.end(), [&](std::size_t a, std::size_t b) {
    return run.requests[a].isl < run.requests[b].isl;
  });
  const std::size_t bins =
      run.means_only ? 1 : std::clamp<std::size_t>(requests.size() / kRequestsOfBin, 1, kBins);
  for (std::size_t bin = 0; bin < bins; ++bin) {
    const auto begin = static_cast<std::ptrdiff_t>(requests.size() * bin / bins);
    const auto end = static_cast<std::ptrdiff_t>(requests.size() * (bin + 1) / bins);
    const std::vector<std::size_t> chosen(requests.begin() + begin, requests.begin() + end);
    means.push_back(mean_of(chosen, ttft, [&](std::size_t i) { return times[i].ttft; }));
    // The bins of one run share its weight.
    means.back().deviation = std::max(deviation_of(chosen, isl, ttft), kLeastDeviation) *
                             std::sqrt(static_cast<double>(bins));
  }
  return means;
}

/// The fit of chosen constants to a part of each run.
class Fitter {
 public:
  Fitter(const Simulator& simulator, const std::vector<RecordedRun>& runs,
         const std::vector<Constant>& constants, const ConstantValues& start)
      : simulator_(simulator), runs_(runs), constants_(constants), start_(start) {
    for (const RecordedRun& run : runs) {
      itl_ += run.mean_itl_ms() / static_cast<double>(runs.size());
      ttft_ += run.mean_ttft_ms() / static_cast<double>(runs.size());
      double in_flight = 0;
      double end = 1e-9;
      for (const RecordedRequest& request : run.requests) {
        in_flight += request.e2e_ms;
        end = std::max(end, to_millis(request.sent) + request.e2e_ms);
      }
      const double sequences = run.concurrency > 0 ? run.concurrency : in_flight / end;
      sequences_ = std::max(sequences_, sequences);
    }
    itl_ = std::max(itl_, 1e-6);
  }

  const Simulator& simulator() const { return simulator_; }
  const std::vector<Constant>& constants() const { return constants_; }
  const ConstantValues& start() const { return start_; }

  ConstantValues values(const std::vector<double>& parameters) const {
    ConstantValues out = start_;
    for (std::size_t i = 0; i < constants_.size(); ++i) {
      value_of(out, constants_[i]) =
          is_factor(constants_[i]) ? portable_exp(parameters[i]) : parameters[i];
    }
    return out;
  }

  LeastSquaresFit fit(bool all) const {
    LeastSquares problem;
    for (const Constant constant : constants_) {
      const double start = value_of(start_, constant);
      problem.start.push_back(is_factor(constant) ? portable_log(start) : start);
      problem.step.push_back(0.1 * unit(constant));
      problem.least.push_back(is_factor(constant) ? -10.0 : 0.0);
    }
    problem.residuals = [&](const std::vector<double>& parameters) {
      std::vector<double> residuals;
      for (const RecordedRun& run : runs_) {
        const std::vector<Times> times = simulator_.run(run, values(parameters));
        for (const Mean& mean : means_of(run, times, all ? all_of(run) : first_part(run))) {
          if (mean.measured > 0) {
            residuals.push_back(portable_log(mean.predicted / mean.measured) / mean.deviation);
          }
        }
      }
      return residuals;
    };
    return solve(problem);
  }

  /// What a constant is measured by: the figure that it adds to.
  double unit(Constant constant) const {
    switch (constant) {
      case Constant::step_base:
        return itl_;
      case Constant::step_per_sequence:
        return itl_ / std::max(1.0, sequences_);
      case Constant::frontend:
        return ttft_;
      case Constant::prefill_time:
      case Constant::decode_time:
        return 1;
    }
    return 1;
  }

  /// One error for each constant whose own error is too large.
  std::vector<ErrorItem> unidentified(const LeastSquaresFit& fit) const {
    std::vector<ErrorItem> errors;
    const std::size_t n = constants_.size();
    for (std::size_t i = 0; i < n; ++i) {
      const double part = fit.deviation[i] / unit(constants_[i]);
      if (part <= kMostDeviation) {
        continue;
      }
      std::size_t partner = i;
      for (std::size_t j = 0; j < n; ++j) {
        if (j != i && (partner == i || std::abs(fit.correlation[i * n + j]) >
                                           std::abs(fit.correlation[i * n + partner]))) {
          partner = j;
        }
      }
      const bool pair = partner != i && std::abs(fit.correlation[i * n + partner]) > 0.5;
      errors.push_back(
          {fmt::format("{} is not identified by {}: {}", to_text(constants_[i]), names(),
                       pair ? fmt::format("it cannot be told from {}", to_text(constants_[partner]))
                            : std::string("no figure depends on it enough")),
           {},
           hint(constants_[i], pair ? constants_[partner] : constants_[i]),
           {}});
    }
    return errors;
  }

 private:
  std::string names() const {
    std::string out;
    for (const RecordedRun& run : runs_) {
      out += (out.empty() ? "" : " and ") + run.name;
    }
    return out;
  }

  static std::string hint(Constant a, Constant b) {
    const auto is = [&](Constant c) { return a == c || b == c; };
    if (is(Constant::step_base) && is(Constant::step_per_sequence)) {
      return "add a run with another number of requests in flight, or fit only one of them "
             "(--fit)";
    }
    if (is(Constant::decode_time)) {
      return "add runs with other contexts and concurrencies, or fit only one of them (--fit)";
    }
    return "add a run with other prompt lengths or another load, or leave it out (--fit)";
  }

  const Simulator& simulator_;
  const std::vector<RecordedRun>& runs_;
  const std::vector<Constant>& constants_;
  ConstantValues start_;
  double itl_ = 0;   ///< ms, mean of the runs
  double ttft_ = 0;  ///< ms
  double sequences_ = 1;
};

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
/// and what runs do not repeat by.
double half_width(const std::vector<RunFigures>& held_out, const std::vector<RunFigures>& fitted) {
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
  return kHalfWidth * std::sqrt(worst + kLeastDeviation * kLeastDeviation);
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

}  // namespace

namespace {

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
                  const Simulator& original, Calibration& out) {
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

/// The set of constants with the best fit among those that the runs can tell.
std::vector<Constant> choose(const Simulator& simulator, const std::vector<RecordedRun>& runs,
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
  const std::string& engine = deployment.config.kind;
  Deployment base = deployment;
  base.profile = engine_profile(deployment.profile);
  const Simulator original(deployment);
  const Simulator simulator(base);
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
  out.relative_error = half_width(out.held_out, out.fitted);
  for (std::vector<RunFigures>* group : {&out.fitted, &out.held_out, &out.predicted}) {
    set_intervals(*group, out.relative_error);
  }
  out.profile = with_constants(base.profile, engine, values);
  for (EngineHost& host : out.profile.engines) {
    if (host.engine == engine) {
      host.relative_error = out.relative_error;
      host.provenance = Provenance::measured;
      host.source = source_of(runs);
    }
  }
  out.profile.created_by = fmt::format("dyn profile calibrate (dyn {})", version());
  return out;
}

}  // namespace dyn::eval
