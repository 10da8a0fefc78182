#include "http_text.h"

#include <catch2/catch.hpp>

using namespace dyn::serve;

TEST_CASE("a head has its status, length and date") {
  ResponseHead head;
  head.status = 429;
  head.content_length = 12;
  head.extra.emplace_back("Retry-After", "1");
  const std::string text = render_head(head, 784111777);
  CHECK(text.find("HTTP/1.1 429 Too Many Requests\r\n") == 0);
  CHECK(text.find("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != std::string::npos);
  CHECK(text.find("Content-Length: 12\r\n") != std::string::npos);
  CHECK(text.find("Retry-After: 1\r\n") != std::string::npos);
  CHECK(text.substr(text.size() - 26) == "Connection: keep-alive\r\n\r\n");
}

TEST_CASE("no value can add a header of its own") {
  ResponseHead head;
  head.content_type = "text/plain\r\nSet-Cookie: x";
  CHECK(render_head(head, 0).find("\r\nSet-Cookie") == std::string::npos);
}

TEST_CASE("a chunk has its length in hexadecimal, and none is empty") {
  CHECK(chunk(std::string(26, 'x')) == "1a\r\n" + std::string(26, 'x') + "\r\n");
  CHECK(chunk("").empty());
}

TEST_CASE("http addresses are taken apart") {
  const auto url = parse_url("http://127.0.0.1:8001/base/");
  REQUIRE(url);
  CHECK(url->host == "127.0.0.1");
  CHECK(url->port == "8001");
  CHECK(url->prefix == "/base");
  CHECK(url->host_header() == "127.0.0.1:8001");
  CHECK(parse_url("http://engine")->port == "80");
  CHECK(parse_url("http://[::1]:90")->host_header() == "[::1]:90");
  for (const char* bad : {"", "engine:80", "https://engine", "http://", "http://h:", "http://h:0",
                          "http://h:99999", "http://h:8x", "http://u@h", "http://[::1",
                          "http://h/a b", "http://[::1]x:1", "http://h\r\nX: y"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_url(bad));
  }
}

TEST_CASE("an IPv6 address gets brackets before its port") {
  CHECK(host_port("::1", 80) == "[::1]:80");
  CHECK(host_port("localhost", 80) == "localhost:80");
}
