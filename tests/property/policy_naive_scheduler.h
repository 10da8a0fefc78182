#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <set>
#include <vector>

#include "dyn/core/recipe.h"
#include "dyn/perf/cache_groups.h"
#include "dyn/perf/step_timer.h"
#include "dyn/policy/batch.h"

namespace dyn::test {

/// A block pool with one entry a block, written for clarity.
class NaivePool {
 public:
  explicit NaivePool(int blocks)
      : references_(blocks, 0), hash_(blocks), named_(blocks, false), told_(blocks, true) {
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
        if (told_[block]) {
          events.push_back({kvbm::KvEvent::Kind::removed, hash_[block]});
        }
      }
    }
    references_[block] = 1;
    return block;
  }
  bool is_named(int block) const { return named_[block]; }
  /// The block found under a hash, or -1.
  int find(kvbm::BlockHash hash) const {
    const auto copies = copies_.find(hash);
    return copies == copies_.end() ? -1 : copies->second.front();
  }
  void name(int block, kvbm::BlockHash hash, bool told = true) {
    if (named_[block]) {
      return;
    }
    named_[block] = true;
    told_[block] = told;
    hash_[block] = hash;
    copies_[hash].push_back(block);
    if (copies_[hash].size() == 1 && told) {
      events.push_back({kvbm::KvEvent::Kind::stored, hash});
    }
  }
  /// Releases in reverse order.
  void release(const std::vector<int>& blocks) {
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
      if (*block >= 0 && --references_[*block] == 0) {
        free_.push_back(*block);
      }
    }
  }

  std::vector<kvbm::KvEvent> events;

 private:
  std::vector<int> references_;
  std::vector<kvbm::BlockHash> hash_;
  std::vector<bool> named_;
  std::vector<bool> told_;
  std::list<int> free_;
  std::map<kvbm::BlockHash, std::vector<int>> copies_;
};

