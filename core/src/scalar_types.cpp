#include <charconv>
#include <cstdio>
#include <limits>
#include <string>
#include <type_traits>

#include "dyn/core/describe_types.h"
#include "dyn/core/quantity_text.h"
#include "dyn/core/recipe.h"

namespace dyn {
namespace {

class BoolType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    if (const auto value = node.as_bool(problems)) {
      *static_cast<bool*>(target) = *value;
    }
  }
  void write(const void* source, Writer& writer) const override {
    writer.boolean(*static_cast<const bool*>(source));
  }
  void write_schema(Writer& writer) const override { writer.member("type", "boolean"); }
  std::string what() const override { return "true or false"; }
};

/// int, int64 and uint64.
template <class T>
class WholeType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    if constexpr (std::is_unsigned_v<T>) {
      if (const auto value = node.as_uint(problems)) {
        *static_cast<T*>(target) = *value;
      }
    } else if (const auto value = node.as_int(problems)) {
      if (*value < std::numeric_limits<T>::min() || *value > std::numeric_limits<T>::max()) {
        problems.add(node, "expected a whole number of at most " +
                               std::to_string(std::numeric_limits<T>::max()) + ", got " +
                               node.quote());
        return;
      }
      *static_cast<T*>(target) = static_cast<T>(*value);
    }
  }
  void write(const void* source, Writer& writer) const override {
    if constexpr (std::is_unsigned_v<T>) {
      writer.whole(*static_cast<const T*>(source));
    } else {
      writer.integer(*static_cast<const T*>(source));
    }
  }
  void write_schema(Writer& writer) const override {
    writer.member("type", "integer");
    if constexpr (std::is_unsigned_v<T>) {
      writer.key("minimum");
      writer.integer(0);
    }
  }
  std::string what() const override { return "a whole number"; }
};

class TokensType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    if (const auto value = node.as_int()) {
      *static_cast<Tokens*>(target) = Tokens(*value);
      return;
    }
    problems.add(node, "expected a number of tokens such as 4000, got " + node.quote(),
                 "tokens are counted: write digits only, without a unit");
  }
  void write(const void* source, Writer& writer) const override {
    writer.integer(static_cast<const Tokens*>(source)->count());
  }
  void write_schema(Writer& writer) const override { writer.member("type", "integer"); }
  std::string what() const override { return "a number of tokens"; }
};

class DoubleType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    if (const auto value = node.as_double(problems)) {
      *static_cast<double*>(target) = *value;
    }
  }
  void write(const void* source, Writer& writer) const override {
    writer.number(*static_cast<const double*>(source));
  }
  void write_schema(Writer& writer) const override { writer.member("type", "number"); }
  std::string what() const override { return "a number"; }
};

class TextType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    if (auto value = node.as_text(problems)) {
      *static_cast<std::string*>(target) = *std::move(value);
    }
  }
  void write(const void* source, Writer& writer) const override {
    writer.text(*static_cast<const std::string*>(source));
  }
  void write_schema(Writer& writer) const override { writer.member("type", "string"); }
  std::string what() const override { return "text"; }
};

class IntRangeType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    const auto value = parse(node);
    if (!value) {
      problems.add(node, "expected a number or a range such as 8 or 8-32, got " + node.quote(),
                   "N means 1-N");
    } else if (value->low < 1 || value->high < value->low) {
      problems.add(node,
                   "expected a range that begins at 1 or above and does not end before it, "
                   "got " +
                       node.quote());
    } else {
      *static_cast<IntRange*>(target) = *value;
    }
  }
  void write(const void* source, Writer& writer) const override {
    const auto& range = *static_cast<const IntRange*>(source);
    writer.text(std::to_string(range.low) + '-' + std::to_string(range.high));
  }
  void write_schema(Writer& writer) const override {
    writer.key("type");
    writer.begin_list();
    writer.text("integer");
    writer.text("string");
    writer.end_list();
    writer.member("pattern", "^[0-9]+ *- *[0-9]+$");
  }
  std::string what() const override { return "a number or a range"; }
  std::string example() const override { return "8-32"; }

 private:
  static std::optional<int> number(std::string_view text) {
    const std::size_t first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) {
      return std::nullopt;
    }
    text = text.substr(first, text.find_last_not_of(' ') - first + 1);
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    return whole && text[0] != '-' ? std::optional(value) : std::nullopt;
  }
  static std::optional<IntRange> parse(const Node& node) {
    const auto text = node.as_text();
    if (!text) {
      return std::nullopt;
    }
    const std::size_t dash = text->find('-');
    if (dash == std::string::npos) {
      const auto high = number(*text);
      return high ? std::optional(IntRange{1, *high}) : std::nullopt;
    }
    const auto low = number(std::string_view(*text).substr(0, dash));
    const auto high = number(std::string_view(*text).substr(dash + 1));
    return low && high ? std::optional(IntRange{*low, *high}) : std::nullopt;
  }
};

