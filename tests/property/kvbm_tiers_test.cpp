#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <set>

#include "dyn/kvbm/tier_index.h"
#include "dyn/kvbm/tiers.h"

namespace {

using namespace dyn;
using kvbm::BlockHash;
using kvbm::TierLevel;
using kvbm::Tiers;
using kvbm::TierStore;

/// One engine: its tiers, what its device holds, and what it waits for.
struct Owner {
  std::unique_ptr<Tiers> tiers;
  std::set<BlockHash> device;
  std::vector<kvbm::TierTransfer> flying;
  std::set<std::uint32_t> loading;

  void collect() {
    flying.insert(flying.end(), tiers->started().begin(), tiers->started().end());
    tiers->started().clear();
  }
};

std::shared_ptr<TierStore> random_store() {
  return std::make_shared<TierStore>(
      *rc::gen::inRange<std::uint64_t>(1, 30),
      *rc::gen::element(EvictionKind::lru, EvictionKind::s3_fifo, EvictionKind::tiny_lfu,
                        EvictionKind::cost_aware, EvictionKind::belady));
}

TierLevel random_level(std::shared_ptr<TierStore> store) {
  return {std::move(store),
          *rc::gen::element(TierWrite::through, TierWrite::back),
          *rc::gen::inRange<std::uint32_t>(1, 3),
          BytesPerSec(1e9),
          Duration(1000),
          false};
}

std::vector<BlockHash> random_prompt() {
  const auto chain = *rc::gen::inRange<std::uint64_t>(0, 6);
  std::vector<BlockHash> prompt(*rc::gen::inRange<std::size_t>(1, 9));
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = BlockHash{(i < 3 ? chain % 2 : chain) * 100 + i};
  }
  return prompt;
}

/// A request comes: what the device has is used, what a tier has is loaded or computed.
void serve(Owner& owner, std::uint32_t number) {
  const std::vector<BlockHash> hashes = random_prompt();
  const kvbm::PromptUse prompt{kvbm::PromptBlocks(hashes), {}};
  std::uint32_t cached = 0;
  while (cached < hashes.size() && owner.device.contains(hashes[cached])) {
    ++cached;
  }
  std::vector<Tiers::Run> runs;
  owner.tiers->lookup(prompt.blocks, cached, prompt.blocks.size(), runs);
  std::uint32_t at = cached;
  for (const Tiers::Run& run : runs) {
    RC_ASSERT(run.begin == at && run.end > run.begin);
    at = run.end;
  }
  const int what = *rc::gen::inRange(0, 3);
  if (!runs.empty() && what > 0 && owner.tiers->may_load(runs)) {
    const bool begun = what == 1 ? owner.tiers->load(RequestId(number), prompt, runs)
                                 : owner.tiers->prefetch(RequestId(number), prompt, runs);
    RC_ASSERT(begun || what == 2);
    if (begun) {
      owner.loading.insert(number);
    }
    return;
  }
  owner.device.insert(hashes.begin(), hashes.end());
  owner.tiers->stored(prompt, cached, prompt.blocks.size());
  owner.tiers->used(prompt, cached);
}

void step(Owner& owner, std::uint32_t number) {
  const int what = *rc::gen::inRange(0, 10);
  if (what < 4) {
    serve(owner, number);
  } else if (what < 8 && !owner.flying.empty()) {
    const auto which = *rc::gen::inRange<std::size_t>(0, owner.flying.size());
    const Tiers::Finished finished = owner.tiers->finish(owner.flying[which].id);
    if (finished.loaded) {
      RC_ASSERT(owner.loading.erase(finished.loaded->value()) == 1);
    }
    owner.flying.erase(owner.flying.begin() + static_cast<std::ptrdiff_t>(which));
  } else if (what == 8 && !owner.loading.empty()) {
    owner.tiers->give_up(RequestId(*owner.loading.begin()));
    owner.loading.erase(owner.loading.begin());
  } else if (!owner.device.empty()) {
    std::vector<BlockHash> gone;
    for (auto left = *rc::gen::inRange(1, 5); left > 0 && !owner.device.empty(); --left) {
      const auto which = *rc::gen::inRange<std::size_t>(0, owner.device.size());
      const auto block = std::next(owner.device.begin(), static_cast<std::ptrdiff_t>(which));
      gone.push_back(*block);
      owner.device.erase(block);
    }
    owner.tiers->evicted(gone);
  }
  owner.collect();
  owner.tiers->check_invariants();
}

