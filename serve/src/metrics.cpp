#include "metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <utility>

namespace dyn::serve {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using Buckets = prometheus::Histogram::BucketBoundaries;

// The buckets of vLLM's metrics of the same meaning, so that dashboards carry over.
const Buckets kTtft{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                    1.0,   2.5,   5.0,  7.5,  10,   20,   40,   80,  160,  640, 2560};
const Buckets kItl{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                   0.3,   0.4,    0.5,   0.75, 1.0,   2.5,  5.0,   7.5, 10,   20};
const Buckets kE2e{0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10,  15,
                   20,  30,  40,  50,  60,  120, 240, 480, 960, 1920};
const Buckets kTransfer{0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10};

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Labels model;
  prometheus::Family<prometheus::Counter>* answers = nullptr;
  prometheus::Counter* prompt_tokens = nullptr;
  prometheus::Counter* cached_tokens = nullptr;
  prometheus::Counter* output_tokens = nullptr;
  prometheus::Counter* left = nullptr;
  prometheus::Gauge* in_flight = nullptr;
  prometheus::Histogram* ttft = nullptr;
  prometheus::Histogram* itl = nullptr;
  prometheus::Histogram* e2e = nullptr;
  prometheus::Histogram* transfer = nullptr;

  prometheus::Counter& counter(const char* name, const char* help) {
    return BuildCounter().Name(name).Help(help).Register(registry).Add(model);
  }
  prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return BuildHistogram().Name(name).Help(help).Register(registry).Add(model, buckets);
  }
};

Metrics::Metrics(std::string model) : impl_(std::make_unique<Impl>()) {
  Impl& m = *impl_;
  m.model = {{"model", std::move(model)}};
  m.answers = &BuildCounter()
                   .Name("dyn_http_requests_total")
                   .Help("HTTP requests answered, by path and status")
                   .Register(m.registry);
  m.prompt_tokens = &m.counter("dyn_prompt_tokens_total", "Prompt tokens of answered requests");
  m.cached_tokens = &m.counter("dyn_prompt_tokens_cached_total",
                               "Prompt tokens found in a KV cache at first admission");
  m.output_tokens = &m.counter("dyn_generation_tokens_total", "Output tokens made");
  m.left =
      &m.counter("dyn_client_disconnects_total", "Clients that left before their answer ended");
  m.in_flight = &BuildGauge()
                     .Name("dyn_requests_in_flight")
                     .Help("Requests being answered")
                     .Register(m.registry)
                     .Add(m.model);
  m.ttft = &m.histogram("dyn_time_to_first_token_seconds",
                        "From the request's arrival to its first token", kTtft);
  m.itl = &m.histogram("dyn_inter_token_latency_seconds",
                       "(E2E - TTFT) / (output tokens - 1) of each request", kItl);
  m.e2e = &m.histogram("dyn_e2e_request_latency_seconds",
                       "From the request's arrival to its last token", kE2e);
  m.transfer =
      &m.histogram("dyn_kv_transfer_seconds",
                   "KV transfers between workers, waiting for the link included", kTransfer);
}

Metrics::~Metrics() = default;

void Metrics::answered(const std::string& path, int status) {
  prometheus::Labels labels = impl_->model;
  labels["path"] = path;
  labels["status"] = std::to_string(status);
  impl_->answers->Add(labels).Increment();
}

void Metrics::generated(const RequestTimes& times) {
  impl_->prompt_tokens->Increment(static_cast<double>(times.prompt_tokens));
  impl_->cached_tokens->Increment(static_cast<double>(times.cached_tokens));
  impl_->output_tokens->Increment(static_cast<double>(times.output_tokens));
  impl_->ttft->Observe(to_seconds(times.ttft));
  impl_->e2e->Observe(to_seconds(times.e2e));
  if (times.output_tokens > 1) {
    impl_->itl->Observe(to_seconds(times.e2e - times.ttft) /
                        static_cast<double>(times.output_tokens - 1));
  }
}

void Metrics::transferred(Duration time) {
  impl_->transfer->Observe(to_seconds(time));
}
void Metrics::client_left() {
  impl_->left->Increment();
}
void Metrics::in_flight(int change) {
  impl_->in_flight->Increment(change);
}

std::string Metrics::expose(const FleetSnapshot& fleet) const {
  // What workers know themselves is read at the scrape, into a registry of its own.
  prometheus::Registry now;
  const auto gauge = [&now](const char* name, const char* help) {
    return &BuildGauge().Name(name).Help(help).Register(now);
  };
  auto* running = gauge("dyn_worker_requests_running", "Requests in the engine's batch");
  auto* waiting = gauge("dyn_worker_requests_waiting", "Requests in the engine's queue");
  auto* usage = gauge("dyn_worker_kv_cache_usage_ratio", "KV blocks in use / KV blocks");
  auto* cached = gauge("dyn_worker_kv_cached_blocks", "Free KV blocks that hold reusable KV");
  auto* steps = gauge("dyn_worker_engine_steps", "Engine steps so far");
  auto* preempted = gauge("dyn_worker_preemptions", "Requests preempted so far");
  auto* routed = gauge("dyn_router_requests_active", "Requests that the router booked at a worker");
  auto* up = gauge("dyn_worker_available", "1 if the router may choose the worker");
  for (const WorkerSnapshot& w : fleet.workers) {
    prometheus::Labels labels = impl_->model;
    labels["pool"] = w.pool;
    labels["worker"] = std::to_string(w.worker);
    running->Add(labels).Set(w.load.running);
    waiting->Add(labels).Set(w.load.waiting);
    usage->Add(labels).Set(w.load.total_blocks > 0 ? static_cast<double>(w.load.used_blocks) /
                                                         static_cast<double>(w.load.total_blocks)
                                                   : 0.0);
    cached->Add(labels).Set(static_cast<double>(w.load.cached_blocks));
    steps->Add(labels).Set(static_cast<double>(w.load.steps));
    preempted->Add(labels).Set(static_cast<double>(w.load.preemptions));
    routed->Add(labels).Set(w.routed);
    up->Add(labels).Set(w.available ? 1 : 0);
  }
  gauge("dyn_router_index_blocks", "Blocks in the router's prefix index")
      ->Add(impl_->model)
      .Set(static_cast<double>(fleet.index_blocks));
  gauge("dyn_router_index_bytes", "Memory of the router's prefix index")
      ->Add(impl_->model)
      .Set(static_cast<double>(fleet.index_bytes));
  gauge("dyn_router_held_requests", "Requests that wait at the router for a worker with room")
      ->Add(impl_->model)
      .Set(static_cast<double>(fleet.held));
  auto families = impl_->registry.Collect();
  auto more = now.Collect();
  families.insert(families.end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace dyn::serve
