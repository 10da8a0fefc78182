#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "answer_text.h"
#include "openai_response.h"
#include "session.h"
#include "sse_scanner.h"

namespace dyn::serve {
namespace {

std::string answer_id(const ServerState& state, const Prepared& prepared) {
  const bool chat = prepared.request.endpoint == Endpoint::chat;
  return fmt::format("{}-{:08x}{:08x}", chat ? "chatcmpl" : "cmpl", state.instance,
                     prepared.job->id.value());
}

ResponseWriter make_writer(const ServerState& state, const Prepared& prepared) {
  return {prepared.request.endpoint, answer_id(state, prepared),
          static_cast<std::int64_t>(std::time(nullptr)), prepared.request.model,
          prepared.request.stream && prepared.request.include_usage};
}

AnswerText make_text(const Prepared& prepared) {
  return {prepared.text_seed, prepared.request.stop, prepared.request.min_tokens};
}

Usage usage_of(const Generation& generation, std::int64_t output_tokens) {
  return {generation.job().prompt_tokens, output_tokens, generation.cached_tokens()};
}

}  // namespace

std::string Session::frame(std::string bytes) const {
  return http_1_0_ ? bytes : chunk(bytes);
}

ResponseHead Session::stream_head(int status, std::string content_type, bool keep_alive) const {
  ResponseHead head;
  head.status = status;
  head.content_type = std::move(content_type);
  head.chunked = !http_1_0_;
  head.keep_alive = keep_alive && !http_1_0_;
  head.extra.emplace_back("Cache-Control", "no-cache");
  return head;
}

void Session::watch() {
  if (watching_ || buffer_.size() >= state_->options.limits.pipelined_bytes) {
    return;
  }
  watching_ = true;
  constexpr std::size_t kRead = 4096;
  socket_.async_read_some(
      buffer_.prepare(kRead),
      [self = shared_from_this()](boost::system::error_code error, std::size_t size) {
        self->watching_ = false;
        self->buffer_.commit(size);
        if (!error) {
          self->generation_ ? self->watch() : self->wake_.notify();
          return;
        }
        if (error != net::error::operation_aborted) {
          self->client_left_ = true;
          if (self->generation_) {
            self->generation_->cancel();
          }
        }
        self->wake_.notify();
      });
}

net::awaitable<void> Session::unwatch() {
  if (watching_) {
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }
  while (watching_) {
    co_await wake_.wait();
  }
}

net::awaitable<bool> Session::generate(Endpoint endpoint, HttpRequest request) {
  const InFlight in_flight(state_);
  const bool keep_alive = request.keep_alive;
  auto outcome = prepare(*state_, endpoint, request);
  if (auto* error = std::get_if<ApiError>(&outcome)) {
    const bool more = co_await send_error(std::move(*error), keep_alive);
    co_return more;
  }
  auto prepared = std::make_shared<Prepared>(std::move(std::get<Prepared>(outcome)));
  auto generation =
      std::make_shared<Generation>(state_->fleet, socket_.get_executor(), prepared->job,
                                   request.received, [weak = weak_from_this()] {
                                     if (const auto self = weak.lock()) {
                                       self->wake_.notify();
                                     }
                                   });
  generation->on_transfer = [state = state_](Duration time) { state->metrics.transferred(time); };
  generation_ = generation;
  status_ = 499;  // replaced when an answer begins; else the client left before
  watch();
  generation->begin();
  const bool more = co_await run_generation(generation, prepared, keep_alive);
  generation->cancel();
  generation_.reset();
  co_await unwatch();
  if (client_left_) {
    state_->metrics.client_left();
  }
  co_return more && !client_left_ && !stopping_;
}

net::awaitable<bool> Session::run_generation(std::shared_ptr<Generation> generation,
                                             std::shared_ptr<Prepared> prepared, bool keep_alive) {
  // Nothing is sent before the first sign of an answer, so that a failure can have its status.
  while (!generation->failure() && !generation->finished() && !client_left_ &&
         generation->produced() == 0 && !generation->head()) {
    co_await wake_.wait();
  }
  if (generation->failure() && generation->produced() == 0 && !generation->head()) {
    finish(*generation, *prepared, 0);
    const bool more = co_await send_error(*generation->failure(), keep_alive);
    co_return more;
  }
  bool more = false;
  if (state_->fleet->relayed()) {
    more = co_await answer_relayed(generation, prepared, keep_alive);
  } else if (prepared->request.stream) {
    more = co_await answer_stream(generation, prepared, keep_alive);
  } else {
    more = co_await answer_whole(generation, prepared, keep_alive);
  }
  co_return more;
}

net::awaitable<bool> Session::answer_stream(std::shared_ptr<Generation> generation,
                                            std::shared_ptr<Prepared> prepared, bool keep_alive) {
  const ResponseWriter writer = make_writer(*state_, *prepared);
  AnswerText text = make_text(*prepared);
  status_ = client_left_ ? status_ : 200;
  const ResponseHead head = stream_head(200, "text/event-stream; charset=utf-8", keep_alive);
  std::string out = render_head(head, std::time(nullptr));
  std::string events = writer.first_event();
  bool over = false;
  bool sent = true;
  while (sent && !over && !client_left_) {
    over = generation->finished();
    for (const std::string& piece : text.advance(generation->produced(), over)) {
      events += writer.text_event(piece);
    }
    over = over || text.stopped();
    if (over) {
      generation->cancel();
      events += writer.finish_event(text.stopped() ? "stop" : "length");
      if (prepared->request.include_usage) {
        events += writer.usage_event(usage_of(*generation, text.tokens()));
      }
      events += ResponseWriter::done_event();
    }
    out += frame(std::move(events));
    events.clear();
    if (over && !http_1_0_) {
      out += kLastChunk;
    }
    if (!out.empty()) {
      sent = co_await write(std::exchange(out, {}));
    } else if (!generation->failure()) {
      co_await wake_.wait();
    }
    if (generation->failure() && !over) {
      finish(*generation, *prepared, text.tokens());
      const bool more = co_await break_off(*generation->failure(), false);
      co_return more;
    }
  }
  finish(*generation, *prepared, text.tokens());
  co_return sent&& over&& head.keep_alive;
}

net::awaitable<bool> Session::answer_whole(std::shared_ptr<Generation> generation,
                                           std::shared_ptr<Prepared> prepared, bool keep_alive) {
  AnswerText text = make_text(*prepared);
  std::string content;
  bool over = false;
  while (!over && !client_left_ && !generation->failure()) {
    over = generation->finished();
    for (const std::string& piece : text.advance(generation->produced(), over)) {
      content += piece;
    }
    over = over || text.stopped();
    if (!over) {
      co_await wake_.wait();
    }
  }
  if (over) {
    generation->cancel();
  }
  finish(*generation, *prepared, text.tokens());
  if (client_left_) {
    co_return false;
  }
  if (generation->failure()) {
    const bool more = co_await send_error(*generation->failure(), keep_alive);
    co_return more;
  }
  const ResponseWriter writer = make_writer(*state_, *prepared);
  ResponseHead head;
  head.keep_alive = keep_alive;
  const bool more =
      co_await send(std::move(head), writer.whole(content, text.stopped() ? "stop" : "length",
                                                  usage_of(*generation, text.tokens())));
  co_return more;
}

net::awaitable<bool> Session::answer_relayed(std::shared_ptr<Generation> generation,
                                             std::shared_ptr<Prepared> prepared, bool keep_alive) {
  const RelayHead from_engine = generation->head().value_or(RelayHead{});
  status_ = client_left_ ? status_ : from_engine.status;
  const ResponseHead head = stream_head(from_engine.status, from_engine.content_type, keep_alive);
  std::string out = render_head(head, std::time(nullptr));
  SseScanner scanner(prepared->request.stream);  // only to know whether an event is half sent
  bool over = false;
  bool sent = true;
  while (sent && !over && !client_left_) {
    const bool finished = generation->finished();
    std::string bytes = generation->take_bytes();
    scanner.push(bytes);
    out += frame(std::move(bytes));
    over = finished;
    if (over && !http_1_0_) {
      out += kLastChunk;
    }
    if (!out.empty()) {
      sent = co_await write(std::exchange(out, {}));
    } else if (generation->failure()) {
      break;
    } else {
      co_await wake_.wait();
    }
  }
  finish(*generation, *prepared, generation->produced());
  if (sent && !over && !client_left_ && generation->failure()) {
    const bool events = prepared->request.stream && from_engine.status == 200;
    const bool more =
        events ? co_await break_off(*generation->failure(), scanner.mid_event()) : false;
    co_return more;
  }
  co_return sent&& over&& head.keep_alive;
}

net::awaitable<bool> Session::break_off(ApiError error, bool mid_event) {
  // Without the last chunk the client can tell that the answer is not whole.
  co_await write(frame((mid_event ? "\n\n" : "") + ResponseWriter::error_event(error)));
  co_return false;
}

void Session::finish(const Generation& generation, const Prepared& prepared,
                     std::int64_t output_tokens) {
  LoggedRequest logged;
  const SimTime sent = generation.sent();
  logged.sent = sent;
  logged.input_tokens = generation.job().prompt_tokens;
  logged.output_tokens = output_tokens;
  logged.cached_tokens = generation.cached_tokens();
  logged.worker = generation.placed_at();
  logged.status = client_left_           ? RequestStatus::cancelled
                  : generation.failure() ? RequestStatus::failed
                                         : RequestStatus::completed;
  if (generation.produced() > 0) {
    logged.ttft = generation.first_token() - sent;
    logged.e2e = generation.last_token() - sent;
    state_->metrics.generated(
        {logged.ttft, logged.e2e, logged.input_tokens, logged.cached_tokens, logged.output_tokens});
  }
  generation.placed() ? state_->log.finish(prepared.ticket, logged)
                      : state_->log.drop(prepared.ticket);
}

}  // namespace dyn::serve
