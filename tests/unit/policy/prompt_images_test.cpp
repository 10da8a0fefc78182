#include "dyn/policy/prompt_images.h"

#include <catch2/catch.hpp>

namespace {

using dyn::policy::PromptImages;

TEST_CASE("images within a chunk are counted as one by one") {
  for (std::int64_t start : {0, 1, 7}) {
    for (std::int32_t count : {0, 1, 3}) {
      for (std::int64_t tokens : {1, 2, 5}) {
        const PromptImages images{start, count, {4 * tokens, tokens}};
        for (std::int64_t from = 0; from < 26; ++from) {
          for (std::int64_t to = from; to < 26; ++to) {
            std::int64_t within = 0, begin = 0;
            for (std::int32_t i = 0; i < count; ++i) {
              const std::int64_t first = start + i * tokens;
              within += first < to && first + tokens > from && from < to ? 1 : 0;
              begin += first >= from && first < to ? 1 : 0;
            }
            REQUIRE(images.within(from, to) == within);
            REQUIRE(images.begin_within(from, to) == begin);
          }
        }
      }
    }
  }
}

}  // namespace
