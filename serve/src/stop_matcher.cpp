#include "stop_matcher.h"

#include <algorithm>
#include <utility>

namespace dyn::serve {
namespace {

/// How many bytes at the end of `text` may begin `stop`.
std::size_t partial_match(std::string_view text, std::string_view stop) {
  for (std::size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size) {
    if (text.substr(text.size() - size) == stop.substr(0, size)) {
      return size;
    }
  }
  return 0;
}

}  // namespace

std::string StopMatcher::push(std::string_view piece) {
  if (stopped_) {
    return {};
  }
  held_ += piece;
  std::size_t match = std::string::npos;
  std::size_t keep = 0;
  for (const std::string& stop : stops_) {
    match = std::min(match, held_.find(stop));
    keep = std::max(keep, partial_match(held_, stop));
  }
  if (match != std::string::npos) {
    stopped_ = true;
    held_.resize(match);
    return std::exchange(held_, {});
  }
  std::string ready = held_.substr(0, held_.size() - keep);
  held_.erase(0, ready.size());
  return ready;
}

std::string StopMatcher::flush() {
  return std::exchange(held_, {});
}

}  // namespace dyn::serve
