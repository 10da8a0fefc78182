#include "session_start.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "dyn/core/error.h"

namespace dyn::sim {
namespace {

using namespace std::chrono_literals;

/// Two sessions, turn by turn in turn; the first has a sub-agent (2, 4) that the turn 6 waits for.
Workload two_sessions() {
  Workload workload;
  for (int i = 0; i < 8; ++i) {
    WorkloadRequest request;
    request.arrival = SimTime(i * 1s);
    request.input_tokens = 100 + i;
    request.output_tokens = 1;
    workload.requests.push_back(request);
  }
  workload.follow_ups = {{0, 2, 1s}, {0, 6, 2s}, {1, 3, 3s}, {2, 4, 4s},
                         {3, 5, 5s}, {4, 6, 6s}, {5, 7, 7s}};
  workload.sessions = {0, 1, 2, 1, 2, 1, 0, 1};
  return workload;
}

TEST_CASE("sessions begin halfway, at the time at which they began") {
  Workload workload = two_sessions();
  begin_under_way(0.5, 0.5, 1, workload);
  // Of 0, 2, 4, 6 the last two, of 1, 3, 5, 7 too.
  REQUIRE(workload.requests.size() == 4);
  CHECK(workload.requests[0].input_tokens == 104);
  CHECK(workload.requests[1].input_tokens == 106);
  CHECK(workload.requests[2].input_tokens == 105);
  CHECK(workload.requests[3].input_tokens == 107);
  CHECK(workload.requests[0].arrival == SimTime(0s));
  CHECK(workload.requests[2].arrival == SimTime(1s));
  REQUIRE(workload.follow_ups.size() == 2);
  CHECK(workload.follow_ups[0].after == 1);
  CHECK(workload.follow_ups[0].delay == 6s);
  CHECK(workload.follow_ups[1].before == 2);
  CHECK(workload.follow_ups[1].delay == 7s);
  CHECK(workload.sessions == std::vector<std::uint32_t>{0, 1, 2, 2});
}

TEST_CASE("what ran beside what is left out goes on after the first kept request") {
  Workload workload = two_sessions();
  workload.follow_ups.erase(workload.follow_ups.begin() + 5);  // 6 no longer waits for 4
  begin_under_way(0.25, 0.25, 1, workload);
  // 2, 4, 6 of the first session: 6 followed 0.
  REQUIRE(workload.requests.size() == 6);
  CHECK(workload.requests[2].input_tokens == 106);
  const FollowUp& orphan = workload.follow_ups[1];
  CHECK(orphan.before == 0);
  CHECK(orphan.after == 2);
  CHECK(orphan.delay == 0s);
}

TEST_CASE("each session keeps its last requests, in order, and begins with one of them") {
  rc::check([](std::uint64_t seed) {
    Workload workload;
    const auto count = *rc::gen::inRange<std::uint32_t>(1, 40);
    std::vector<std::uint32_t> session;
    for (std::uint32_t i = 0; i < count; ++i) {
      WorkloadRequest request;
      request.arrival = SimTime(std::chrono::seconds(i));
      request.input_tokens = i + 1;
      request.output_tokens = 1;
      workload.requests.push_back(request);
      const auto before = *rc::gen::inRange<std::uint32_t>(0, i + 1);
      session.push_back(before < i ? session[before] : i);
      if (before < i) {
        workload.follow_ups.push_back({before, i, Duration(i)});
      }
    }
    std::stable_sort(workload.follow_ups.begin(), workload.follow_ups.end(),
                     [](const FollowUp& a, const FollowUp& b) { return a.before < b.before; });
    workload.sessions = session;
    begin_under_way(0.25, 0.75, seed, workload);
    std::map<std::uint32_t, std::vector<std::uint32_t>> whole, kept;
    for (std::uint32_t i = 0; i < count; ++i) {
      whole[session[i]].push_back(i);
    }
    SimTime last{};
    std::set<std::uint32_t> following;
    for (const FollowUp& follow : workload.follow_ups) {
      RC_ASSERT(follow.before < follow.after);
      following.insert(follow.after);
    }
    std::size_t openings = 0;
    for (std::uint32_t i = 0; i < workload.requests.size(); ++i) {
      const auto was = static_cast<std::uint32_t>(workload.requests[i].input_tokens - 1);
      kept[session[was]].push_back(was);
      if (!following.contains(i)) {
        ++openings;
        RC_ASSERT(workload.requests[i].arrival >= last);
        last = workload.requests[i].arrival;
        RC_ASSERT(last == SimTime(std::chrono::seconds(whole[session[was]].front())));
      }
    }
    RC_ASSERT(openings == whole.size());
    for (const auto& [number, requests] : whole) {
      const std::vector<std::uint32_t>& rest = kept[number];
      RC_ASSERT(!rest.empty());
      RC_ASSERT(std::equal(rest.rbegin(), rest.rend(), requests.rbegin()));
      const auto left = static_cast<double>(requests.size() - rest.size());
      const auto n = static_cast<double>(requests.size());
      RC_ASSERT(left <= 0.75 * n && left >= std::min(n - 1, 0.25 * n - 1));
    }
  });
}

}  // namespace
}  // namespace dyn::sim
