#include "dyn/policy/prompt_images.h"

#include <catch2/catch.hpp>

namespace {

using dyn::policy::PromptImage;

TEST_CASE("an image is within a chunk that has one of its tokens, and begins in one of them") {
  for (std::int64_t start : {0, 1, 7}) {
    for (std::int64_t tokens : {1, 2, 5}) {
      const PromptImage image{1, start, {4 * tokens, tokens}};
      for (std::int64_t from = 0; from < 16; ++from) {
        for (std::int64_t to = from; to < 16; ++to) {
          bool within = false;
          for (std::int64_t token = from; token < to; ++token) {
            within = within || (token >= start && token < start + tokens);
          }
          REQUIRE(image.within(from, to) == within);
          REQUIRE(image.begins_within(from, to) == (start >= from && start < to));
        }
      }
    }
  }
}

}  // namespace
