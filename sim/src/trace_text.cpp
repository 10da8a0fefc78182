#include "trace_text.h"

#include <algorithm>
#include <utility>

namespace dyn::sim {
namespace {

constexpr std::size_t kMaxErrors = 20;

}  // namespace

TraceText::TraceText(std::string name, std::string_view text) {
  open(std::move(name), text);
}

void TraceText::open(std::string name, std::string_view text) {
  name_ = std::move(name);
  text_ = text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text;
  at_ = text_.data();
}

std::optional<std::string_view> TraceText::next_line() {
  const char* const end = text_.data() + text_.size();
  while (at_ < end && !full()) {
    const char* const stop = std::find(at_, end, '\n');
    std::string_view line(at_, static_cast<std::size_t>(stop - at_));
    at_ = stop == end ? end : stop + 1;
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      return line;
    }
  }
  return std::nullopt;
}

void TraceText::complain(const char* at, std::string path, std::string message, std::string hint) {
  Where where{name_, 0, 0, std::move(path)};
  const char* const begin = text_.data();
  if (at != nullptr && at >= begin && at <= begin + text_.size()) {
    const std::string_view before(begin, static_cast<std::size_t>(at - begin));
    where.line = 1 + static_cast<int>(std::count(before.begin(), before.end(), '\n'));
    const std::size_t line_break = before.rfind('\n');
    where.column =
        1 + static_cast<int>(line_break == std::string_view::npos ? before.size()
                                                                  : before.size() - line_break - 1);
  }
  errors_.push_back({std::move(message), std::move(where), std::move(hint), {}});
}

bool TraceText::full() const {
  return errors_.size() >= kMaxErrors;
}

void TraceText::throw_if_any() {
  if (!errors_.empty()) {
    errors_.resize(std::min(errors_.size(), kMaxErrors));
    throw Error(ErrorKind::bad_input, std::move(errors_));
  }
}

}  // namespace dyn::sim
