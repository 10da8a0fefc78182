#include "dyn/core/quantity_text.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>

namespace dyn {
namespace {

/// A unit: value = number * 10^decimal * factor / divisor of the base unit.
struct Unit {
  std::string_view name;
  int decimal = 0;
  std::int64_t factor = 1;
  std::int64_t divisor = 1;
};

constexpr std::string_view kNumber = R"([-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)";

constexpr Unit kByteUnits[] = {{"TB", 12},
                               {"GB", 9},
                               {"MB", 6},
                               {"kB", 3},
                               {"TiB", 0, std::int64_t{1} << 40},
                               {"GiB", 0, std::int64_t{1} << 30},
                               {"MiB", 0, std::int64_t{1} << 20},
                               {"KiB", 0, std::int64_t{1} << 10},
                               {"B"}};
constexpr Unit kDurationUnits[] = {{"ns"},   {"us", 3},      {"µs", 3},     {"ms", 6},
                                   {"s", 9}, {"min", 9, 60}, {"h", 9, 3600}};
constexpr Unit kBandwidthUnits[] = {{"TB/s", 12},
                                    {"GB/s", 9},
                                    {"MB/s", 6},
                                    {"kB/s", 3},
                                    {"B/s"},
                                    {"TiB/s", 0, std::int64_t{1} << 40},
                                    {"GiB/s", 0, std::int64_t{1} << 30},
                                    {"MiB/s", 0, std::int64_t{1} << 20},
                                    {"KiB/s", 0, std::int64_t{1} << 10}};
constexpr Unit kFlopUnits[] = {{"EFLOP", 18}, {"PFLOP", 15}, {"TFLOP", 12},
                               {"GFLOP", 9},  {"MFLOP", 6},  {"FLOP"}};
constexpr Unit kFlopRateUnits[] = {{"EFLOP/s", 18}, {"PFLOP/s", 15}, {"TFLOP/s", 12},
                                   {"GFLOP/s", 9},  {"MFLOP/s", 6},  {"FLOP/s"},
                                   {"PFLOPS", 15},  {"TFLOPS", 12},  {"GFLOPS", 9}};
constexpr Unit kTokenRateUnits[] = {{"tok/s"}, {"tokens/s"}, {"tok/min", 0, 1, 60}};
constexpr Unit kRequestRateUnits[] = {{"req/s"},          {"/s"},
                                      {"requests/s"},     {"req/min", 0, 1, 60},
                                      {"/min", 0, 1, 60}, {"req/h", 0, 1, 3600},
                                      {"/h", 0, 1, 3600}};
constexpr Unit kPowerUnits[] = {{"W"}, {"kW", 3}, {"MW", 6}};
constexpr Unit kMoneyUnits[] = {{"USD"}, {"$"}};
constexpr Unit kMoneyRateUnits[] = {{"USD/h"}, {"$/h"}};

__extension__ using Wide = unsigned __int128;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// A text cut into number and unit; the number is `-?digits[.digits][e+-digits]`.
struct Cut {
  bool negative = false;
  std::string whole;
  std::string fraction;
  int exponent = 0;
  std::string_view unit;
};

std::string_view strip(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::optional<Cut> cut(std::string_view text) {
  text = strip(text);
  Cut result;
  std::size_t i = 0;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    result.negative = text[0] == '-';
    ++i;
  }
  const auto digits = [&](std::string& to) {
    while (i < text.size() && is_digit(text[i])) {
      to += text[i++];
    }
    return !to.empty();
  };
  if (!digits(result.whole) || result.whole.size() > 40) {
    return std::nullopt;
  }
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!digits(result.fraction) || result.fraction.size() > 40) {
      return std::nullopt;
    }
  }
  // An exponent, unless the letter begins a unit such as EFLOP.
  if (i + 1 < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    std::size_t j = i + 1;
    if (text[j] == '-' || (text[j] == '+' && j + 1 < text.size())) {
      ++j;
    }
    const char* begin = text.data() + j - (text[i + 1] == '-' ? 1 : 0);
    int exponent = 0;
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), exponent);
    if (error == std::errc{} && j < text.size() && is_digit(text[j])) {
      if (exponent < -400 || exponent > 400) {
        return std::nullopt;
      }
      result.exponent = exponent;
      i = static_cast<std::size_t>(end - text.data());
    } else if (error == std::errc::result_out_of_range) {
      return std::nullopt;
    }
  }
  result.unit = strip(text.substr(i));
  return result;
}

