#pragma once

#include <string>
#include <string_view>

#include "dyn/core/quantity.h"

namespace dyn {

/// What the text form of a dimension is, for messages and reference pages.
struct QuantityForm {
  std::string_view what;     ///< with its article, such as "a duration"
  std::string_view example;  ///< such as "300 ms"
  std::string_view units;    ///< those that are read, for people
  std::string_view pattern;  ///< regular expression of a whole text (ECMA 262)
};

// Text forms always carry their unit. Decimal (kB, MB, GB) and binary (KiB, MiB, GiB) prefixes of
// bytes are distinct. A blank between number and unit is optional when read and always written,
// but for money. Reading what was written gives the same value, to the last bit.

/// Reads a text into `value`; false, with `value` untouched, if the text has another form, lacks
/// its unit or is beyond what the type holds.
bool parse_quantity(std::string_view text, Bytes& value);           // 80 GiB, 141 GB
bool parse_quantity(std::string_view text, Duration& value);        // 2s, 30 ms, 1.5 min
bool parse_quantity(std::string_view text, BytesPerSec& value);     // 4.8 TB/s
bool parse_quantity(std::string_view text, Flops& value);           // 3 TFLOP
bool parse_quantity(std::string_view text, FlopsPerSec& value);     // 989 TFLOP/s
bool parse_quantity(std::string_view text, TokensPerSec& value);    // 500 tok/s
bool parse_quantity(std::string_view text, RequestsPerSec& value);  // 8/s, 8 req/s, 8 req/min
bool parse_quantity(std::string_view text, Watts& value);           // 700 W
bool parse_quantity(std::string_view text, Dollars& value);         // $12.50
bool parse_quantity(std::string_view text, DollarsPerHour& value);  // $2.50/h

std::string to_text(Bytes value);
std::string to_text(Duration value);
std::string to_text(BytesPerSec value);
std::string to_text(Flops value);
std::string to_text(FlopsPerSec value);
std::string to_text(TokensPerSec value);
std::string to_text(RequestsPerSec value);
std::string to_text(Watts value);
std::string to_text(Dollars value);
std::string to_text(DollarsPerHour value);

const QuantityForm& quantity_form(Bytes);
const QuantityForm& quantity_form(Duration);
const QuantityForm& quantity_form(BytesPerSec);
const QuantityForm& quantity_form(Flops);
const QuantityForm& quantity_form(FlopsPerSec);
const QuantityForm& quantity_form(TokensPerSec);
const QuantityForm& quantity_form(RequestsPerSec);
const QuantityForm& quantity_form(Watts);
const QuantityForm& quantity_form(Dollars);
const QuantityForm& quantity_form(DollarsPerHour);

/// What is wrong with a text that parse_quantity refuses: `expected a duration such as "300 ms"`.
std::string expected_text(const QuantityForm& form);
/// What to do about it: add a unit, or use one of the known ones.
std::string quantity_hint(const QuantityForm& form, std::string_view text);

/// The shortest decimal that reads back as the same number.
std::string shortest(double value);

}  // namespace dyn
