// Random flows over random links: the rates are those of a water-filling over the whole network
// that is done anew each time, they are max-min fair, and bytes are conserved.
#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "dyn/core/random.h"
#include "dyn/engine/flow_network.h"

namespace dyn::engine {
namespace {

/// The obvious one: O(n^2), everything each time, in the whole numbers that FlowNetwork has.
class NaiveNetwork {
 public:
  explicit NaiveNetwork(std::vector<std::int64_t> capacities)
      : capacities_(std::move(capacities)) {}

  std::vector<std::int64_t> capacities_;
  std::map<std::uint32_t, std::vector<std::uint32_t>> paths_;  ///< by flow

  std::map<std::uint32_t, std::int64_t> rates() const {
    std::map<std::uint32_t, std::int64_t> rates;
    std::vector<std::int64_t> left = capacities_;
    while (rates.size() < paths_.size()) {
      std::uint32_t tightest = 0;
      std::int64_t least = -1;
      for (std::uint32_t link = 0; link < left.size(); ++link) {
        const auto count = std::count_if(paths_.begin(), paths_.end(), [&](const auto& flow) {
          return !rates.contains(flow.first) && crosses(flow.second, link);
        });
        if (count > 0 && (least < 0 || left[link] / count < least)) {
          tightest = link;
          least = left[link] / count;
        }
      }
      for (const auto& [flow, path] : paths_) {
        if (!rates.contains(flow) && crosses(path, tightest)) {
          rates[flow] = least;
          for (const std::uint32_t link : path) {
            left[link] -= least;
          }
        }
      }
    }
    return rates;
  }
  static bool crosses(const std::vector<std::uint32_t>& path, std::uint32_t link) {
    return std::find(path.begin(), path.end(), link) != path.end();
  }
};

/// No flow can grow: each has a link that is full and where nobody has more than it, but for the
/// rounding of one byte/s a flow.
void check_max_min(const NaiveNetwork& naive, const std::map<std::uint32_t, std::int64_t>& rates) {
  for (const auto& [flow, path] : naive.paths_) {
    bool held = false;
    for (const std::uint32_t link : path) {
      std::int64_t sum = 0;
      std::int64_t most = 0;
      std::int64_t count = 0;
      for (const auto& [other, its] : naive.paths_) {
        if (NaiveNetwork::crosses(its, link)) {
          sum += rates.at(other);
          most = std::max(most, rates.at(other));
          ++count;
        }
      }
      RC_ASSERT(sum <= naive.capacities_[link]);
      held = held || (sum > naive.capacities_[link] - count && rates.at(flow) + count >= most);
    }
    RC_ASSERT(held);
  }
}

struct Scene {
  explicit Scene(std::uint64_t seed) : random(seed, "flows"), naive(draw_links()) {
    for (const std::int64_t capacity : naive.capacities_) {
      flows.add_link(BytesPerSec(static_cast<double>(capacity)));
    }
    carried.resize(naive.capacities_.size());
  }
  std::vector<std::int64_t> draw_links() {
    std::vector<std::int64_t> capacities(1 + random.below(12));
    for (std::int64_t& capacity : capacities) {
      capacity = static_cast<std::int64_t>(random.below(2000)) * (1 + random.below(3) * 1'000'003);
    }
    return capacities;
  }
  FlowId start() {
    std::vector<std::uint32_t> path;
    std::vector<LinkId> links;
    for (std::uint32_t link = 0; link < naive.capacities_.size(); ++link) {
      if (random.below(3) == 0) {
        path.push_back(link);
        links.push_back(LinkId(link));
      }
    }
    const Bytes bytes(static_cast<std::int64_t>(1 + random.below(1'000'000)));
    const FlowId flow = flows.start(links, bytes, Duration(random.below(2) * 500), now);
    sizes[flow.value()] = bytes.count();
    RC_ASSERT(!naive.paths_.contains(flow.value()));
    all_paths[flow.value()] = path;
    if (!path.empty()) {
      naive.paths_[flow.value()] = path;
    }
    return flow;
  }
  void gone(std::uint32_t flow) {
    naive.paths_.erase(flow);
    sizes.erase(flow);
  }
  void take(std::vector<FlowNetwork::Landed>& landed) {
    for (const auto& [flow, time] : landed) {
      RC_ASSERT(time <= now);
      for (const std::uint32_t link : all_paths.at(flow.value())) {
        carried[link] += sizes.at(flow.value());
      }
      gone(flow.value());
    }
    landed.clear();
  }

