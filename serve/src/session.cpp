#include "session.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <iterator>
#include <utility>

#include "dyn/core/log.h"

namespace dyn::serve {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
constexpr auto kAwait = net::as_tuple(net::use_awaitable);
using Parser = http::request_parser<http::string_body>;

constexpr std::size_t kFirstRead = 4096;
constexpr std::size_t kLingerBytes = 64 << 20;  ///< of a refused body, so that it is no reset
constexpr Duration kLingerTime = std::chrono::seconds(2);

std::string text(boost::beast::string_view view) {
  return {view.data(), view.size()};
}

/// The answer to a request that cannot be read; nothing where there is nobody to answer.
std::optional<ApiError> reading_error(error_code error, bool expired, bool began) {
  if (expired) {
    return began ? std::optional(ApiError{408,
                                          "the request did not arrive in time",
                                          "invalid_request_error",
                                          {},
                                          "request_timeout",
                                          0})
                 : std::nullopt;
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return ApiError{
        431, "the request's header is too large", "invalid_request_error", {}, "header_too_large",
        0};
  }
  if (error == http::error::body_limit) {
    return ApiError{
        413, "the request's body is too large", "invalid_request_error", {}, "body_too_large", 0};
  }
  const bool malformed =
      error.category() == http::make_error_code(http::error::bad_method).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message;
  return malformed ? std::optional(invalid("the request is not valid HTTP: " + error.message(), {},
                                           "bad_request"))
                   : std::nullopt;
}

HttpRequest convert(Parser::value_type message, SimTime received) {
  HttpRequest request;
  request.method = text(message.method_string());
  request.path = text(message.target());
  request.path = request.path.substr(0, request.path.find('?'));
  request.authorization = text(message[http::field::authorization]);
  request.session = text(message["X-Session-Id"]);
  if (request.session.empty()) {
    request.session = text(message["X-Correlation-Id"]);
  }
  request.keep_alive = message.keep_alive();
  request.http_1_0 = message.version() < 11;
  request.body = std::move(message.body());
  request.received = received;
  return request;
}

}  // namespace

Session::Session(std::shared_ptr<ServerState> state, tcp::socket socket)
    : state_(std::move(state)),
      socket_(std::move(socket)),
      deadline_(socket_.get_executor()),
      wake_(socket_.get_executor()) {}

Session::~Session() = default;

void Session::stop() {
  net::post(socket_.get_executor(), [self = shared_from_this()] {
    self->stopping_ = true;
    self->client_left_ = true;
    if (self->generation_) {
      self->generation_->cancel();
    }
    error_code ignored;
    self->socket_.close(ignored);
    self->deadline_.cancel();
    self->wake_.notify();
  });
}

void Session::give_up() {
  net::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->generation_) {
      self->generation_->fail(unavailable("the server is shutting down", "shutting_down"));
    }
  });
}

void Session::arm(Duration limit) {
  deadline_.arm(limit, [self = shared_from_this()] {
    error_code ignored;
    self->socket_.cancel(ignored);
  });
}

net::awaitable<void> Session::run() {
  const auto self = shared_from_this();
  error_code ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  bool more = true;
  while (more && !stopping_) {
    std::optional<HttpRequest> request = co_await read_request();
    if (!request) {
      break;
    }
    more = co_await answer(std::move(*request));
  }
  co_await linger();
}

net::awaitable<bool> Session::wait_for_bytes() {
  if (buffer_.size() > 0) {
    co_return true;
  }
  arm(state_->options.limits.idle_timeout);
  auto [error, size] = co_await socket_.async_read_some(buffer_.prepare(kFirstRead), kAwait);
  deadline_.disarm();
  buffer_.commit(size);
  co_return !error && size > 0;
}

net::awaitable<std::optional<HttpRequest>> Session::read_request() {
  const ServeLimits& limits = state_->options.limits;
  head_only_ = false;
  http_1_0_ = false;
  const bool some = co_await wait_for_bytes();
  if (!some) {
    co_return std::nullopt;
  }
  Parser parser;
  parser.header_limit(limits.header_bytes);
  parser.body_limit(limits.body_bytes);
  arm(limits.header_timeout);
  auto [error, size] = co_await http::async_read_header(socket_, buffer_, parser, kAwait);
  bool expired = deadline_.disarm();
  const auto& header = parser.get();
  if (!error && std::distance(header.begin(), header.end()) > limits.headers) {
    error = http::make_error_code(http::error::header_limit);
  }
  if (!error && boost::beast::iequals(header[http::field::expect], "100-continue")) {
    co_await write("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (!error && !expired) {
    arm(limits.body_timeout);
    auto [body_error, body_size] = co_await http::async_read(socket_, buffer_, parser, kAwait);
    error = body_error;
    expired = deadline_.disarm();
  }
  if (error) {
    if (const auto answer = reading_error(error, expired, parser.got_some())) {
      state_->metrics.answered("other", answer->status);
      co_await send_error(*answer, false);
    }
    co_return std::nullopt;
  }
  co_return convert(parser.release(), state_->fleet->clock().now());
}

net::awaitable<bool> Session::answer(HttpRequest request) {
  head_only_ = request.method == "HEAD";
  http_1_0_ = request.http_1_0;
  const std::string path = metrics_path(request.path);
  const bool keep_alive = request.keep_alive && !state_->draining;
  bool more = false;
  if (const auto endpoint = generating_endpoint(request)) {
    request.keep_alive = keep_alive;
    more = co_await generate(*endpoint, std::move(request));
  } else {
    PlainAnswer plain = plain_answer(*state_, request);
    ResponseHead head;
    head.status = plain.status;
    head.content_type = std::move(plain.content_type);
    head.keep_alive = keep_alive;
    if (!plain.allow.empty()) {
      head.extra.emplace_back("Allow", plain.allow);
    }
    more = co_await send(std::move(head), std::move(plain.body));
  }
  state_->metrics.answered(path, status_);
  co_return more;
}

net::awaitable<bool> Session::send(ResponseHead head, std::string body) {
  status_ = head.status;
  head.content_length = body.size();
  std::string message = render_head(head, std::time(nullptr));
  if (!head_only_) {
    message += body;
  }
  const bool sent = co_await write(std::move(message));
  co_return sent&& head.keep_alive;
}

net::awaitable<bool> Session::send_error(ApiError error, bool keep_alive) {
  ResponseHead head;
  head.status = error.status;
  head.keep_alive = keep_alive;
  if (error.retry_after > 0) {
    head.extra.emplace_back("Retry-After", std::to_string(error.retry_after));
  }
  return send(std::move(head), error.to_json());
}

net::awaitable<bool> Session::write(std::string bytes) {
  arm(state_->options.limits.write_timeout);
  auto [error, size] = co_await net::async_write(socket_, net::buffer(bytes), kAwait);
  const bool expired = deadline_.disarm();
  co_return !error && !expired && !stopping_;
}

net::awaitable<void> Session::linger() {
  error_code ignored;
  if (!stopping_ && !client_left_ && socket_.is_open()) {
    // What the client still sends is read, or closing would take back our last answer.
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    arm(kLingerTime);
    error_code error;
    for (std::size_t total = 0; !error && total < kLingerBytes;) {
      buffer_.consume(buffer_.size());
      auto [failed, size] = co_await socket_.async_read_some(buffer_.prepare(kFirstRead), kAwait);
      error = failed;
      total += size;
    }
    deadline_.disarm();
  }
  socket_.close(ignored);
}

}  // namespace dyn::serve