class HexType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    const std::string text = node.as_text().value_or("");
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.size() != 16 || error != std::errc{} || end != text.data() + text.size()) {
      problems.add(node, "expected 16 hexadecimal digits, got " + node.quote());
      return;
    }
    *static_cast<std::uint64_t*>(target) = value;
  }
  void write(const void* source, Writer& writer) const override {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx",
                  static_cast<unsigned long long>(*static_cast<const std::uint64_t*>(source)));
    writer.text(digits);
  }
  void write_schema(Writer& writer) const override {
    writer.member("type", "string");
    writer.member("pattern", "^[0-9a-f]{16}$");
  }
  std::string what() const override { return "16 hexadecimal digits"; }
};

/// Everything that has a unit.
template <class Q>
class QuantityType final : public Type {
 public:
  void read(const Node& node, void* target, Problems& problems) const override {
    const QuantityForm& form = quantity_form(Q{});
    const auto text = node.as_text();
    if (!text || !parse_quantity(*text, *static_cast<Q*>(target))) {
      problems.add(node, expected_text(form) + ", got " + node.quote(),
                   text ? quantity_hint(form, *text) : std::string());
    }
  }
  void write(const void* source, Writer& writer) const override {
    writer.text(to_text(*static_cast<const Q*>(source)));
  }
  void write_schema(Writer& writer) const override {
    const QuantityForm& form = quantity_form(Q{});
    writer.member("type", "string");
    writer.member("pattern", form.pattern);
    writer.key("examples");
    writer.begin_list();
    writer.text(form.example);
    writer.end_list();
  }
  std::string what() const override { return std::string(quantity_form(Q{}).what); }
  std::string example() const override { return std::string(quantity_form(Q{}).example); }
};

template <class T>
const Type& instance() {
  static const T type;
  return type;
}

}  // namespace

const Type& scalar_type(const bool*) {
  return instance<BoolType>();
}
const Type& scalar_type(const int*) {
  return instance<WholeType<int>>();
}
const Type& scalar_type(const std::int64_t*) {
  return instance<WholeType<std::int64_t>>();
}
const Type& scalar_type(const std::uint64_t*) {
  return instance<WholeType<std::uint64_t>>();
}
const Type& scalar_type(const double*) {
  return instance<DoubleType>();
}
const Type& scalar_type(const std::string*) {
  return instance<TextType>();
}
const Type& scalar_type(const IntRange*) {
  return instance<IntRangeType>();
}
const Type& scalar_type(const Tokens*) {
  return instance<TokensType>();
}
const Type& scalar_type(const Bytes*) {
  return instance<QuantityType<Bytes>>();
}
const Type& scalar_type(const Duration*) {
  return instance<QuantityType<Duration>>();
}
const Type& scalar_type(const BytesPerSec*) {
  return instance<QuantityType<BytesPerSec>>();
}
const Type& scalar_type(const Flops*) {
  return instance<QuantityType<Flops>>();
}
const Type& scalar_type(const FlopsPerSec*) {
  return instance<QuantityType<FlopsPerSec>>();
}
const Type& scalar_type(const TokensPerSec*) {
  return instance<QuantityType<TokensPerSec>>();
}
const Type& scalar_type(const RequestsPerSec*) {
  return instance<QuantityType<RequestsPerSec>>();
}
const Type& scalar_type(const Watts*) {
  return instance<QuantityType<Watts>>();
}
const Type& scalar_type(const Dollars*) {
  return instance<QuantityType<Dollars>>();
}
const Type& hex_type() {
  return instance<HexType>();
}
const Type& scalar_type(const DollarsPerHour*) {
  return instance<QuantityType<DollarsPerHour>>();
}

}  // namespace dyn
