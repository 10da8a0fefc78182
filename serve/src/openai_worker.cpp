#include "openai_worker.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <string_view>
#include <utility>

#include "handover.h"
#include "sse_scanner.h"

namespace dyn::serve {
namespace {

namespace http = boost::beast::http;
constexpr auto kAwait = net::as_tuple(net::use_awaitable);

constexpr std::size_t kReadSize = 16 << 10;
constexpr std::uint32_t kHeaderLimit = 64 << 10;
/// A whole answer gives no sign of life before its end; it may take so many token gaps longer
/// than a stream's first token.
constexpr int kWholeAnswerGaps = 10;
constexpr std::size_t kPrefillAnswer = 4 << 20;

std::string render_request(const Url& url, const Job& job, const std::string& body) {
  std::string text = "POST " + url.prefix + job.target + " HTTP/1.1\r\nHost: " + url.host_header();
  text += "\r\nContent-Type: application/json\r\nAccept: */*\r\nConnection: close\r\n";
  if (!job.authorization.empty()) {
    text += "Authorization: " + job.authorization + "\r\n";
  }
  if (!job.request_id.empty()) {
    text += "X-Request-Id: " + job.request_id + "\r\n";
  }
  return text + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string body_for(WorkerRole role, const Job& job, const std::optional<Prefilled>& prefilled) {
  if (role == WorkerRole::prefill) {
    return prefill_body(job.body);
  }
  const bool kv = prefilled && !prefilled->kv_transfer.empty();
  return kv ? decode_body(job.body, prefilled->kv_transfer) : job.body;
}

}  // namespace

/// A socket with a time limit on what is done with it; all on one strand.
struct OpenAiWorker::Connection {
  explicit Connection(const net::any_io_executor& executor)
      : strand(executor),
        socket(executor),
        resolver(executor),
        deadline(executor),
        pause(executor) {}

  void close() {
    boost::system::error_code ignored;
    resolver.cancel();
    socket.close(ignored);
    deadline.cancel();
    pause.cancel();
  }

  net::any_io_executor strand;
  tcp::socket socket;
  tcp::resolver resolver;
  Deadline deadline;
  net::steady_timer pause;
  bool closed = false;  ///< asked to end
};

struct OpenAiWorker::Call : Connection {
  Call(const net::any_io_executor& executor, std::shared_ptr<const Job> a_job,
       std::optional<Prefilled> a_prefilled, std::shared_ptr<EventSink> a_sink)
      : Connection(executor),
        job(std::move(a_job)),
        prefilled(std::move(a_prefilled)),
        sink(std::move(a_sink)),
        room(executor),
        scanner(job->stream) {}

  std::shared_ptr<const Job> job;
  std::optional<Prefilled> prefilled;
  std::shared_ptr<EventSink> sink;
  Wake room;  ///< the reader has caught up
  SseScanner scanner;
  boost::beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  std::array<char, kReadSize> bytes{};
};

OpenAiWorker::OpenAiWorker(net::any_io_executor executor, WorkerRole role, Url url,
                           EngineTarget target, std::size_t cache_blocks, Duration probe_interval,
                           WorkerListener listener)
    : executor_(std::move(executor)),
      role_(role),
      url_(std::move(url)),
      target_(std::move(target)),
      probe_interval_(probe_interval),
      listener_(std::move(listener)),
      tasks_(std::make_shared<TaskGroup>()),
      cache_(cache_blocks) {}

OpenAiWorker::~OpenAiWorker() = default;

void OpenAiWorker::start(std::shared_ptr<const Job> job, std::optional<Prefilled> prefilled,
                         std::shared_ptr<EventSink> sink) {
  const net::any_io_executor strand = net::make_strand(executor_);
  auto call = std::make_shared<Call>(strand, std::move(job), std::move(prefilled), std::move(sink));
  {
    const std::scoped_lock lock(mutex_);
    calls_[call->job->id] = call;
  }
  tasks_->spawn(strand, relay(shared_from_this(), call), [weak = std::weak_ptr<Call>(call)] {
    if (const auto held = weak.lock()) {
      net::post(held->strand, [held] {
        held->closed = true;
        held->close();
        held->room.notify();
      });
    }
  });
}

std::shared_ptr<OpenAiWorker::Call> OpenAiWorker::find(RequestId id) const {
  const std::scoped_lock lock(mutex_);
  const auto it = calls_.find(id);
  return it == calls_.end() ? nullptr : it->second;
}

void OpenAiWorker::forget(RequestId id) {
  const std::scoped_lock lock(mutex_);
  calls_.erase(id);
}

void OpenAiWorker::cancel(RequestId id) {
  if (auto call = find(id)) {
    net::post(call->strand, [call] {
      call->closed = true;
      call->close();
      call->room.notify();
    });
  }
}

void OpenAiWorker::resume(RequestId id) {
  if (auto call = find(id)) {
    net::post(call->strand, [call] { call->room.notify(); });
  }
}

engine::EngineLoad OpenAiWorker::load() const {
  const std::scoped_lock lock(mutex_);
  engine::EngineLoad load;
  load.running = static_cast<std::int32_t>(calls_.size());
  load.cached_blocks = static_cast<std::int64_t>(cache_.size());
  return load;
}

void OpenAiWorker::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
  }
  tasks_->stop();
}

