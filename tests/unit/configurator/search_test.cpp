#include "search.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "problems.h"

namespace dyn::configurator {
namespace {

using test::large_recipe;
using test::load_of;
using test::problem_of;

struct Setup {
  Recipe recipe = large_recipe();
  sim::Workload load = load_of(recipe);
  Problem problem = problem_of(recipe, load);
  Space space = enumerate(problem);
  Scorer scorer{problem, space};
  Search search{problem, space, scorer};
};

TEST_CASE("the first round has both modes and different layouts") {
  Setup s;
  const std::vector<std::size_t> chosen = s.search.next(4, Search::Variety::spread);
  REQUIRE(chosen.size() == 4);
  const auto apart = std::count_if(chosen.begin(), chosen.end(), [&](std::size_t i) {
    return s.space.topologies[i].disaggregated();
  });
  REQUIRE(apart == 2);
}

TEST_CASE("no topology is chosen twice, and all are in the end") {
  Setup s;
  s.recipe.hardware.count = {1, 2};
  s.space = enumerate(s.problem);
  Search search(s.problem, s.space, s.scorer);
  std::set<std::size_t> seen;
  for (int round = 0; round < 1000; ++round) {
    const auto chosen = search.next(7, Search::Variety::distinct);
    for (const std::size_t index : chosen) {
      REQUIRE(seen.insert(index).second);
    }
    if (chosen.empty()) {
      break;
    }
  }
  REQUIRE(seen.size() == s.space.topologies.size());
}

TEST_CASE("a replay that misses its targets turns the search to larger neighbours") {
  Setup s;
  s.recipe.search.disaggregated = false;
  s.space = enumerate(s.problem);
  Search search(s.problem, s.space, s.scorer);
  const std::size_t first = search.next(1, Search::Variety::any).front();
  AnalyticScore measured = search.score(first);
  measured.itl_mean *= 3;
  measured.itl_p99 *= 3;
  measured.ttft_mean *= 10;
  measured.ttft_p99 *= 10;
  search.learn(first, measured);
  const std::size_t second = search.next(1, Search::Variety::distinct).front();
  REQUIRE(s.space.gpus(s.space.topologies[second]) > s.space.gpus(s.space.topologies[first]));
}

TEST_CASE("what replays show also corrects layouts that were not replayed") {
  Setup s;
  s.recipe.search.disaggregated = false;
  s.space = enumerate(s.problem);
  Search search(s.problem, s.space, s.scorer);
  const auto layout_of = [&](std::size_t i) {
    return s.space.layout(s.space.shapes[s.space.topologies[i].first]);
  };
  // Every replay finds first tokens twenty times later than was said, whatever its layout.
  const std::vector<std::size_t> first = search.next(2, Search::Variety::spread);
  for (const std::size_t index : first) {
    AnalyticScore measured = search.score(index);
    measured.ttft_mean *= 20;
    measured.ttft_p99 *= 20;
    search.learn(index, measured);
  }
  const std::size_t next = search.next(1, Search::Variety::distinct).front();
  REQUIRE(search.score(next).ttft_p99 * 5 < 2.0);  // it leaves room for being off, too
  REQUIRE(layout_of(first[0]) != layout_of(first[1]));
}

TEST_CASE("demanding headroom leaves no one who barely meets the targets in front") {
  Setup s;
  const auto worst_of_first = [&](double share) {
    Search search(s.problem, s.space, s.scorer);
    search.demand_headroom(share);
    const std::size_t index = search.next(1, Search::Variety::any).front();
    return worst_ratio(search.score(index), s.recipe.slo.targets(),
                       s.problem.stats.summary.mean_output);
  };
  REQUIRE(worst_of_first(1.0) <= 1.0);
  REQUIRE(worst_of_first(0.4) <= 0.4);
  REQUIRE(worst_of_first(0.4) < worst_of_first(1.0));
}

Merit any_merit() {
  Merit merit;
  merit.worst = *rc::gen::inRange(0, 4) / 2.0;
  merit.feasible = *rc::gen::arbitrary<bool>();
  merit.objective = *rc::gen::inRange(-300, 300) / 100.0;
  merit.latency = *rc::gen::inRange(0, 3);
  merit.gpus = *rc::gen::inRange(1, 4);
  merit.index = static_cast<std::size_t>(*rc::gen::inRange(0, 1000));
  return merit;
}

TEST_CASE("the order of merit is a strict weak order that prefers what meets the targets") {
  REQUIRE(rc::check([] {
    const Merit a = any_merit();
    const Merit b = any_merit();
    const Merit c = any_merit();
    RC_ASSERT(!a.before(a));
    RC_ASSERT(!(a.before(b) && b.before(a)));
    RC_ASSERT(!(a.before(b) && b.before(c)) || a.before(c));
    RC_ASSERT(a.before(b) || b.before(a) || a.index == b.index);
    if (a.feasible && !b.feasible) {
      RC_ASSERT(a.before(b));
    }
    if (a.feasible == b.feasible && a.feasible &&
        a.objective > b.objective + 0.02 * std::abs(b.objective) + 0.02) {
      RC_ASSERT(a.before(b));
    }
  }));
}

}  // namespace
}  // namespace dyn::configurator
