#include "synthetic_text.h"

#include <array>
#include <cctype>
#include <string_view>

namespace dyn::serve {
namespace {

constexpr std::array<std::string_view, 128> kWords{
    "the",    "of",    "and",   "to",     "in",     "is",    "that",  "it",    "was",   "for",
    "on",     "are",   "as",    "with",   "they",   "at",    "be",    "this",  "have",  "from",
    "or",     "one",   "had",   "by",     "word",   "but",   "not",   "what",  "all",   "were",
    "we",     "when",  "your",  "can",    "said",   "there", "use",   "an",    "each",  "which",
    "she",    "do",    "how",   "their",  "if",     "will",  "up",    "other", "about", "out",
    "many",   "then",  "them",  "these",  "so",     "some",  "her",   "would", "make",  "like",
    "him",    "into",  "time",  "has",    "look",   "two",   "more",  "write", "go",    "see",
    "number", "no",    "way",   "could",  "people", "my",    "than",  "first", "water", "been",
    "call",   "who",   "its",   "now",    "find",   "long",  "down",  "day",   "did",   "get",
    "come",   "made",  "may",   "part",   "over",   "new",   "sound", "take",  "only",  "little",
    "work",   "know",  "place", "year",   "live",   "me",    "back",  "give",  "most",  "very",
    "after",  "thing", "our",   "just",   "name",   "good",  "man",   "think", "say",   "great",
    "where",  "help",  "much",  "before", "line",   "right", "too",   "old"};

/// SplitMix64, from Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

constexpr std::int64_t kSentence = 12;  ///< tokens of a sentence, its full stop included

}  // namespace

std::string SyntheticText::piece(std::int64_t index) const {
  const std::int64_t place = index % kSentence;
  if (place == kSentence - 1) {
    return ".";
  }
  std::string word(kWords[mix(seed_ ^ mix(static_cast<std::uint64_t>(index))) % kWords.size()]);
  if (place == 0) {
    word[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[0])));
  }
  return index == 0 ? word : ' ' + word;
}

}  // namespace dyn::serve
