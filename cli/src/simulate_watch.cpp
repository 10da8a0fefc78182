#include "simulate_watch.h"

#include <algorithm>

#include "dyn/core/error.h"
#include "dyn/sim/run_trace.h"
#include "dyn/sim/simulation.h"

namespace dyn::cli {
namespace {

SimTime end_of(const sim::SimulationResult& run) {
  SimTime end{};
  for (const RequestRecord& record : run.records) {
    end = std::max({end, record.sent, record.finished});
  }
  return end;
}

}  // namespace

Watched watch(const Plan& plan, const sim::Workload& workload, const Recipe& recipe,
              const WatchOptions& options) {
  if (options.request && *options.request >= workload.requests.size()) {
    throw Error(ErrorKind::usage, "--explain-request: the load has requests 0 to " +
                                      std::to_string(workload.requests.size() - 1) + ", not " +
                                      std::to_string(*options.request));
  }
  Watched out;
  sim::SimulationSpec spec;
  spec.plan = &plan;
  spec.timers = sim::compile_timers(plan);
  spec.images = sim::compile_image_timers(plan, workload);
  spec.seed = recipe.seed;
  spec.faults = &recipe.faults;
  if (options.timeline) {
    spec.timeline_points = kTimelinePoints;
    out.timeline = to_json(sim::simulate(spec, workload).timeline);
    spec.timeline_points = 0;
  }
  if (options.request) {
    sim::Explainer explainer(*options.request);
    spec.sink = &explainer;
    const SimTime end = end_of(sim::simulate(spec, workload));
    const sim::Explanation explanation = explainer.result(end);
    out.explanation = to_text(explanation);
    out.explanation_json = to_json(explanation);
  }
  if (options.trace) {
    sim::PerfettoTrace trace(plan);
    spec.sink = &trace;
    spec.stepping = engine::Stepping::every_step;  // the same run, each step seen
    sim::simulate(spec, workload);
    out.trace = trace.take();
  }
  return out;
}

}  // namespace dyn::cli