using Stores = std::vector<std::shared_ptr<TierStore>>;

/// What a router is told agrees with what the stores of each owner have, the last of which both
/// share: for any prompt, and wherever the device's prefix of it ends.
void check_told(kvbm::TierIndex& index, Owner (&owners)[2], const Stores (&stores)[2]) {
  std::vector<kvbm::KvEvent> events;
  for (std::uint32_t worker = 0; worker < 2; ++worker) {
    owners[worker].tiers->take_events(events);
    stores[worker].back()->take_events(events);
    for (const kvbm::KvEvent& event : events) {
      index.apply(WorkerId(worker), event);
    }
    events.clear();
  }
  index.check_invariants();
  const std::vector<BlockHash> hashes = random_prompt();
  const kvbm::PromptBlocks prompt(hashes);
  const std::vector<std::uint32_t> device{*rc::gen::inRange(0U, prompt.size() + 1),
                                          *rc::gen::inRange(0U, prompt.size() + 1)};
  std::vector<std::uint32_t> found(2 * index.tiers(), 99);
  index.continue_runs(prompt, device, found);
  for (std::uint32_t worker = 0; worker < 2; ++worker) {
    std::uint32_t at = device[worker];
    for (std::size_t tier = 0; tier < index.tiers(); ++tier) {
      const std::uint32_t begin = at;
      while (at < prompt.size() && stores[worker][tier]->readable(hashes[at]) != kvbm::kNoEntry) {
        ++at;
      }
      RC_ASSERT(found[tier * 2 + worker] == at - begin);
    }
    std::vector<Tiers::Run> loadable;
    owners[worker].tiers->lookup(prompt, device[worker], prompt.size(), loadable);
    RC_ASSERT(at <= (loadable.empty() ? device[worker] : loadable.back().end));
  }
}

TEST_CASE("whatever happens in tiers, what they tell is what can be read there") {
  REQUIRE(rc::check([] {
    const auto deep = *rc::gen::arbitrary<bool>();
    const auto shared = random_store();
    Owner owners[2];
    Stores stores[2];
    for (int i = 0; i < 2; ++i) {
      kvbm::TiersOptions options;
      options.block_bytes = Bytes(1000);
      if (deep) {
        stores[i].push_back(random_store());
        stores[i].back()->record_events(1);
        options.levels.push_back(random_level(stores[i].back()));
        options.levels.back().tells = true;
      }
      stores[i].push_back(shared);
      options.levels.push_back(random_level(shared));
      owners[i].tiers = std::make_unique<Tiers>(options);
    }
    shared->record_events(deep ? 2 : 1);
    kvbm::TierIndex index(2, deep ? std::vector<bool>{false, true} : std::vector<bool>{true}, 1000);
    const auto operations = *rc::gen::inRange<std::uint32_t>(0, 100);
    for (std::uint32_t i = 0; i < operations; ++i) {
      step(owners[*rc::gen::inRange(0, 2)], i);
      check_told(index, owners, stores);
    }
  }));
}

TEST_CASE("whatever happens to transfers, no tier loses or keeps a block") {
  REQUIRE(rc::check([] {
    const auto shared = random_store();
    const auto deep = *rc::gen::arbitrary<bool>();
    std::vector<std::shared_ptr<TierStore>> stores{shared};
    Owner owners[2];
    for (Owner& owner : owners) {
      kvbm::TiersOptions options;
      options.max_transfers = *rc::gen::inRange<std::uint32_t>(1, 5);
      options.block_bytes = Bytes(1000);
      if (deep) {
        stores.push_back(random_store());
        options.levels.push_back(random_level(stores.back()));
      }
      options.levels.push_back(random_level(shared));
      owner.tiers = std::make_unique<Tiers>(options);
    }
    const auto operations = *rc::gen::inRange<std::uint32_t>(0, 150);
    for (std::uint32_t i = 0; i < operations; ++i) {
      step(owners[*rc::gen::inRange(0, 2)], i);
    }
    // One finishes, the other crashes.
    for (std::size_t i = 0; i < owners[0].flying.size(); ++i) {
      owners[0].tiers->finish(owners[0].flying[i].id);
      owners[0].collect();
    }
    RC_ASSERT(owners[0].tiers->in_flight() == 0);
    owners[1].tiers.reset();
    for (const auto& store : stores) {
      store->check_invariants();
      RC_ASSERT(store->pins() == 0);
    }
  }));
}

}  // namespace
