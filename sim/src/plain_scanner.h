#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dyn::sim {

/// Takes a line apart that is written as nearly all are; what it does not know it does not take.
/// The byte after the line can be read, and belongs to no number or space.
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
    std::uint64_t sum = 0;
    for (unsigned digit = 0; (digit = static_cast<unsigned>(*at_ - '0')) < 10; ++at_) {
      sum = sum * 10 + digit;
    }
    number = sum;
    const std::ptrdiff_t digits = at_ - begin;
    const bool more = *at_ == '.' || (*at_ | 0x20) == 'e';
    return digits > 0 && digits <= 18 && (digits == 1 || *begin != '0') && !more;
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
    std::uint64_t number = 0;
    do {
      if (!take_number(number)) {
        return false;
      }
      visit(number);
    } while (take(','));
    return take(']');
  }
  /// The field whose quoted `name` comes next; `Count` if none does.
  template <class Field, std::size_t Count>
  int take_key(const Field (&fields)[Count]) {
    if (take('"')) {
      for (std::size_t i = 0; i < Count; ++i) {
        const std::string_view name = fields[i].name;
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
  void skip_space() {
    while (*at_ == ' ' || *at_ == '\t' || *at_ == '\r') {
      ++at_;
    }
  }

  const char* at_;
  const char* const end_;
};

}  // namespace dyn::sim
