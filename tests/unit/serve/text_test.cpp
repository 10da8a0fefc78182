#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "answer_text.h"
#include "dyn/serve/tokenizer.h"
#include "stop_matcher.h"
#include "synthetic_text.h"

using namespace dyn::serve;

namespace {

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    text += part;
  }
  return text;
}

std::string synthetic(std::uint64_t seed, std::int64_t tokens) {
  std::string text;
  for (std::int64_t i = 0; i < tokens; ++i) {
    text += SyntheticText(seed).piece(i);
  }
  return text;
}

}  // namespace

TEST_CASE("a byte is a token, and comes back") {
  const ByteTokenizer tokenizer;
  REQUIRE(rc::check([&](const std::string& text) {
    const auto tokens = tokenizer.encode(text);
    RC_ASSERT(tokens.size() == text.size());
    RC_ASSERT(tokenizer.decode(tokens) == text);
  }));
  const std::vector<std::uint32_t> odd{'a', 300, 'b'};
  CHECK(tokenizer.decode(odd) == "ab");
}

TEST_CASE("a longer chat begins with the shorter one") {
  std::vector<ChatMessage> chat{{"user", "one"}};
  const std::string before = render_chat(chat);
  chat.push_back({"assistant", "two"});
  chat.push_back({"user", "three"});
  CHECK(render_chat(chat).substr(0, before.size()) == before);
}

TEST_CASE("synthetic text is the same for the same seed and readable") {
  CHECK(synthetic(7, 40) == synthetic(7, 40));
  CHECK(synthetic(7, 40) != synthetic(8, 40));
  for (std::int64_t i = 0; i < 1000; ++i) {
    const std::string piece = SyntheticText(3).piece(i);
    REQUIRE_FALSE(piece.empty());
    for (const char c : piece) {
      REQUIRE(((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ' ' || c == '.'));
    }
  }
}

TEST_CASE("stop strings are found across pieces exactly where the whole text has them") {
  REQUIRE(rc::check([] {
    const auto letters = rc::gen::elementOf(std::string("ab."));
    const auto text = *rc::gen::container<std::string>(letters);
    const auto stops = *rc::gen::suchThat(
        rc::gen::resize(4, rc::gen::container<std::vector<std::string>>(rc::gen::resize(
                               4, rc::gen::nonEmpty(rc::gen::container<std::string>(letters))))),
        [](const auto& s) { return s.size() <= 4; });
    StopMatcher matcher(stops);
    std::string out;
    std::size_t completed_at = std::string::npos;
    for (std::size_t i = 0; i < text.size() && !matcher.stopped(); ++i) {
      out += matcher.push(text.substr(i, 1));
      completed_at = matcher.stopped() ? i : completed_at;
    }
    // What the whole text says: the first stop string to be complete ends it, and of those that
    // are complete at the same byte the one that begins first.
    std::size_t end = std::string::npos;
    for (std::size_t i = 0; i < text.size() && end == std::string::npos; ++i) {
      for (const std::string& stop : stops) {
        const std::size_t at = text.substr(0, i + 1).find(stop);
        end = std::min(end, at);
      }
    }
    if (end == std::string::npos) {
      RC_ASSERT(!matcher.stopped());
      RC_ASSERT(out + matcher.flush() == text);
    } else {
      RC_ASSERT(matcher.stopped());
      RC_ASSERT(out == text.substr(0, end));
      RC_ASSERT(matcher.push("more").empty());
    }
  }));
}

TEST_CASE("text that may begin a stop string is held back") {
  StopMatcher matcher({"STOP"});
  CHECK(matcher.push("a ST") == "a ");
  CHECK(matcher.push("A") == "STA");
  CHECK(matcher.push("STO") == "");
  CHECK(matcher.flush() == "STO");
}

TEST_CASE("an answer comes out whole however its tokens are batched") {
  const std::string whole = synthetic(11, 60);
  REQUIRE(rc::check([&](const std::vector<std::uint8_t>& steps) {
    AnswerText text(11, {}, 0);
    std::string out;
    std::int64_t produced = 0;
    for (const std::uint8_t step : steps) {
      produced = std::min<std::int64_t>(60, produced + step % 7);
      out += joined(text.advance(produced, false));
    }
    out += joined(text.advance(60, true));
    RC_ASSERT(out == whole);
    RC_ASSERT(text.tokens() == 60);
  }));
}

TEST_CASE("an answer ends before its stop string and counts the tokens up to it") {
  const std::string third = SyntheticText(5).piece(3);
  AnswerText text(5, {third}, 0);
  const std::string out = joined(text.advance(20, true));
  CHECK(text.stopped());
  const std::string whole = synthetic(5, 20);
  CHECK(out == whole.substr(0, whole.find(third)));
  CHECK(text.tokens() <= 4);
}

TEST_CASE("stop strings do not count before min_tokens") {
  const std::string first = SyntheticText(5).piece(0);
  AnswerText text(5, {"."}, 15);
  joined(text.advance(40, true));
  CHECK(text.stopped());
  CHECK(text.tokens() > 15);
  CHECK(text.tokens() == 24);
  AnswerText never(5, {first}, 1);
  joined(never.advance(1, true));
  CHECK_FALSE(never.stopped());
}
