#include <fmt/format.h>

#include <utility>

#include "dyn/sim/run_trace.h"

namespace dyn::sim {
namespace {

constexpr int kRequests = 0;  ///< the process of the requests; pools follow

double micros(SimTime time) {
  return static_cast<double>(time.time_since_epoch().count()) / 1e3;
}

const char* name_of(WorkerRole role) {
  return role == WorkerRole::prefill  ? "prefill"
         : role == WorkerRole::decode ? "decode"
                                      : "aggregated";
}

std::string naming(const char* what, int process, int thread, const std::string& name) {
  return fmt::format(R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":"{}"}}}})", what,
                     process, thread, name);
}

}  // namespace

PerfettoTrace::PerfettoTrace(const Plan& plan, std::size_t max_events) : max_events_(max_events) {
  add(naming("process_name", kRequests, 0, "requests"));
  for (std::size_t i = 0; i < plan.pools.size(); ++i) {
    const PoolSpec& pool = plan.pools[i];
    const int process = static_cast<int>(i) + 1;
    add(naming("process_name", process, 0, name_of(pool.role)));
    for (int engine = 0; engine < pool.replicas * pool.layout.data; ++engine) {
      const std::string rank =
          pool.layout.data > 1 ? " rank " + std::to_string(engine % pool.layout.data) : "";
      add(naming("thread_name", process, engine,
                 "worker " + std::to_string(engine / pool.layout.data) + rank));
      places_.push_back({process, engine});
    }
  }
}

void PerfettoTrace::add(std::string event) {
  if (events_ == max_events_) {
    ++left_out_;
    return;
  }
  text_ += events_++ == 0 ? "" : ",\n";
  text_ += event;
}

void PerfettoTrace::phase(std::uint32_t request, const char* name, SimTime from, SimTime to) {
  if (to > from) {
    add(fmt::format(
        R"({{"ph":"b","cat":"request","id":{0},"name":"{1}","pid":{2},"tid":0,"ts":{3:.3f}}})",
        request, name, kRequests, micros(from)));
    add(fmt::format(
        R"({{"ph":"e","cat":"request","id":{0},"name":"{1}","pid":{2},"tid":0,"ts":{3:.3f}}})",
        request, name, kRequests, micros(to)));
  }
}

void PerfettoTrace::on_mark(Mark mark, std::uint32_t request, SimTime at, std::int32_t engine,
                            std::int64_t value) {
  if (request >= phase_.size()) {
    phase_.resize(std::size_t{request} + 1);
  }
  const auto ends = [&](const char* name) {
    phase(request, name, phase_[request], at);
    phase_[request] = at;
  };
  switch (mark) {
    case Mark::sent:
      phase_[request] = at;
      break;
    case Mark::delivered:
      ends("frontend");
      break;
    case Mark::encoding:
    case Mark::routed:
      ends("router");
      break;
    case Mark::encoded:
      ends("encode");
      break;
    case Mark::embedding:
      break;
    case Mark::embedded:
      ends("embeddings");
      break;
    case Mark::scheduled:
      ends("queue");
      break;
    case Mark::preempted:
      if (engine >= 0) {
        const Place& place = places_[static_cast<std::size_t>(engine)];
        add(fmt::format(
            R"({{"ph":"i","s":"t","name":"preempts {}","pid":{},"tid":{},"ts":{:.3f}}})", request,
            place.pool, place.engine, micros(at)));
      }
      break;
    case Mark::prefilled:
      ends("prefill");
      break;
    case Mark::transfer_begun:
      ends("decode queue");
      break;
    case Mark::transfer_done:
      ends("transfer");
      break;
    case Mark::first_token:
      ends("first token");
      break;
    case Mark::finished:
      ends("decode");
      break;
    case Mark::left:
      ends("unfinished");
      break;
  }
  static_cast<void>(value);
}

void PerfettoTrace::on_step(std::uint32_t engine, SimTime begin, SimTime end,
                            const engine::EngineLoad& load) {
  const Place& place = places_[engine];
  add(fmt::format(R"({{"ph":"X","name":"step","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},)"
                  R"("args":{{"running":{},"waiting":{}}}}})",
                  place.pool, place.engine, micros(begin), micros(end) - micros(begin),
                  load.running, load.waiting));
  add(fmt::format(R"({{"ph":"C","name":"engine {}","pid":{},"ts":{:.3f},)"
                  R"("args":{{"running":{},"waiting":{},"kv_blocks":{}}}}})",
                  place.engine, place.pool, micros(begin), load.running, load.waiting,
                  load.used_blocks));
}

std::string PerfettoTrace::take() {
  std::string out = "{\"traceEvents\":[\n" + std::exchange(text_, {}) + "\n],\n" +
                    fmt::format(
                        "\"displayTimeUnit\":\"ms\",\"otherData\":{{\"events\":{},"
                        "\"left_out\":{}}}}}\n",
                        events_, left_out_);
  events_ = 0;
  return out;
}

}  // namespace dyn::sim