const Unit* find_unit(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) {
      return &unit;
    }
  }
  return nullptr;
}

/// The number in the base unit, rounded once.
std::optional<double> as_real(const Cut& number, const Unit& unit) {
  const std::string text = (number.negative ? "-" : "") + number.whole + '.' + number.fraction +
                           "0e" + std::to_string(number.exponent + unit.decimal);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) {
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range) {
    return std::nullopt;
  }
  value = value * static_cast<double>(unit.factor) / static_cast<double>(unit.divisor);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

/// The number in whole base units, the nearest; none if it is too large, or not 0 but rounds to it.
std::optional<std::int64_t> as_whole(const Cut& number, const Unit& unit) {
  constexpr auto kLimit = static_cast<Wide>(std::numeric_limits<std::int64_t>::max());
  const std::string digits = number.whole + number.fraction;
  Wide value = 0;
  for (const char c : digits) {
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > kLimit * 1000) {
      return std::nullopt;
    }
  }
  if (value == 0) {
    return 0;
  }
  value *= static_cast<Wide>(unit.factor);  // < 2^74 * 2^40
  int scale = number.exponent + unit.decimal - static_cast<int>(number.fraction.size());
  for (; scale > 0; --scale) {
    value *= 10;
    if (value > kLimit) {
      return std::nullopt;
    }
  }
  if (scale < 0) {
    Wide divisor = 1;
    for (; scale < 0; ++scale) {
      if (divisor > value) {  // below half a unit, whatever follows
        return std::nullopt;
      }
      divisor *= 10;
    }
    value = (value + divisor / 2) / divisor;
    if (value == 0) {
      return std::nullopt;
    }
  }
  if (value > kLimit) {
    return std::nullopt;
  }
  const auto magnitude = static_cast<std::int64_t>(value);
  return number.negative ? -magnitude : magnitude;
}

template <class Q>
bool parse_real(std::string_view text, std::span<const Unit> units, Q& out) {
  const auto number = cut(text);
  const Unit* unit = number ? find_unit(units, number->unit) : nullptr;
  const auto value = unit != nullptr ? as_real(*number, *unit) : std::nullopt;
  if (!value) {
    return false;
  }
  out = Q(*value);
  return true;
}

/// `$2.50` and `2.50 USD`, with what follows the amount.
template <class Q>
bool parse_money(std::string_view text, std::string_view suffix, std::span<const Unit> units,
                 Q& out) {
  text = strip(text);
  if (!text.starts_with('$')) {
    return parse_real(text, units, out);
  }
  text.remove_prefix(1);
  if (!text.ends_with(suffix)) {
    return false;
  }
  text.remove_suffix(suffix.size());
  const auto number = cut(text);
  if (!number || !number->unit.empty()) {
    return false;
  }
  const auto value = as_real(*number, Unit{});
  if (!value) {
    return false;
  }
  out = Q(*value);
  return true;
}

/// The shortest digits of `value` with the decimal point moved by `decimal` places to the left.
std::string shifted(double value, int decimal) {
  char buffer[40];
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof buffer, std::abs(value), std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 2) {
    digits += text.substr(2, e - 2);
  }
  int exponent = 0;  // to_chars writes its sign too, and from_chars takes no '+'.
  std::from_chars(buffer + e + (buffer[e + 1] == '+' ? 2 : 1), end, exponent);
  exponent -= decimal;
  const std::string sign = std::signbit(value) ? "-" : "";
  const int size = static_cast<int>(digits.size());
  if (exponent < -6 || exponent > 20) {
    return sign + digits.substr(0, 1) + (size > 1 ? "." + digits.substr(1) : "") + 'e' +
           std::to_string(exponent);
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  if (size <= exponent + 1) {
    return sign + digits + std::string(static_cast<std::size_t>(exponent + 1 - size), '0');
  }
  const auto point = static_cast<std::size_t>(exponent + 1);
  return sign + digits.substr(0, point) + '.' + digits.substr(point);
}

