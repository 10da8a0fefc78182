#include "run_simulator.h"

#include "dyn/core/error.h"
#include "dyn/perf/memory_model.h"
#include "dyn/sim/simulation.h"

namespace dyn::eval {

RunSimulator::RunSimulator(const Deployment& deployment) : deployment_(deployment) {
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

std::vector<Times> RunSimulator::run(const RecordedRun& run, const ConstantValues& values) const {
  const Profile profile = with_constants(deployment_.profile, deployment_.config, values);
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

perf::PerfTarget RunSimulator::target() const {
  perf::PerfTarget target{deployment_.model, deployment_.weights, deployment_.kv_cache,
                          deployment_.layout, deployment_.config.kind};
  target.engine_version = deployment_.config.version.value_or("");
  return target;
}

}  // namespace dyn::eval
