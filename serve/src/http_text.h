#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dyn::serve {

/// The head of an HTTP/1.1 answer.
struct ResponseHead {
  int status = 200;
  std::string content_type = "application/json";
  std::optional<std::uint64_t> content_length;  ///< absent: chunked, or until the close
  bool chunked = false;
  bool keep_alive = true;
  std::vector<std::pair<std::string, std::string>> extra;  ///< such as Retry-After
};

/// The head with its empty line. `now` fills Date. Line breaks in values are dropped, so that no
/// value can add a header.
std::string render_head(const ResponseHead& head, std::time_t now);

/// The standard phrase of a status, such as Not Found.
std::string_view reason_phrase(int status);

/// One chunk of a chunked body; empty data gives an empty text, since an empty chunk ends a body.
std::string chunk(std::string_view data);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

/// An http:// address.
struct Url {
  std::string host;
  std::string port;    ///< digits; 80 where none is given
  std::string prefix;  ///< path without a trailing slash, or empty

  std::string host_header() const;
};
/// Parses http://host[:port][/path]; nothing for anything else (https included).
std::optional<Url> parse_url(std::string_view text);

/// `host:port` for messages and links, with brackets around an IPv6 address.
std::string host_port(std::string_view host, unsigned port);

}  // namespace dyn::serve
