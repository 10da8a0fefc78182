#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <memory>
#include <optional>
#include <string>

#include "api_error.h"
#include "generation.h"
#include "http_text.h"
#include "net.h"
#include "prepare.h"
#include "task_group.h"

namespace dyn::serve {

/// One client connection: reads requests one after the other and answers each in turn (requests
/// sent ahead wait). All on one strand. While a request is answered the socket is watched, so
/// that a client that leaves ends its request at once.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<ServerState> state, tcp::socket socket);
  ~Session();

  net::awaitable<void> run();
  /// Closes the connection whatever it does. Any thread.
  void stop();
  /// Fails the request in progress with 503: the server's grace is over. Any thread.
  void give_up();

 private:
  // session.cpp: HTTP.
  net::awaitable<std::optional<HttpRequest>> read_request();
  net::awaitable<bool> wait_for_bytes();
  net::awaitable<bool> answer(HttpRequest request);
  net::awaitable<bool> send(ResponseHead head, std::string body);
  net::awaitable<bool> send_error(ApiError error, bool keep_alive);
  net::awaitable<bool> write(std::string bytes);
  net::awaitable<void> linger();
  void arm(Duration limit);

  // session_generate.cpp: the two generating endpoints.
  net::awaitable<bool> generate(Endpoint endpoint, HttpRequest request);
  net::awaitable<bool> run_generation(std::shared_ptr<Generation> generation,
                                      std::shared_ptr<Prepared> prepared, bool keep_alive);
  net::awaitable<bool> answer_stream(std::shared_ptr<Generation> generation,
                                     std::shared_ptr<Prepared> prepared, bool keep_alive);
  net::awaitable<bool> answer_whole(std::shared_ptr<Generation> generation,
                                    std::shared_ptr<Prepared> prepared, bool keep_alive);
  net::awaitable<bool> answer_relayed(std::shared_ptr<Generation> generation,
                                      std::shared_ptr<Prepared> prepared, bool keep_alive);
  /// Ends a stream that cannot be completed: says so, and leaves out the end of the body.
  net::awaitable<bool> break_off(ApiError error, bool mid_event);
  std::string frame(std::string bytes) const;  ///< as a chunk, or bare for HTTP/1.0
  ResponseHead stream_head(int status, std::string content_type, bool keep_alive) const;
  void finish(const Generation& generation, const Prepared& prepared, std::int64_t output_tokens);
  void watch();
  net::awaitable<void> unwatch();

  const std::shared_ptr<ServerState> state_;
  tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
  Deadline deadline_;
  Wake wake_;
  std::shared_ptr<Generation> generation_;  ///< of the request in progress
  bool stopping_ = false;
  bool watching_ = false;
  bool client_left_ = false;
  bool head_only_ = false;
  bool http_1_0_ = false;
  int status_ = 0;  ///< of the answer in progress
};

}  // namespace dyn::serve
