#include "answer_text.h"

namespace dyn::serve {

std::vector<std::string> AnswerText::advance(std::int64_t produced, bool last) {
  std::vector<std::string> ready;
  while (tokens_ < produced && !stopped()) {
    std::string piece = text_.piece(tokens_++);
    std::string text = tokens_ <= min_tokens_ ? std::move(piece) : matcher_.push(piece);
    if (!text.empty()) {
      ready.push_back(std::move(text));
    }
  }
  if (last && !stopped()) {
    if (std::string rest = matcher_.flush(); !rest.empty()) {
      ready.push_back(std::move(rest));
    }
  }
  return ready;
}

}  // namespace dyn::serve