  RandomStream random;
  NaiveNetwork naive;
  FlowNetwork flows;
  SimTime now{};
  std::map<std::uint32_t, std::int64_t> sizes;
  std::map<std::uint32_t, std::vector<std::uint32_t>> all_paths;
  std::vector<std::int64_t> carried;
};

TEST_CASE("rates are those of a water-filling over the whole network, and max-min fair") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    Scene scene(seed);
    std::vector<FlowNetwork::Landed> landed;
    for (int i = 0; i < 60; ++i) {
      scene.now += Duration(static_cast<std::int64_t>(scene.random.below(300'000'000)));
      scene.flows.advance(scene.now, landed);
      scene.take(landed);
      const std::uint64_t what = scene.random.below(8);
      if (what == 0 && !scene.sizes.empty()) {
        auto victim = scene.sizes.begin();
        std::advance(victim, static_cast<std::ptrdiff_t>(scene.random.below(scene.sizes.size())));
        const std::uint32_t flow = victim->first;
        scene.flows.cancel(FlowId(flow), scene.now);
        scene.gone(flow);
      } else if (what == 1) {
        const std::uint64_t link = scene.random.below(scene.naive.capacities_.size());
        const auto capacity = static_cast<std::int64_t>(scene.random.below(3000));
        scene.naive.capacities_[link] = capacity;
        scene.flows.set_capacity(LinkId(static_cast<std::uint32_t>(link)),
                                 BytesPerSec(static_cast<double>(capacity)), scene.now);
      } else {
        scene.start();
      }
      // Flows that are through but have not landed no longer share.
      NaiveNetwork moving = scene.naive;
      std::erase_if(moving.paths_,
                    [&](const auto& flow) { return scene.flows.through(FlowId(flow.first)); });
      const auto rates = moving.rates();
      for (const auto& [flow, rate] : rates) {
        RC_ASSERT(scene.flows.rate(FlowId(flow)).count() == static_cast<double>(rate));
      }
      check_max_min(moving, rates);
    }
  }));
}

TEST_CASE("every byte of a flow crosses each of its links, however often rates change") {
  REQUIRE(rc::check([](std::uint64_t seed) {
    Scene scene(seed);
    std::vector<FlowNetwork::Landed> landed;
    for (int i = 0; i < 40; ++i) {
      scene.now += Duration(static_cast<std::int64_t>(scene.random.below(2'000'000'000)));
      scene.flows.advance(scene.now, landed);
      scene.take(landed);
      scene.start();
    }
    SimTime last = scene.now;
    while (const auto next = scene.flows.next_event()) {
      scene.now = *next;
      RC_ASSERT(scene.now >= last);
      last = scene.now;
      scene.flows.advance(scene.now, landed);
      scene.take(landed);
    }
    // Those that cross a link without capacity stay.
    RC_ASSERT(scene.flows.flows() == scene.sizes.size());
    for (std::uint32_t link = 0; link < scene.carried.size(); ++link) {
      RC_ASSERT(scene.flows.carried(LinkId(link)).count() == scene.carried[link]);
    }
  }));
}

/// When each flow, by its number, landed; the driver looks at the end of each gap, or often.
std::vector<std::pair<int, SimTime>> landings(std::uint64_t seed, bool often) {
  Scene scene(seed);
  RandomStream looks(seed, "looks");
  std::map<std::uint32_t, int> number;
  std::vector<std::pair<int, SimTime>> out;
  const auto look = [&](SimTime now) {
    std::vector<FlowNetwork::Landed> landed;
    scene.now = now;
    scene.flows.advance(now, landed);
    for (const auto& [flow, time] : landed) {
      out.emplace_back(number.at(flow.value()), time);
      scene.gone(flow.value());
    }
  };
  for (int i = 0; i < 30; ++i) {
    const SimTime next =
        scene.now + Duration(static_cast<std::int64_t>(scene.random.below(1'000'000'000)));
    while (often && scene.now < next) {
      look(std::min(next,
                    scene.now + Duration(1 + static_cast<std::int64_t>(looks.below(200'000'000)))));
    }
    look(next);
    number[scene.start().value()] = i;
  }
  return out;
}

TEST_CASE("when the driver looks makes no difference to when flows land") {
  REQUIRE(rc::check(
      [](std::uint64_t seed) { RC_ASSERT(landings(seed, true) == landings(seed, false)); }));
}

}  // namespace
}  // namespace dyn::engine
