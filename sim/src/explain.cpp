#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "dyn/core/json_writer.h"
#include "dyn/sim/run_trace.h"

namespace dyn::sim {
namespace {

using Phase = Explanation::Phase;

constexpr const char* kNames[Explanation::kPhases] = {
    "frontend",     "router_queue", "encode",       "engine_queue", "prefill",
    "decode_queue", "transfer",     "decode_start", "decode",       "unfinished"};

std::size_t index_of(Phase phase) {
  return static_cast<std::size_t>(phase);
}

}  // namespace

void Explainer::enter(Phase next, SimTime at) {
  out_.phases[index_of(phase_)] += at - since_;
  phase_ = next;
  since_ = at;
}

void Explainer::on_mark(Mark mark, std::uint32_t request, SimTime at, std::int32_t engine,
                        std::int64_t value) {
  if (request != out_.request) {
    return;
  }
  switch (mark) {
    case Mark::sent:
      out_.found = true;
      out_.sent = since_ = at;
      out_.input_tokens = value;
      break;
    case Mark::delivered:
      enter(Phase::router_queue, at);
      break;
    case Mark::encoding:
    case Mark::embedding:
      enter(Phase::encode, at);
      break;
    case Mark::encoded:
      enter(Phase::router_queue, at);
      break;
    case Mark::embedded:
      enter(Phase::engine_queue, at);
      break;
    case Mark::routed:
      if (phase_ == Phase::router_queue) {
        enter(Phase::engine_queue, at);
      }
      out_.prefill_engine = out_.engine;
      out_.engine = engine;
      break;
    case Mark::scheduled:
      if (phase_ == Phase::engine_queue) {
        enter(Phase::prefill, at);
        out_.cached_tokens = value;
      }
      break;
    case Mark::preempted:
      out_.preemptions.push_back(at);
      break;
    case Mark::prefilled:
      enter(Phase::decode_queue, at);
      break;
    case Mark::transfer_begun:
      enter(Phase::transfer, at);
      break;
    case Mark::transfer_done:
      enter(Phase::decode_start, at);
      break;
    case Mark::first_token:
      enter(Phase::decode, at);
      break;
    case Mark::finished:
    case Mark::left:
      out_.completed = mark == Mark::finished;
      out_.output_tokens = value;
      out_.ended = at;
      out_.phases[index_of(out_.completed ? phase_ : Phase::unfinished)] += at - since_;
      since_ = at;
      break;
  }
}

void Explainer::on_choice(std::uint32_t request, const RouterView& view) {
  if (request == out_.request) {
    out_.router_view = view;
  }
}

Explanation Explainer::result(SimTime end) const {
  Explanation out = out_;
  if (out.found && out.ended == SimTime{}) {
    out.ended = end;
    out.phases[index_of(Phase::unfinished)] += end - since_;
  }
  return out;
}

std::string to_text(const Explanation& explanation) {
  std::string text =
      fmt::format("request {}: {} prompt tokens ({} cached), {} output tokens, {:.3f} ms{}\n",
                  explanation.request, explanation.input_tokens, explanation.cached_tokens,
                  explanation.output_tokens, to_millis(explanation.total()),
                  explanation.completed ? "" : ", not completed");
  const double total = std::max(to_millis(explanation.total()), 1e-9);
  for (std::size_t i = 0; i < Explanation::kPhases; ++i) {
    const double millis = to_millis(explanation.phases[i]);
    if (explanation.phases[i] > Duration{0}) {
      fmt::format_to(std::back_inserter(text), "  {:<13}{:>14.3f} ms {:>6.1f} %\n", kNames[i],
                     millis, 100 * millis / total);
    }
  }
  if (const auto& view = explanation.router_view) {
    fmt::format_to(
        std::back_inserter(text),
        "  its router saw {} of its tokens in the device, {} in host memory, {} on disk, "
        "{} in the object store\n",
        view->device, view->tiers[0], view->tiers[1], view->tiers[2]);
  }
  for (const SimTime at : explanation.preemptions) {
    fmt::format_to(std::back_inserter(text), "  preempted after {:.3f} ms\n",
                   to_millis(at - explanation.sent));
  }
  return text;
}

std::string to_json(const Explanation& explanation) {
  JsonWriter writer;
  const auto integer = [&](const char* name, std::int64_t value) {
    writer.key(name);
    writer.integer(value);
  };
  writer.begin_object();
  writer.member("schema", "dyn.explanation/1");
  integer("request", explanation.request);
  writer.key("completed");
  writer.boolean(explanation.completed);
  integer("sent_ns", explanation.sent.time_since_epoch().count());
  integer("request_latency_ns", explanation.total().count());
  integer("input_tokens", explanation.input_tokens);
  integer("cached_tokens", explanation.cached_tokens);
  integer("output_tokens", explanation.output_tokens);
  integer("prefill_engine", explanation.prefill_engine);
  integer("engine", explanation.engine);
  if (const auto& view = explanation.router_view) {
    writer.key("router_saw_tokens");
    writer.begin_object();
    integer("device", view->device);
    integer("host", view->tiers[0]);
    integer("disk", view->tiers[1]);
    integer("object", view->tiers[2]);
    writer.end_object();
  }
  writer.key("phases_ns");
  writer.begin_object();
  for (std::size_t i = 0; i < Explanation::kPhases; ++i) {
    integer(kNames[i], explanation.phases[i].count());
  }
  writer.end_object();
  writer.key("preempted_ns");
  writer.begin_list();
  for (const SimTime at : explanation.preemptions) {
    writer.integer((at - explanation.sent).count());
  }
  writer.end_list();
  writer.end_object();
  return writer.finish() + '\n';
}

}  // namespace dyn::sim
