#include "http_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "dyn/core/version.h"

namespace dyn::serve {
namespace {

std::string date(std::time_t now) {
  constexpr std::array<const char*, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm tm{};
  gmtime_r(&now, &tm);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[tm.tm_wday], tm.tm_mday,
                     kMonths[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

std::string one_line(std::string text) {
  std::erase_if(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
  return text;
}

}  // namespace

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return status < 400 ? "OK" : "Error";
  }
}

std::string render_head(const ResponseHead& head, std::time_t now) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nServer: dyn/{}\r\nDate: {}\r\n", head.status,
                                 reason_phrase(head.status), version(), date(now));
  if (!head.content_type.empty()) {
    text += "Content-Type: " + one_line(head.content_type) + "\r\n";
  }
  if (head.content_length) {
    text += fmt::format("Content-Length: {}\r\n", *head.content_length);
  } else if (head.chunked) {
    text += "Transfer-Encoding: chunked\r\n";
  }
  for (const auto& [name, value] : head.extra) {
    text += one_line(name) + ": " + one_line(value) + "\r\n";
  }
  text += head.keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return text;
}

std::string chunk(std::string_view data) {
  return data.empty() ? std::string() : fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

std::string Url::host_header() const {
  const std::string name = host.find(':') == std::string::npos ? host : '[' + host + ']';
  return port == "80" ? name : name + ':' + port;
}

std::optional<Url> parse_url(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  if (text.substr(0, kScheme.size()) != kScheme) {
    return std::nullopt;
  }
  text.remove_prefix(kScheme.size());
  Url url;
  const std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    url.prefix = text.substr(slash);
    text = text.substr(0, slash);
    while (!url.prefix.empty() && url.prefix.back() == '/') {
      url.prefix.pop_back();
    }
  }
  std::string_view port = "80";
  if (!text.empty() && text.front() == '[') {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    url.host = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (!text.empty() && text.front() != ':') {
      return std::nullopt;
    }
    port = text.empty() ? port : text.substr(1);
  } else if (const std::size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    url.host = text.substr(0, colon);
    port = text.substr(colon + 1);
  } else {
    url.host = text;
  }
  url.port = port;
  const bool digits =
      !port.empty() && port.size() <= 5 &&
      std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  const bool odd = std::any_of(url.host.begin(), url.host.end(), [](char c) {
    return c <= ' ' || c == '@' || c == '?' || c == '#' || c == '\x7f';
  });
  const auto odd_path = std::any_of(url.prefix.begin(), url.prefix.end(), [](char c) {
    return c <= ' ' || c == '?' || c == '#' || c == '\x7f';
  });
  if (!digits || url.host.empty() || odd || odd_path || std::stoi(url.port) > 65535 ||
      std::stoi(url.port) == 0) {
    return std::nullopt;
  }
  return url;
}

std::string host_port(std::string_view host, unsigned port) {
  return host.find(':') == std::string_view::npos ? fmt::format("{}:{}", host, port)
                                                  : fmt::format("[{}]:{}", host, port);
}

}  // namespace dyn::serve