/// Continuous batching as vLLM's V1 scheduler does it, one request and one block at a time, for
/// the aggregated role. Groups of layers that do not keep the whole context have a table of blocks
/// each, as vLLM's managers of one type do, with -1 for its null block.
class NaiveScheduler {
 public:
  explicit NaiveScheduler(const EngineConfig& config, const perf::CacheGroups& groups = {})
      : config_(config),
        groups_(groups),
        ledger_(groups.whole > 0 ? 0 : 20'000),
        pool(static_cast<int>(*config.kv_blocks)) {}

  std::vector<kvbm::KvEvent>& events() { return context().events; }

  void submit(const policy::EngineRequest& spec, const std::vector<kvbm::BlockHash>& hashes) {
    Request request;
    request.spec = spec;
    request.hashes = hashes;
    request.arrived = next_arrival_++;
    enqueue(request, false);
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
    fresh_.clear();
    slide_all();
    bool preempted = false;
    while (needed() > pool.free()) {
      const auto victim = least_urgent();
      Request taken = *victim;
      running_.erase(victim);
      keep(taken);
      release(taken);
      taken.computed = 0;
      taken.decoding = false;
      outcome.preempted.push_back(taken.spec.id);
      enqueue(taken, true);
      preempted = true;
    }
    bool all = true;
    for (Request& r : running_) {
      place(r, chunk(r, r.computed, budget_));
      all = all && r.computed == r.known();
    }
    while (!preempted && all && !waiting_.empty() && budget_ > 0 &&
           static_cast<std::int64_t>(running_.size()) < limit() && states_for_one_more() &&
           admit(outcome)) {
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
        if (stays && !r.decoding && groups_.linear > 0) {  // its last states can be given back
          Request states;
          states.spec.id = r.spec.id;
          states.tables = r.tables;
          for (std::vector<int>& table : states.tables) {
            table.resize(table.size() - running_state());
          }
          for (std::vector<int>& table : r.tables) {
            table.erase(table.begin(), table.end() - running_state());
          }
          gone_.push_back(states);
        }
        r.computed = r.known() - 1;
        r.decoding = true;
        r.window = window_to_decode(r);
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
    for (Request& r : gone_) {
      release(r);
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
    /// Of each further group. Sliding: by position. Linear: states with a hash, then the running
    /// one.
    std::vector<std::vector<int>> tables;
    std::int64_t junction = 0;  ///< tokens that the first group has cached and a linear one has not
    std::int64_t state_end = 0;  ///< where the last state with a hash ends, in tokens
    bool even = false;           ///< its window is over blocks without a hash
    std::int64_t window = 0;     ///< blocks of the pool of sliding layers that it is given
    std::int64_t computed = 0;
    std::int64_t produced = 0;
    bool decoding = false;
    int arrived = 0;

    std::int64_t known() const { return spec.prompt_tokens + produced; }
  };

  /// Where blocks of the group that keeps the whole context are, or would be if there were one.
  NaivePool& context() { return groups_.whole > 0 ? pool : ledger_; }
  std::int64_t limit() const {
    return std::min<std::int64_t>(
        config_.max_num_seqs,
        std::max<std::int64_t>(1, config_.max_num_batched_tokens / (1 + drafts())));
  }
  bool states_for_one_more() const {
    return groups_.most_states == 0 || static_cast<int>(running_.size()) < groups_.most_states;
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
  /// The same of each further group.
  std::int64_t missing_in_table(const Request& r, std::int64_t tokens) const {
    if (groups_.linear > 0) {
      const auto running = static_cast<std::int64_t>(
          std::count_if(r.tables[0].begin(), r.tables[0].end(),
                        [&](int block) { return !pool.is_named(block); }));
      return running_state() - running;
    }
    return groups_.sliding == 0
               ? 0
               : std::max<std::int64_t>(0, blocks_for(held(r, tokens)) -
                                               static_cast<std::int64_t>(r.tables[0].size()));
  }
  std::int64_t further() const { return groups_.sliding + groups_.linear; }
  std::int64_t running_state() const { return groups_.state_blocks * (1 + drafts()); }
  std::int64_t first_in_window(std::int64_t computed) const {
    return std::max<std::int64_t>(0, computed - groups_.window + 1) / config_.block_size;
  }
  static kvbm::BlockHash of_group(kvbm::BlockHash hash, std::int64_t group) {
    return kvbm::BlockHash{static_cast<std::uint64_t>(hash) + 7919 * (group + 1)};
  }

  /// Frees what a window has left behind, or all states but the one to go on from.
  void slide(Request& r, std::int64_t computed) {
    for (std::vector<int>& table : r.tables) {
      std::vector<int> left;
      if (groups_.linear > 0) {
        const std::int64_t goes_on = computed == r.state_end ? groups_.state_blocks : 0;
        std::int64_t named = 0;
        while (named < static_cast<std::int64_t>(table.size()) && pool.is_named(table[named])) {
          ++named;
        }
        left.assign(table.begin(), table.begin() + std::max<std::int64_t>(named - goes_on, 0));
        table.erase(table.begin(), table.begin() + static_cast<std::int64_t>(left.size()));
      } else {
        for (std::int64_t b = 0;
             b < std::min<std::int64_t>(first_in_window(computed), std::int64_t(table.size()));
             ++b) {
          left.push_back(table[b]);
          table[b] = -1;
        }
      }
      pool.release(left);
    }
  }
  std::int64_t nulls(const Request& r) const {
    return std::count(r.tables[0].begin(), r.tables[0].end(), -1);
  }
  /// First those whose windows are over blocks without a hash, then the others as they come due.
  void slide_all() {
    std::vector<Request*> due;
    for (Request& r : running_) {
      if (groups_.sliding > 0 && r.decoding && r.even) {
        slide(r, r.computed);
      } else if (groups_.sliding > 0 && r.decoding && first_in_window(r.computed) > nulls(r)) {
        due.push_back(&r);
      }
    }
    std::stable_sort(due.begin(), due.end(), [&](const Request* a, const Request* b) {
      return nulls(*a) * config_.block_size - a->known() <
             nulls(*b) * config_.block_size - b->known();
    });
    for (Request* r : due) {
      slide(*r, r->computed);
      const std::int64_t first = nulls(*r);
      const std::vector<int>& table = r->tables[0];
      const bool named =
          first < static_cast<std::int64_t>(table.size()) && pool.is_named(table[first]);
      r->even = !named && r->known() >= groups_.window;
    }
    for (Request& r : running_) {
      if (!r.decoding) {
        slide(r, r.computed);
      }
    }
  }
  void release(Request& r) {
    for (const std::vector<int>& table : r.tables) {
      pool.release(table);
    }
    context().release(r.blocks);
    r.blocks.clear();
    r.tables.clear();
    r.even = false;
  }
  /// Tokens of the next chunk; it ends where a state may be kept.
  std::int64_t chunk(const Request& r, std::int64_t computed, std::int64_t most) const {
    const std::int64_t tokens = std::min(r.known() - computed, most);
    const std::int64_t prefill_end = std::max(r.spec.prompt_tokens, r.known() - 1);
    if (groups_.linear == 0 || !config_.prefix_caching || computed >= prefill_end) {
      return tokens;
    }
    const std::int64_t state = groups_.state_blocks * config_.block_size;
    std::int64_t end = computed + tokens;
    if (end < prefill_end &&
        (end / state * state > computed || state <= config_.max_num_batched_tokens)) {
      end = end / state * state;
    }
    const std::int64_t last = (r.known() - 1) / state * state;
    const std::int64_t boundary = (computed / state + 1) * state;
    if (computed % state != 0 && boundary < end) {
      end = boundary;
    }
    const std::int64_t junction = r.junction / state * state;
    for (const std::int64_t stop : {junction, last}) {
      end = computed < stop && stop < end ? stop : end;
    }
    return std::max<std::int64_t>(end - computed, 0);
  }
  /// How many of the first `limit` blocks every further group can go on from.
  std::int64_t agreed(const Request& r, std::int64_t limit) const {
    const auto cached = [&](std::int64_t block) {
      for (std::int64_t g = 0; g < further(); ++g) {
        if (pool.find(of_group(r.hashes[block], g)) < 0) {
          return false;
        }
      }
      return true;
    };
    std::int64_t run = 0;
    const std::int64_t need =
        groups_.linear > 0 ? groups_.state_blocks : blocks_for(groups_.window - 1);
    for (std::int64_t b = limit - 1; b >= 0; --b) {
      if (!cached(b) || (run == 0 && groups_.linear > 0 && (b + 1) % need != 0)) {
        run = 0;
      } else if (++run == need) {
        return b + need;
      }
    }
    return groups_.linear > 0 ? 0 : run;
  }
  /// Blocks that the running requests need for this step.
  std::int64_t needed() const {
    std::int64_t left = config_.max_num_batched_tokens;
    std::int64_t sum = 0;
    for (const Request& r : running_) {
      const std::int64_t tokens = chunk(r, r.computed, left);
      sum += tokens > 0
                 ? groups_.whole * missing(r, tokens) + further() * missing_in_table(r, tokens)
                 : 0;
      left -= tokens + (r.decoding ? drafts() : 0);
    }
    return sum;
  }
  /// Blocks of the pool of sliding layers for a sequence of so many blocks, computed in chunks.
  std::int64_t in_window_pool(std::int64_t blocks, std::int64_t chunk) const {
    const std::int64_t at_a_time = blocks_for(groups_.window - 1 + chunk) + 1;
    return std::min(groups_.window_pool, std::min(blocks, at_a_time));
  }
  std::int64_t window_to_decode(const Request& r) const {
    const std::int64_t end = r.spec.prompt_tokens + r.spec.max_output_tokens - 1 + 2 * drafts();
    return in_window_pool(blocks_for(end), 1 + drafts());
  }
  std::int64_t window_taken() const {
    std::int64_t sum = 0;
    for (const Request& r : running_) {
      sum += r.window;
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
      context().name(victim.blocks[b], victim.hashes[b]);
      for (std::int64_t g = 0; g < groups_.sliding; ++g) {
        if (victim.tables[g][b] >= 0) {
          pool.name(victim.tables[g][b], of_group(victim.hashes[b], g), false);
        }
      }
    }
  }

  void place(Request& r, std::int64_t tokens) {
    if (tokens == 0) {
      return;
    }
    const std::int64_t in_table = missing_in_table(r, tokens);
    for (std::vector<int>& table : r.tables) {
      for (std::int64_t i = 0; i < in_table; ++i) {
        table.push_back(pool.take());
      }
    }
    const std::int64_t need = missing(r, tokens);
    for (std::int64_t i = 0; i < need; ++i) {
      r.blocks.push_back(context().take());
    }
    const std::int64_t prior = r.computed;
    r.computed += tokens;
    if (config_.prefix_caching) {
      for (std::size_t b = 0; b < r.spec.blocks.size() &&
                              static_cast<std::int64_t>(b + 1) * config_.block_size <= r.computed;
           ++b) {
        context().name(r.blocks[b], r.hashes[b]);
        for (std::int64_t g = 0; g < groups_.sliding; ++g) {
          if (r.tables[g][b] >= 0) {
            pool.name(r.tables[g][b], of_group(r.hashes[b], g), false);
          }
        }
      }
    }
    const bool completes = r.computed == r.known();
    if (groups_.linear > 0 && config_.prefix_caching && !completes) {
      name_state(r);
    }
    if (completes && tokens == 1) {
      batch_.add_decode(r.computed);
    } else {
      batch_.add_prefill(tokens, prior, completes);
    }
    budget_ -= tokens + (r.decoding ? drafts() : 0);
  }

  /// Keeps the state after the chunk, if it ends with a whole number of states in the prompt.
  void name_state(Request& r) {
    const std::int64_t state = groups_.state_blocks * config_.block_size;
    if (r.computed % state != 0 ||
        r.computed > std::int64_t{r.spec.blocks.size()} * config_.block_size) {
      return;
    }
    const std::int64_t end = r.computed / config_.block_size;
    for (std::int64_t g = 0; g < groups_.linear; ++g) {
      std::vector<int>& table = r.tables[g];
      const auto running = std::find_if(table.begin(), table.end(),
                                        [&](int block) { return !pool.is_named(block); });
      for (std::int64_t i = 0; i < groups_.state_blocks; ++i) {
        pool.name(*(running + i), of_group(r.hashes[end - groups_.state_blocks + i], g), false);
      }
    }
    r.state_end = r.computed;
    fresh_.insert(r.hashes[end - 1]);
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
    std::vector<int> hits = context().match(r.hashes, most);
    if (further() > 0) {
      const std::int64_t hit = agreed(r, hits.size());
      const auto longer = static_cast<std::int64_t>(hits.size());
      r.junction = hit < longer ? longer * config_.block_size : 0;
      hits.resize(hit);
    }
    const auto blocks = static_cast<std::int64_t>(hits.size());
    const std::int64_t cached = blocks * config_.block_size;
    std::int64_t tokens = r.known() - cached;
    if (!config_.chunked_prefill && tokens > budget_) {
      return false;
    }
    if (groups_.linear > 0 && blocks > 0 && fresh_.count(r.hashes[blocks - 1]) > 0) {
      return false;
    }
    tokens = chunk(r, cached, budget_);
    if (tokens == 0) {
      return false;
    }
    // The blocks that the further groups go on from.
    const std::int64_t begin = groups_.linear > 0
                                   ? std::max<std::int64_t>(blocks - groups_.state_blocks, 0)
                                   : first_in_window(cached);
    r.tables.assign(further(), {});
    r.state_end = cached;
    r.even = false;
    std::int64_t idle = groups_.whole * context().idle(hits);
    for (std::int64_t g = 0; g < further(); ++g) {
      std::vector<int> found;
      for (std::int64_t b = begin; b < blocks; ++b) {
        found.push_back(pool.find(of_group(r.hashes[b], g)));
      }
      idle += pool.idle(found);
      r.tables[g].assign(groups_.linear > 0 ? 0 : begin, -1);
      r.tables[g].insert(r.tables[g].end(), found.begin(), found.end());
    }
    const std::int64_t whole = blocks_for(r.known() + drafts());
    const std::int64_t first =
        blocks_for(cached + tokens + (cached + tokens == r.known() ? drafts() : 0));
    const std::int64_t cap = blocks_for(groups_.window - 1 + config_.max_num_batched_tokens) + 1;
    const auto in_tables = [&](std::int64_t end) {
      return groups_.sliding * std::max<std::int64_t>(0, end - blocks) +
             groups_.linear * running_state();
    };
    const std::int64_t need =
        std::max(groups_.whole * (whole - blocks) +
                     in_tables(groups_.sliding > 0 ? std::min(whole, cap) : whole),
                 groups_.whole * (first - blocks) + in_tables(first));
    if (need + idle > pool.free()) {
      return false;
    }
    const std::int64_t at_a_time = std::min(r.known() - cached, config_.max_num_batched_tokens);
    r.window = std::max(window_to_decode(r), in_window_pool(blocks_for(r.known()), at_a_time));
    if (groups_.window_pool > 0 && window_taken() + r.window > groups_.window_pool) {
      return false;
    }
    waiting_.erase(chosen);
    context().acquire(hits);
    for (const std::vector<int>& table : r.tables) {
      std::vector<int> found = table;
      found.erase(std::remove(found.begin(), found.end(), -1), found.end());
      pool.acquire(found);
    }
    r.blocks = hits;
    r.computed = cached;
    if (std::find(seen_.begin(), seen_.end(), r.spec.id) == seen_.end()) {
      seen_.push_back(r.spec.id);
      outcome.admitted.push_back({r.spec.id, SimTime{}, cached});
    }
    place(r, tokens);
    running_.push_back(r);
    return r.computed == r.known();
  }

  EngineConfig config_;
  perf::CacheGroups groups_;
  NaivePool ledger_;
  std::set<kvbm::BlockHash> fresh_;  ///< whose states are only computed in this step
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
