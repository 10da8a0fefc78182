#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <set>
#include <vector>

#include "dyn/core/recipe.h"
#include "dyn/perf/step_timer.h"
#include "dyn/policy/batch.h"

namespace dyn::test {

/// A block pool with one entry a block, written for clarity.
class NaivePool {
 public:
  explicit NaivePool(int blocks) : references_(blocks, 0), hash_(blocks), named_(blocks, false) {
    for (int i = 0; i < blocks; ++i) {
      free_.push_back(i);
    }
  }

  int free() const { return static_cast<int>(free_.size()); }
  int cached() const {
    return static_cast<int>(
        std::count_if(free_.begin(), free_.end(), [&](int block) { return named_[block]; }));
  }
  int used() const { return static_cast<int>(references_.size()) - free(); }

  /// Blocks of the longest cached prefix of `hashes`.
  std::vector<int> match(const std::vector<kvbm::BlockHash>& hashes, std::int64_t limit) const {
    std::vector<int> result;
    for (const kvbm::BlockHash hash : hashes) {
      const auto copies = copies_.find(hash);
      if (static_cast<std::int64_t>(result.size()) == limit || copies == copies_.end()) {
        break;
      }
      result.push_back(copies->second.front());
    }
    return result;
  }
  int idle(const std::vector<int>& blocks) const {
    return static_cast<int>(
        std::count_if(blocks.begin(), blocks.end(), [&](int b) { return references_[b] == 0; }));
  }
  void acquire(const std::vector<int>& blocks) {
    for (const int block : blocks) {
      if (references_[block]++ == 0) {
        free_.remove(block);
      }
    }
  }
  int take() {
    const int block = free_.front();
    free_.pop_front();
    if (named_[block]) {
      named_[block] = false;
      auto& copies = copies_[hash_[block]];
      copies.erase(std::find(copies.begin(), copies.end(), block));
      if (copies.empty()) {
        copies_.erase(hash_[block]);
        events.push_back({kvbm::KvEvent::Kind::removed, hash_[block]});
      }
    }
    references_[block] = 1;
    return block;
  }
  void name(int block, kvbm::BlockHash hash) {
    if (named_[block]) {
      return;
    }
    named_[block] = true;
    hash_[block] = hash;
    copies_[hash].push_back(block);
    if (copies_[hash].size() == 1) {
      events.push_back({kvbm::KvEvent::Kind::stored, hash});
    }
  }
  /// Releases in reverse order.
  void release(const std::vector<int>& blocks) {
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
      if (--references_[*block] == 0) {
        free_.push_back(*block);
      }
    }
  }

  std::vector<kvbm::KvEvent> events;

 private:
  std::vector<int> references_;
  std::vector<kvbm::BlockHash> hash_;
  std::vector<bool> named_;
  std::list<int> free_;
  std::map<kvbm::BlockHash, std::vector<int>> copies_;
};

/// Continuous batching as vLLM's V1 scheduler does it, one request and one block at a time, for
/// the aggregated role.
class NaiveScheduler {
 public:
  explicit NaiveScheduler(const EngineConfig& config)
      : config_(config), pool(static_cast<int>(*config.kv_blocks)) {}

