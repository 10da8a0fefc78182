#include "dyn/core/quantity_text.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <limits>

namespace dyn {
namespace {

using namespace literals;

template <class Q>
Q parsed(std::string_view text) {
  Q value{};
  INFO(text);
  REQUIRE(parse_quantity(text, value));
  return value;
}

template <class Q>
bool refused(std::string_view text) {
  Q value{};
  return !parse_quantity(text, value);
}

TEST_CASE("Bytes tell decimal from binary prefixes") {
  CHECK(parsed<Bytes>("80 GiB") == 80_GiB);
  CHECK(parsed<Bytes>("141 GB") == 141_GB);
  CHECK(parsed<Bytes>("80GiB") == 80_GiB);
  CHECK(parsed<Bytes>("1.5 KiB") == Bytes(1536));
  CHECK(parsed<Bytes>("0.5 TiB") == 512_GiB);
  CHECK(parsed<Bytes>("1.1 GiB") == Bytes(1181116006));  // the nearest byte
  CHECK(parsed<Bytes>("1e3 MB") == 1_GB);
  CHECK(parsed<Bytes>("-3 B") == Bytes(-3));
  CHECK(parsed<Bytes>("9223372036854775807 B") == Bytes(std::numeric_limits<std::int64_t>::max()));
}

TEST_CASE("Durations are exact nanoseconds") {
  CHECK(parsed<Duration>("2s") == std::chrono::seconds(2));
  CHECK(parsed<Duration>("30ms") == std::chrono::milliseconds(30));
  CHECK(parsed<Duration>("30 us") == std::chrono::microseconds(30));
  CHECK(parsed<Duration>("30 µs") == std::chrono::microseconds(30));
  CHECK(parsed<Duration>("1.5 min") == std::chrono::seconds(90));
  CHECK(parsed<Duration>("1h") == std::chrono::hours(1));
  CHECK(parsed<Duration>("0.1 s") == std::chrono::milliseconds(100));
  CHECK(parsed<Duration>("0 s") == Duration{0});
}

TEST_CASE("Rates, work, power and money have their units") {
  CHECK(parsed<BytesPerSec>("4.8 TB/s").count() == 4.8e12);
  CHECK(parsed<BytesPerSec>("1 GiB/s").count() == 1073741824.0);
  CHECK(parsed<FlopsPerSec>("989 TFLOP/s").count() == 989e12);
  CHECK(parsed<FlopsPerSec>("1EFLOP/s").count() == 1e18);
  CHECK(parsed<FlopsPerSec>("989 TFLOPS").count() == 989e12);
  CHECK(parsed<Flops>("3 TFLOP").count() == 3e12);
  CHECK(parsed<RequestsPerSec>("8/s").count() == 8.0);
  CHECK(parsed<RequestsPerSec>("8 req/s").count() == 8.0);
  CHECK(parsed<RequestsPerSec>("30 req/min").count() == 0.5);
  CHECK(parsed<RequestsPerSec>("36 /h").count() == 0.01);
  CHECK(parsed<TokensPerSec>("500 tok/s").count() == 500.0);
  CHECK(parsed<Watts>("0.7 kW").count() == 700.0);
  CHECK(parsed<Dollars>("$12.50").count() == 12.5);
  CHECK(parsed<DollarsPerHour>("$2.50/h").count() == 2.5);
  CHECK(parsed<DollarsPerHour>("2.5 USD/h").count() == 2.5);
  CHECK(parsed<DollarsPerHour>("0.9 $/h").count() == 0.9);
  CHECK(parsed<Dollars>("3 $").count() == 3.0);
}

TEST_CASE("What has no unit, another's unit or no number is refused") {
  for (const char* text :
       {"",         " ",       "80",     "GiB",     "80 gib", "80 GB/s",
        "80 GiB x", "1,5 GiB", "0x10 B", "1e400 B", "1e30 B", "9223372036854775808 B",
        "- 3 B",    "--3 B",   "1. B",   ".5 B",    "1e B",   "nan B",
        "inf B",    "0.1 B",   "NaN"}) {
    INFO(text);
    CHECK(refused<Bytes>(text));
  }
  for (const char* text : {"2", "2 S", "2 seconds", "2m", "300000000000 h", "0.1 ns", "2 GB"}) {
    INFO(text);
    CHECK(refused<Duration>(text));
  }
  CHECK(refused<RequestsPerSec>("8"));
  CHECK(refused<RequestsPerSec>("8 Hz"));
  CHECK(refused<DollarsPerHour>("2.50"));
  CHECK(refused<DollarsPerHour>("$2.50"));
  CHECK(refused<DollarsPerHour>("$x/h"));
  CHECK(refused<FlopsPerSec>("989 TFLOP"));
  CHECK(refused<FlopsPerSec>("1e400 FLOP/s"));
}

TEST_CASE("A refused text leaves the value alone and says what would do") {
  Duration value = std::chrono::seconds(7);
  CHECK_FALSE(parse_quantity("2", value));
  CHECK(value == std::chrono::seconds(7));
  const QuantityForm& form = quantity_form(Duration{});
  CHECK(expected_text(form) == "expected a duration such as \"300 ms\"");
  CHECK(quantity_hint(form, "2") == "add a unit: ns, us, ms, s, min or h");
  CHECK(quantity_hint(form, "2 GB") == "the units are ns, us, ms, s, min or h");
  CHECK(quantity_hint(form, "soon").empty());
}

TEST_CASE("Texts are written in the unit that keeps them short") {
  CHECK(to_text(80_GiB) == "80 GiB");
  CHECK(to_text(141_GB) == "141 GB");
  CHECK(to_text(Bytes(1025)) == "1025 B");
  CHECK(to_text(Bytes(0)) == "0 B");
  CHECK(to_text(Duration{1'500'000}) == "1.5 ms");
  CHECK(to_text(std::chrono::seconds(2)) == "2 s");
  CHECK(to_text(Duration{-1'000}) == "-1 us");
  CHECK(to_text(BytesPerSec(4.8e12)) == "4.8 TB/s");
  CHECK(to_text(BytesPerSec(0)) == "0 B/s");
  CHECK(to_text(FlopsPerSec(989e12)) == "989 TFLOP/s");
  CHECK(to_text(FlopsPerSec(1.979e15)) == "1.979 PFLOP/s");
  CHECK(to_text(RequestsPerSec(0.5)) == "0.5 req/s");
  CHECK(to_text(DollarsPerHour(2.5)) == "$2.5/h");
  CHECK(to_text(Watts(700)) == "700 W");
  CHECK(shortest(1e-9) == "1e-9");
  CHECK(shortest(-0.25) == "-0.25");
  CHECK(shortest(1e21) == "1e21");
}

template <class Q>
bool survives(Q value) {
  Q back{};
  return parse_quantity(to_text(value), back) && back == value;
}

TEST_CASE("Any value that is written reads back the same") {
  REQUIRE(rc::check("bytes", [](std::int64_t n) {
    RC_PRE(n != std::numeric_limits<std::int64_t>::min());
    RC_ASSERT(survives(Bytes(n)));
  }));
  REQUIRE(rc::check("durations", [](std::int64_t n) {
    RC_PRE(n != std::numeric_limits<std::int64_t>::min());
    RC_ASSERT(survives(Duration(n)));
  }));
  REQUIRE(rc::check("reals", [] {
    const double mantissa =
        *rc::gen::cast<double>(rc::gen::inRange<std::int64_t>(-1'000'000'007, 1'000'000'007)) / 7;
    const double x = mantissa * std::pow(10.0, *rc::gen::inRange(-40, 40));
    RC_ASSERT(survives(BytesPerSec(x)));
    RC_ASSERT(survives(Flops(x)));
    RC_ASSERT(survives(FlopsPerSec(x)));
    RC_ASSERT(survives(TokensPerSec(x)));
    RC_ASSERT(survives(RequestsPerSec(x)));
    RC_ASSERT(survives(Watts(x)));
    RC_ASSERT(survives(Dollars(x)));
    RC_ASSERT(survives(DollarsPerHour(x)));
  }));
}

TEST_CASE("No text makes the parser do anything but accept or refuse it") {
  REQUIRE(rc::check("any text", [](const std::string& text) {
    Bytes bytes{};
    Duration duration{};
    FlopsPerSec rate{};
    DollarsPerHour price{};
    static_cast<void>(parse_quantity(text, bytes));
    static_cast<void>(parse_quantity(text, duration));
    static_cast<void>(parse_quantity("1" + text, rate));
    static_cast<void>(parse_quantity("$" + text, price));
  }));
}

}  // namespace
}  // namespace dyn