/// In the largest of the decimal units (given first, largest first) that keeps the number >= 1.
std::string real_text(double value, std::span<const Unit> units, std::size_t decimal_units) {
  const Unit* chosen = &units[decimal_units - 1];
  for (const Unit& unit : units.first(decimal_units)) {
    if (std::abs(value) >= std::pow(10.0, unit.decimal)) {
      chosen = &unit;
      break;
    }
  }
  if (value == 0) {
    chosen = &units[decimal_units - 1];
  }
  return shifted(value, chosen->decimal) + ' ' + std::string(chosen->name);
}

/// `count / 10^decimals` without trailing zeros.
std::string decimal_text(std::uint64_t count, int decimals) {
  std::string digits = std::to_string(count);
  if (decimals == 0) {
    return digits;
  }
  const auto places = static_cast<std::size_t>(decimals);
  if (digits.size() <= places) {
    digits.insert(0, places + 1 - digits.size(), '0');
  }
  digits.insert(digits.size() - places, 1, '.');
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') {
    digits.pop_back();
  }
  return digits;
}

std::uint64_t magnitude_of(std::int64_t value) {
  return value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
}

}  // namespace

bool parse_quantity(std::string_view text, Bytes& value) {
  const auto number = cut(text);
  const Unit* unit = number ? find_unit(kByteUnits, number->unit) : nullptr;
  const auto whole = unit != nullptr ? as_whole(*number, *unit) : std::nullopt;
  if (!whole) {
    return false;
  }
  value = Bytes(*whole);
  return true;
}

bool parse_quantity(std::string_view text, Duration& value) {
  const auto number = cut(text);
  const Unit* unit = number ? find_unit(kDurationUnits, number->unit) : nullptr;
  const auto whole = unit != nullptr ? as_whole(*number, *unit) : std::nullopt;
  if (!whole) {
    return false;
  }
  value = Duration(*whole);
  return true;
}

bool parse_quantity(std::string_view text, BytesPerSec& value) {
  return parse_real(text, kBandwidthUnits, value);
}
bool parse_quantity(std::string_view text, Flops& value) {
  return parse_real(text, kFlopUnits, value);
}
bool parse_quantity(std::string_view text, FlopsPerSec& value) {
  return parse_real(text, kFlopRateUnits, value);
}
bool parse_quantity(std::string_view text, TokensPerSec& value) {
  return parse_real(text, kTokenRateUnits, value);
}
bool parse_quantity(std::string_view text, RequestsPerSec& value) {
  return parse_real(text, kRequestRateUnits, value);
}
bool parse_quantity(std::string_view text, Watts& value) {
  return parse_real(text, kPowerUnits, value);
}
bool parse_quantity(std::string_view text, Dollars& value) {
  return parse_money(text, "", kMoneyUnits, value);
}
bool parse_quantity(std::string_view text, DollarsPerHour& value) {
  return parse_money(text, "/h", kMoneyRateUnits, value);
}

std::string to_text(Bytes value) {
  const std::uint64_t count = magnitude_of(value.count());
  const std::string sign = value.count() < 0 ? "-" : "";
  std::string best = std::to_string(count) + " B";
  std::size_t best_digits = best.size() - 2;
  for (const Unit& unit : kByteUnits) {
    std::uint64_t size = static_cast<std::uint64_t>(unit.factor);
    for (int i = 0; i < unit.decimal; ++i) {
      size *= 10;
    }
    if (count != 0 && count % size == 0) {
      const std::string digits = std::to_string(count / size);
      if (digits.size() < best_digits) {
        best_digits = digits.size();
        best = digits + ' ' + std::string(unit.name);
      }
    }
  }
  return sign + best;
}

std::string to_text(Duration value) {
  const std::uint64_t count = magnitude_of(value.count());
  const std::string sign = value.count() < 0 ? "-" : "";
  if (count >= 1'000'000'000 || count == 0) {
    return sign + decimal_text(count, 9) + " s";
  }
  if (count >= 1'000'000) {
    return sign + decimal_text(count, 6) + " ms";
  }
  if (count >= 1'000) {
    return sign + decimal_text(count, 3) + " us";
  }
  return sign + std::to_string(count) + " ns";
}