  void submit(const policy::EngineRequest& spec, const std::vector<kvbm::BlockHash>& hashes) {
    enqueue({spec, hashes, {}, 0, 0, false, next_arrival_++}, false);
  }
  void cancel(RequestId id) {
    const auto is = [&](const Request& r) { return r.spec.id == id; };
    waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(), is), waiting_.end());
    leaving_.push_back(id);
  }
  std::size_t size() const { return running_.size() + waiting_.size(); }

  perf::StepBatch begin(policy::Outcome& outcome) {
    budget_ = config_.max_num_batched_tokens;
    batch_ = {};
    bool preempted = false;
    while (needed() > pool.free()) {
      const auto victim = least_urgent();
      Request taken = *victim;
      running_.erase(victim);
      keep(taken);
      pool.release(taken.blocks);
      taken.blocks.clear();
      taken.computed = 0;
      taken.decoding = false;
      outcome.preempted.push_back(taken.spec.id);
      enqueue(taken, true);
      preempted = true;
    }
    for (Request& r : running_) {
      place(r, std::min(r.known() - r.computed, budget_));
    }
    while (!preempted && !waiting_.empty() && budget_ > 0 &&
           static_cast<std::int64_t>(running_.size()) < limit() && admit(outcome)) {
    }
    return batch_;
  }

  void end(SimTime now, policy::Outcome& outcome) {
    std::vector<Request> left;
    for (Request& r : running_) {
      const auto leaving = std::find(leaving_.begin(), leaving_.end(), r.spec.id);
      bool stays = leaving == leaving_.end();
      if (stays && r.computed == r.known()) {
        const std::int64_t more = r.decoding ? gain() : 1;
        for (std::int64_t j = 0; j < more && stays; ++j) {
          ++r.produced;
          stays = r.produced < r.spec.max_output_tokens;
          outcome.tokens.push_back({r.spec.id, now, r.produced, !stays});
        }
        r.computed = r.known() - 1;
        r.decoding = true;
      }
      if (stays) {
        left.push_back(r);
      } else {
        gone_.push_back(r);
      }
    }
    // The cancelled are taken out first, in the order in which they were.
    const auto rank = [&](const Request& r) {
      return std::find(leaving_.begin(), leaving_.end(), r.spec.id) - leaving_.begin();
    };
    std::stable_sort(gone_.begin(), gone_.end(),
                     [&](const Request& x, const Request& y) { return rank(x) < rank(y); });
    for (const Request& r : gone_) {
      pool.release(r.blocks);
    }
    gone_.clear();
    leaving_.clear();
    steps_ += batch_.empty() ? 0 : 1;
    running_ = left;
  }

 private:
  struct Request {
    policy::EngineRequest spec;
    std::vector<kvbm::BlockHash> hashes;
    std::vector<int> blocks;
    std::int64_t computed;
    std::int64_t produced;
    bool decoding = false;
    int arrived = 0;

    std::int64_t known() const { return spec.prompt_tokens + produced; }
  };

  std::int64_t limit() const {
    return std::min<std::int64_t>(
        config_.max_num_seqs,
        std::max<std::int64_t>(1, config_.max_num_batched_tokens / (1 + drafts())));
  }
  std::int64_t drafts() const {
    return config_.speculation ? config_.speculation->draft_tokens : 0;
  }
  /// Tokens that a decoding request makes in this step.
  std::int64_t gain() const {
    const double kept = config_.speculation ? *config_.speculation->acceptance_length : 1;
    const auto made = [&](int steps) { return static_cast<std::int64_t>(steps * kept); };
    return made(steps_ + 1) - made(steps_);
  }
  static bool more_urgent(const Request& a, const Request& b) {
    return a.spec.priority != b.spec.priority ? a.spec.priority > b.spec.priority
                                              : a.arrived < b.arrived;
  }
  bool priorities() const { return config_.queue == QueuePolicy::priority; }
  void enqueue(const Request& r, bool preempted) {
    auto place = preempted ? waiting_.begin() : waiting_.end();
    if (priorities()) {
      place = std::find_if(waiting_.begin(), waiting_.end(),
                           [&](const Request& other) { return more_urgent(r, other); });
    }
    waiting_.insert(place, r);
  }
  std::vector<Request>::iterator least_urgent() {
    return priorities() ? std::max_element(running_.begin(), running_.end(), more_urgent)
                        : running_.end() - 1;
  }
  /// Tokens for which a request has blocks when `tokens` more of it are computed.
  std::int64_t held(const Request& r, std::int64_t tokens) const {
    const bool completes = r.computed + tokens == r.known();
    return r.computed + tokens + (r.decoding ? drafts() + gain() - 1 : completes ? drafts() : 0);
  }
  std::int64_t missing(const Request& r, std::int64_t tokens) const {
    return std::max<std::int64_t>(
        0, blocks_for(held(r, tokens)) - static_cast<std::int64_t>(r.blocks.size()));
  }
  /// Blocks that the running requests need for this step.
  std::int64_t needed() const {
    std::int64_t left = config_.max_num_batched_tokens;
    std::int64_t sum = 0;
    for (const Request& r : running_) {
      const std::int64_t tokens = std::min(r.known() - r.computed, left);
      sum += missing(r, tokens);
      left -= tokens + (r.decoding ? drafts() : 0);
    }
    return sum;
  }
  std::int64_t blocks_for(std::int64_t tokens) const {
    return (tokens + config_.block_size - 1) / config_.block_size;
  }

  /// What a preempted request has computed beyond its hashed prompt can be found by itself.
  void keep(Request& victim) {
    const std::int64_t full = victim.computed / config_.block_size;
    for (auto b = static_cast<std::int64_t>(victim.spec.blocks.size());
         config_.prefix_caching && b < full; ++b) {
      const kvbm::BlockHash root = kvbm::chain_root("what a preempted request has computed");
      const kvbm::BlockHash own = kvbm::chain(root, victim.spec.id.value());
      const auto index = static_cast<std::uint32_t>(b - victim.spec.blocks.size());
      if (static_cast<std::int64_t>(victim.hashes.size()) == b) {
        victim.hashes.push_back(kvbm::nth_block(own, index));
      }
      pool.name(victim.blocks[b], victim.hashes[b]);
    }
  }

  void place(Request& r, std::int64_t tokens) {
    const std::int64_t need = missing(r, tokens);
    for (std::int64_t i = 0; i < need; ++i) {
      r.blocks.push_back(pool.take());
    }
    const std::int64_t prior = r.computed;
    r.computed += tokens;
    if (config_.prefix_caching) {
      for (std::size_t b = 0; b < r.spec.blocks.size() &&
                              static_cast<std::int64_t>(b + 1) * config_.block_size <= r.computed;
           ++b) {
        pool.name(r.blocks[b], r.hashes[b]);
      }
    }
    const bool completes = r.computed == r.known();
    if (completes && tokens == 1) {
      batch_.add_decode(r.computed);
    } else {
      batch_.add_prefill(tokens, prior, completes);
    }
    budget_ -= tokens + (r.decoding ? drafts() : 0);
  }

  /// Whether a step may have a request of this adapter beside those that run.
  bool may_join(policy::AdapterNumber adapter) const {
    std::set<policy::AdapterNumber> all{adapter};
    for (const Request& r : running_) {
      all.insert(r.spec.adapter);
    }
    all.erase(policy::kNoAdapter);
    return adapter == policy::kNoAdapter || !config_.lora ||
           all.size() <= static_cast<std::size_t>(config_.lora->slots);
  }

  bool admit(policy::Outcome& outcome) {
    const auto chosen = std::find_if(waiting_.begin(), waiting_.end(),
                                     [&](const Request& r) { return may_join(r.spec.adapter); });
    if (chosen == waiting_.end()) {
      return false;
    }
    Request r = *chosen;
    const std::int64_t most = config_.prefix_caching ? (r.known() - 1) / config_.block_size : 0;
    const std::vector<int> hits = pool.match(r.hashes, most);
    const std::int64_t cached = static_cast<std::int64_t>(hits.size()) * config_.block_size;
    std::int64_t tokens = r.known() - cached;
    if (!config_.chunked_prefill && tokens > budget_) {
      return false;
    }
    tokens = std::min(tokens, budget_);
    const std::int64_t need =
        blocks_for(r.known() + drafts()) - static_cast<std::int64_t>(hits.size());
    if (need + pool.idle(hits) > pool.free()) {
      return false;
    }
    waiting_.erase(chosen);
    pool.acquire(hits);
    r.blocks = hits;
    r.computed = cached;
    if (std::find(seen_.begin(), seen_.end(), r.spec.id) == seen_.end()) {
      seen_.push_back(r.spec.id);
      outcome.admitted.push_back({r.spec.id, SimTime{}, cached});
    }
    place(r, tokens);
    running_.push_back(r);
    return true;
  }

  EngineConfig config_;
  std::vector<Request> running_;
  std::deque<Request> waiting_;
  std::vector<Request> gone_;
  std::vector<RequestId> leaving_;
  std::vector<RequestId> seen_;
  perf::StepBatch batch_;
  std::int64_t budget_ = 0;
  int steps_ = 0;
  int next_arrival_ = 0;

 public:
  NaivePool pool;
};

}  // namespace dyn::test
