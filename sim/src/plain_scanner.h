#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace dyn::sim {

/// Takes a line apart that is written as nearly all are; what it does not know it does not take.
/// Eight bytes after the line can be read; the first of them belongs to no number or space.
class PlainScanner {
 public:
  explicit PlainScanner(std::string_view line)
      : at_(line.data()), end_(line.data() + line.size()) {}

  bool take(char c) {
    skip_space();
    const bool there = *at_ == c;
    at_ += there ? 1 : 0;
    return there;
  }
  bool at_end() {
    skip_space();
    return at_ == end_;
  }
  /// A whole number >= 0 of at most 18 digits.
  bool take_number(std::uint64_t& number) {
    skip_space();
    const char* const begin = at_;
    at_ = number_at(at_, number);
    return is_number(begin, at_);
  }
  /// A list of such numbers.
  template <class Visit>
  bool take_numbers(Visit visit) {
    if (!take('[')) {
      return false;
    }
    if (take(']')) {
      return true;
    }
    const char* at = at_;
    do {
      at = past_space(at);
      const char* const begin = at;
      std::uint64_t number = 0;
      at = number_at(at, number);
      if (!is_number(begin, at)) {
        return false;
      }
      visit(number);
      at = past_space(at);
    } while (*at++ == ',');
    at_ = at - 1;
    return take(']');
  }
  /// Which of the names comes next, quoted; `Count` if none does.
  template <std::size_t Count>
  int take_key(const char* const (&names)[Count]) {
    if (take('"')) {
      for (std::size_t i = 0; i < Count; ++i) {
        const std::string_view name = names[i];
        if (static_cast<std::size_t>(end_ - at_) > name.size() && at_[name.size()] == '"' &&
            std::string_view(at_, name.size()) == name) {
          at_ += name.size() + 1;
          return static_cast<int>(i);
        }
      }
    }
    return Count;
  }

 private:
  /// Reads digits, and says where they end.
  static const char* number_at(const char* at, std::uint64_t& number) {
    std::uint64_t text = 0;
    std::memcpy(&text, at, sizeof text);
    text ^= 0x3030303030303030U;
    // A byte that is no digit has its highest bit here; the lowest of them is right, which ends
    // the number.
    const std::uint64_t others = ((text + 0x7676767676767676U) | text) & 0x8080808080808080U;
    if (others != 0) {
      const int digits = std::countr_zero(others) / 8;
      number = digits > 0 ? value_of(text << (64 - 8 * digits)) : 0;
      return at + digits;
    }
    number = value_of(text);
    at += 8;
    for (unsigned digit = 0; (digit = static_cast<unsigned>(*at - '0')) < 10; ++at) {
      number = number * 10 + digit;
    }
    return at;
  }
  /// Whether what lies there is one that JSON knows, with nothing behind it that belongs to it.
  static bool is_number(const char* begin, const char* end) {
    const std::ptrdiff_t digits = end - begin;
    const bool more = *end == '.' || (*end | 0x20) == 'e';
    return digits > 0 && digits <= 18 && (digits == 1 || *begin != '0') && !more;
  }
  /// Of eight digits, the first in the lowest byte: pairs, fours, and the whole at a time.
  static std::uint64_t value_of(std::uint64_t digits) {
    constexpr std::uint64_t kPairs = 0x000000FF000000FFU;
    digits = digits * 10 + (digits >> 8);
    return ((digits & kPairs) * 0x000F424000000064U +
            ((digits >> 16) & kPairs) * 0x0000271000000001U) >>
           32;
  }
  static const char* past_space(const char* at) {
    while (*at == ' ' || *at == '\t' || *at == '\r') {
      ++at;
    }
    return at;
  }
  void skip_space() { at_ = past_space(at_); }

  const char* at_;
  const char* const end_;
};

}  // namespace dyn::sim
