#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dyn::serve {

/// Reads along in an answer that is relayed untouched: how many tokens it has carried, and what
/// its `usage` says. Follows server-sent events in pieces of any size, or one whole JSON document.
class SseScanner {
 public:
  explicit SseScanner(bool stream) : stream_(stream) {}

  void push(std::string_view bytes);
  /// The answer is complete: reads a document that is no stream.
  void finish();

  std::int64_t tokens() const { return tokens_; }  ///< completion tokens so far
  std::int64_t cached_tokens() const { return cached_tokens_; }
  std::int64_t prompt_tokens() const { return prompt_tokens_; }  ///< 0 until usage says
  bool done() const { return done_; }                            ///< the stream's [DONE] was seen
  bool mid_event() const { return !line_.empty() || in_event_; }

 private:
  void line(std::string_view text);
  void document(std::string_view json, bool event);

  bool stream_;
  bool done_ = false;
  bool in_event_ = false;
  bool overlong_ = false;  ///< the current line is beyond what is worth keeping
  std::string line_;
  std::int64_t tokens_ = 0;
  std::int64_t cached_tokens_ = 0;
  std::int64_t prompt_tokens_ = 0;
};

}  // namespace dyn::serve
