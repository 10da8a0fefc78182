#include "server_state.h"

#include <chrono>
#include <random>
#include <utility>

#include "dyn/core/error.h"

namespace dyn::serve {
namespace {

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

ServeOptions checked(const ServeOptions& options) {
  if (!(options.time_scale > 0) || options.time_scale > 1e6) {
    throw Error(ErrorKind::usage, "--time-scale must be above 0 and at most 1000000");
  }
  if (options.threads < 1 || options.threads > 256) {
    throw Error(ErrorKind::usage, "--threads must be from 1 to 256");
  }
  return options;
}

}  // namespace

ServerState::ServerState(Plan a_plan, const ServeOptions& a_options,
                         const net::any_io_executor& executor)
    : plan(std::move(a_plan)),
      options(checked(a_options)),
      created(unix_seconds()),
      instance(std::random_device{}()),
      tokenizer(std::make_shared<ByteTokenizer>()),
      fleet(Fleet::create(plan, options, executor)),
      log(options.log_requests),
      metrics(plan.model.name) {}

std::int64_t ServerState::max_model_len() const {
  std::int64_t limit = plan.model.max_context;
  for (const PoolSpec& pool : plan.pools) {
    if (pool.config.max_model_len) {
      limit = limit > 0 ? std::min(limit, *pool.config.max_model_len) : *pool.config.max_model_len;
    }
  }
  return limit;
}

InFlight::InFlight(std::shared_ptr<ServerState> state) : state_(std::move(state)) {
  state_->in_flight.fetch_add(1);
  state_->metrics.in_flight(1);
}

InFlight::~InFlight() {
  state_->metrics.in_flight(-1);
  if (state_->in_flight.fetch_sub(1) == 1 && state_->draining && state_->on_left) {
    state_->on_left();
  }
}

}  // namespace dyn::serve