void OpenAiWorker::computed(const Job& job) {
  if (role_ == WorkerRole::decode) {
    return;  // nobody chooses a decode engine by what is in its cache
  }
  std::vector<kvbm::KvEvent> events;
  {
    const std::scoped_lock lock(mutex_);
    events = cache_.computed(job.blocks);
  }
  listener_.kv_events(events);
}

void OpenAiWorker::lost() {
  {
    const std::scoped_lock lock(mutex_);
    if (probing_ || stopped_) {
      return;
    }
    probing_ = true;
    cache_.clear();
  }
  listener_.available(false);
  const net::any_io_executor strand = net::make_strand(executor_);
  auto connection = std::make_shared<Connection>(strand);
  tasks_->spawn(strand, probe(shared_from_this(), connection),
                [weak = std::weak_ptr<Connection>(connection)] {
                  if (const auto held = weak.lock()) {
                    net::post(held->strand, [held] {
                      held->closed = true;
                      held->close();
                    });
                  }
                });
}

net::awaitable<bool> OpenAiWorker::connect(std::shared_ptr<Connection> connection, Url url,
                                           Duration limit) {
  connection->deadline.arm(limit, [connection] { connection->close(); });
  boost::system::error_code error;
  const net::ip::address address = net::ip::make_address(url.host, error);
  const auto port = static_cast<std::uint16_t>(std::stoi(url.port));
  if (!error) {
    auto [ec] = co_await connection->socket.async_connect(tcp::endpoint(address, port), kAwait);
    error = ec;
  } else {
    auto [ec, found] = co_await connection->resolver.async_resolve(url.host, url.port, kAwait);
    error = ec;
    if (!error && !connection->closed) {
      auto [failed, endpoint] = co_await net::async_connect(connection->socket, found, kAwait);
      error = failed;
    }
  }
  const bool expired = connection->deadline.disarm();
  if (error || expired || connection->closed) {
    co_return false;
  }
  connection->socket.set_option(tcp::no_delay(true), error);
  co_return true;
}

net::awaitable<void> OpenAiWorker::relay(std::shared_ptr<OpenAiWorker> self,
                                         std::shared_ptr<Call> call) {
  const bool connected = co_await connect(call, self->url_, self->target_.connect_timeout);
  if (!connected) {
    if (!call->closed) {
      self->lost();
    }
    call->sink->deliver(Failed{502, "engine_unreachable",
                               "cannot connect to the engine at " + self->url_.host_header(),
                               !call->closed});
  } else {
    co_await converse(self, call);
  }
  call->close();
  self->forget(call->job->id);
}

void OpenAiWorker::broken(Call& call, const char* what) {
  const bool expired = call.deadline.disarm();
  if (call.closed) {
    call.sink->deliver(Failed{503, "shutting_down", "the server is shutting down", false});
    return;
  }
  lost();
  const std::string who = "the engine at " + url_.host_header();
  call.sink->deliver(expired ? Failed{504, "engine_timeout", who + " fell silent", false}
                             : Failed{502, "engine_broken", who + what, false});
}

net::awaitable<void> OpenAiWorker::converse(std::shared_ptr<OpenAiWorker> self,
                                            std::shared_ptr<Call> call) {
  const EngineTarget& target = self->target_;
  const bool prefill = self->role_ == WorkerRole::prefill;
  const bool one_piece = !call->job->stream && !prefill;
  const Duration first = target.first_token_timeout +
                         (one_piece ? target.token_timeout * kWholeAnswerGaps : Duration{0});
  call->deadline.arm(first, [call] { call->close(); });
  const std::string request =
      render_request(self->url_, *call->job, body_for(self->role_, *call->job, call->prefilled));
  // A failed write shows in the read: the engine may have answered before it took it all.
  co_await net::async_write(call->socket, net::buffer(request), kAwait);
  call->parser.header_limit(kHeaderLimit);
  call->parser.body_limit(boost::none);
  auto [head_error, head_size] =
      co_await http::async_read_header(call->socket, call->buffer, call->parser, kAwait);
  if (head_error) {
    self->broken(*call, " closed the connection without an answer");
    co_return;
  }
  if (prefill && call->parser.get().result() == http::status::ok) {
    co_await read_prefilled(self, call);
  } else {
    co_await pass_on(self, call, first);
  }
}

