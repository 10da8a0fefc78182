#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <map>
#include <tuple>

#include "dyn/sim/event_queue.h"

namespace dyn::sim {
namespace {

TEST_CASE("the event queue pops in the order of a sorted map, whatever is pushed when") {
  REQUIRE(
      rc::check([](const std::vector<std::tuple<std::uint8_t, std::uint8_t, std::uint8_t>>& ops) {
        EventQueue queue;
        std::map<std::tuple<std::int64_t, int, int, std::uint64_t>, std::uint32_t> reference;
        std::uint64_t sequence = 0;
        std::int64_t now = 0;
        const auto pop = [&] {
          const auto first = reference.begin();
          const Event event = queue.pop();
          RC_ASSERT(event.target == first->second);
          RC_ASSERT(event.at.time_since_epoch().count() == std::get<0>(first->first));
          RC_ASSERT(std::get<0>(first->first) >= now);  // time never goes back
          now = std::get<0>(first->first);
          reference.erase(first);
        };
        for (const auto& [delay, phase, lane] : ops) {
          if (phase % 4 == 3 && !reference.empty()) {
            pop();
            continue;
          }
          const std::int64_t time = now + delay % 16;
          const auto target = static_cast<std::uint32_t>(sequence);
          queue.push(SimTime(Duration(time)), static_cast<Phase>(phase % 3), EventKind::send,
                     target, 0, lane % 4);
          reference[{time, phase % 3, lane % 4, sequence++}] = target;
        }
        while (!reference.empty()) {
          pop();
        }
        RC_ASSERT(queue.empty());
        RC_ASSERT(queue.popped() == sequence);
      }));
}

}  // namespace
}  // namespace dyn::sim