std::string to_text(BytesPerSec value) {
  return real_text(value.count(), kBandwidthUnits, 5);
}
std::string to_text(Flops value) {
  return real_text(value.count(), kFlopUnits, 6);
}
std::string to_text(FlopsPerSec value) {
  return real_text(value.count(), kFlopRateUnits, 6);
}
std::string to_text(TokensPerSec value) {
  return shifted(value.count(), 0) + " tok/s";
}
std::string to_text(RequestsPerSec value) {
  return shifted(value.count(), 0) + " req/s";
}
std::string to_text(Watts value) {
  return shifted(value.count(), 0) + " W";
}
std::string to_text(Dollars value) {
  return '$' + shifted(value.count(), 0);
}
std::string to_text(DollarsPerHour value) {
  return '$' + shifted(value.count(), 0) + "/h";
}

std::string shortest(double value) {
  return shifted(value, 0);
}

namespace {

/// `number blank? (unit|unit...)` as a whole text.
std::string pattern_of(std::span<const Unit> units) {
  std::string pattern = "^" + std::string(kNumber) + " *(";
  for (const Unit& unit : units) {
    pattern += (&unit == units.data() ? "" : "|") + std::string(unit.name);
  }
  return pattern + ")$";
}

struct Form {
  std::string pattern;
  QuantityForm form;
  Form(std::string_view what, std::string_view example, std::string_view units, std::string p)
      : pattern(std::move(p)), form{what, example, units, pattern} {}
  Form(const Form&) = delete;
  Form& operator=(const Form&) = delete;
};

}  // namespace

const QuantityForm& quantity_form(Bytes) {
  static const Form form("a size", "80 GiB", "B, kB, MB, GB, TB, KiB, MiB, GiB or TiB",
                         pattern_of(kByteUnits));
  return form.form;
}
const QuantityForm& quantity_form(Duration) {
  static const Form form("a duration", "300 ms", "ns, us, ms, s, min or h",
                         pattern_of(kDurationUnits));
  return form.form;
}
const QuantityForm& quantity_form(BytesPerSec) {
  static const Form form("a bandwidth", "4.8 TB/s", "B/s, kB/s, MB/s, GB/s, TB/s, KiB/s ... TiB/s",
                         pattern_of(kBandwidthUnits));
  return form.form;
}
const QuantityForm& quantity_form(Flops) {
  static const Form form("an amount of work", "3 TFLOP", "FLOP, MFLOP, GFLOP, TFLOP or PFLOP",
                         pattern_of(kFlopUnits));
  return form.form;
}
const QuantityForm& quantity_form(FlopsPerSec) {
  static const Form form("a compute rate", "989 TFLOP/s", "GFLOP/s, TFLOP/s or PFLOP/s",
                         pattern_of(kFlopRateUnits));
  return form.form;
}
const QuantityForm& quantity_form(TokensPerSec) {
  static const Form form("a token rate", "500 tok/s", "tok/s or tok/min",
                         pattern_of(kTokenRateUnits));
  return form.form;
}
const QuantityForm& quantity_form(RequestsPerSec) {
  static const Form form("a rate", "12 req/s", "req/s, req/min, req/h, /s, /min or /h",
                         pattern_of(kRequestRateUnits));
  return form.form;
}
const QuantityForm& quantity_form(Watts) {
  static const Form form("a power", "700 W", "W, kW or MW", pattern_of(kPowerUnits));
  return form.form;
}
const QuantityForm& quantity_form(Dollars) {
  static const Form form(
      "an amount of money", "$12.50", "$ or USD",
      "^(\\$" + std::string(kNumber) + "|" + std::string(kNumber) + " *(USD|\\$))$");
  return form.form;
}
const QuantityForm& quantity_form(DollarsPerHour) {
  static const Form form(
      "a price", "$2.50/h", "$.../h or USD/h",
      "^(\\$" + std::string(kNumber) + "/h|" + std::string(kNumber) + " *(USD|\\$)/h)$");
  return form.form;
}

std::string expected_text(const QuantityForm& form) {
  return "expected " + std::string(form.what) + " such as \"" + std::string(form.example) + '"';
}

std::string quantity_hint(const QuantityForm& form, std::string_view text) {
  const auto number = cut(text);
  if (number && number->unit.empty()) {
    return "add a unit: " + std::string(form.units);
  }
  if (number) {
    return "the units are " + std::string(form.units);
  }
  return {};
}

}  // namespace dyn