net::awaitable<void> OpenAiWorker::read_prefilled(std::shared_ptr<OpenAiWorker> self,
                                                  std::shared_ptr<Call> call) {
  std::string body;
  while (!call->parser.is_done()) {
    call->parser.get().body().data = call->bytes.data();
    call->parser.get().body().size = call->bytes.size();
    auto [error, size] =
        co_await http::async_read_some(call->socket, call->buffer, call->parser, kAwait);
    body.append(call->bytes.data(), call->bytes.size() - call->parser.get().body().size);
    if ((error && error != http::error::need_buffer) || body.size() > kPrefillAnswer) {
      self->broken(*call, body.size() > kPrefillAnswer ? " gave an answer of more than 4 MiB"
                                                       : " broke off in the middle of its answer");
      co_return;
    }
  }
  call->deadline.disarm();
  auto answer = read_prefill_answer(body);
  if (!answer) {
    call->sink->deliver(
        Failed{502, "no_kv_transfer",
               "the prefill engine at " + self->url_.host_header() +
                   " answered without kv_transfer_params; it needs --kv-transfer-config with a "
                   "connector such as NixlConnector",
               false});
    co_return;
  }
  self->computed(*call->job);
  call->sink->deliver(Admitted{answer->cached_tokens});
  call->sink->deliver(Prefilled{std::move(answer->kv_transfer)});
}

net::awaitable<void> OpenAiWorker::pass_on(std::shared_ptr<OpenAiWorker> self,
                                           std::shared_ptr<Call> call, Duration first) {
  const Duration gap = self->target_.token_timeout;
  RelayHead head;
  head.status = static_cast<int>(call->parser.get().result_int());
  head.content_type = std::string(call->parser.get()[http::field::content_type]);
  call->sink->deliver(head);

  bool computed = false;
  while (!call->parser.is_done()) {
    call->parser.get().body().data = call->bytes.data();
    call->parser.get().body().size = call->bytes.size();
    auto [error, size] =
        co_await http::async_read_some(call->socket, call->buffer, call->parser, kAwait);
    const std::size_t got = call->bytes.size() - call->parser.get().body().size;
    const std::string_view bytes(call->bytes.data(), got);
    call->scanner.push(bytes);
    if (call->parser.is_done()) {
      call->scanner.finish();
    }
    if (call->scanner.tokens() > 0 && !computed) {
      computed = true;
      self->computed(*call->job);
    }
    if (got > 0 || call->parser.is_done()) {
      call->deadline.disarm();
      const bool room = call->sink->deliver(
          RelayBytes{std::string(bytes), call->scanner.tokens(), call->scanner.cached_tokens()});
      if (!room && !call->closed) {
        co_await call->room.wait();
      }
      const bool begun = !call->job->stream || computed;
      call->deadline.arm(begun && call->job->stream ? gap : first, [call] { call->close(); });
    }
    if (error && error != http::error::need_buffer) {
      self->broken(*call, " broke off in the middle of its answer");
      co_return;
    }
  }
  call->sink->deliver(RelayEnd{});
}

net::awaitable<bool> OpenAiWorker::healthy(std::shared_ptr<OpenAiWorker> self,
                                           std::shared_ptr<Connection> connection) {
  connection->socket = tcp::socket(connection->strand);
  const bool connected = co_await connect(connection, self->url_, self->target_.connect_timeout);
  if (!connected) {
    co_return false;
  }
  connection->deadline.arm(self->target_.connect_timeout, [connection] { connection->close(); });
  const std::string request = "GET " + self->url_.prefix +
                              "/health HTTP/1.1\r\nHost: " + self->url_.host_header() +
                              "\r\nConnection: close\r\n\r\n";
  co_await net::async_write(connection->socket, net::buffer(request), kAwait);
  boost::beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.header_limit(kHeaderLimit);
  auto [error, size] = co_await http::async_read_header(connection->socket, buffer, parser, kAwait);
  const bool expired = connection->deadline.disarm();
  co_return !error && !expired && parser.get().result() == http::status::ok;
}

net::awaitable<void> OpenAiWorker::probe(std::shared_ptr<OpenAiWorker> self,
                                         std::shared_ptr<Connection> connection) {
  bool back = false;
  while (!back && !connection->closed) {
    connection->pause.expires_after(self->probe_interval_);
    co_await connection->pause.async_wait(kAwait);
    if (!connection->closed) {
      back = co_await healthy(self, connection);
    }
  }
  connection->close();
  {
    const std::scoped_lock lock(self->mutex_);
    self->probing_ = false;
  }
  if (back && !connection->closed) {
    self->listener_.available(true);
  }
}

}  // namespace dyn::serve
