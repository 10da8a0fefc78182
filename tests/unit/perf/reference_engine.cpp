#include "reference_engine.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <list>
#include <map>
#include <stdexcept>

namespace dyn::perf::test {

namespace {

double field(const std::string& line, const std::string& key) {
  const std::size_t at = line.find("\"" + key + "\":");
  if (at == std::string::npos) {
    throw std::runtime_error("no field " + key);
  }
  return std::strtod(line.c_str() + at + key.size() + 3, nullptr);
}

/// Blocks with the content they hold, free ones in order of eviction.
class Pool {
 public:
  explicit Pool(std::int64_t blocks) : content_(blocks, 0), references_(blocks, 0), at_(blocks) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      at_[b] = free_.insert(free_.end(), b);
    }
  }

  std::int64_t free_blocks() const { return static_cast<std::int64_t>(free_.size()); }
  bool is_free(std::int64_t block) const { return references_[block] == 0; }

  /// The block that holds this content, or -1.
  std::int64_t find(std::int64_t content) const {
    const auto found = cached_.find(content);
    return found == cached_.end() ? -1 : found->second;
  }
  void reference(std::int64_t block) {
    if (references_[block]++ == 0) {
      free_.erase(at_[block]);
    }
  }
  std::int64_t allocate() {
    const std::int64_t block = free_.front();
    if (content_[block] != 0) {
      cached_.erase(content_[block]);
      content_[block] = 0;
    }
    reference(block);
    return block;
  }
  void release(std::int64_t block) {
    if (--references_[block] == 0) {
      at_[block] = free_.insert(free_.end(), block);
    }
  }
  /// The block is full and holds this content; the first of several copies is found.
  void fill(std::int64_t block, std::int64_t content) {
    if (content_[block] == 0 && cached_.emplace(content, block).second) {
      content_[block] = content;
    }
  }

 private:
  std::vector<std::int64_t> content_;  // 0: none
  std::vector<std::int64_t> references_;
  std::list<std::int64_t> free_;
  std::vector<std::list<std::int64_t>::iterator> at_;
  std::map<std::int64_t, std::int64_t> cached_;
};

struct Request {
  const RecordedRequest* recorded = nullptr;
  std::int64_t index = 0;
  std::int64_t computed = 0;
  std::int64_t produced = 0;
  std::int64_t scheduled = 0;
  std::vector<std::int64_t> blocks;
  double first_s = 0;
  bool admitted = false;

  std::int64_t tokens() const { return recorded->prompt + produced; }
};

class Loop {
 public:
  Loop(const std::vector<RecordedRequest>& recorded, const EngineLimits& limits,
       const StepTimer& timer)
      : limits_(limits), timer_(timer), pool_(limits.blocks), requests_(recorded.size()) {
    for (std::size_t i = 0; i < recorded.size(); ++i) {
      requests_[i].recorded = &recorded[i];
      requests_[i].index = static_cast<std::int64_t>(i);
    }
  }

  Replayed run() {
    std::size_t next = 0;
    double now = 0;
    while (next < requests_.size() || !waiting_.empty() || !running_.empty()) {
      if (waiting_.empty() && running_.empty()) {
        now = std::max(now, requests_[next].recorded->arrival_s);
      }
      while (next < requests_.size() && requests_[next].recorded->arrival_s <= now) {
        waiting_.push_back(&requests_[next++]);
      }
      schedule();
      now += to_seconds(timer_.step_time(batch_));
      ++result_.steps;
      finish_step(now);
    }
    const double n = static_cast<double>(requests_.size());
    result_.ttft_s = result_.ttft_s / n + to_seconds(timer_.frontend_time());
    result_.e2e_s = result_.e2e_s / n + to_seconds(timer_.frontend_time());
    result_.tpot_s /= n;
    result_.hit_rate = static_cast<double>(hits_) / static_cast<double>(prompts_);
    return result_;
  }

 private:
  std::int64_t content(const Request& r, std::int64_t block) const {
    if (block < static_cast<std::int64_t>(r.recorded->blocks.size())) {
      return r.recorded->blocks[block];
    }
    return -((r.index + 1) * 1'000'000 + block);  // holds generated tokens: its own
  }

  std::int64_t blocks_for(std::int64_t tokens) const {
    return (tokens + limits_.block_size - 1) / limits_.block_size;
  }

  bool grow(Request& r, std::int64_t tokens) {
    const std::int64_t missing = blocks_for(tokens) - static_cast<std::int64_t>(r.blocks.size());
    if (missing > pool_.free_blocks()) {
      return false;
    }
    for (std::int64_t i = 0; i < missing; ++i) {
      r.blocks.push_back(pool_.allocate());
    }
    return true;
  }

  void release(Request& r) {
    for (auto block = r.blocks.rbegin(); block != r.blocks.rend(); ++block) {
      pool_.release(*block);
    }
    r.blocks.clear();
  }

  void take(Request& r, std::int64_t tokens) {
    r.scheduled = tokens;
    budget_ -= tokens;
    if (tokens == 1 && r.computed + 1 == r.tokens() && r.produced > 0) {
      batch_.add_decode(r.tokens());
    } else {
      batch_.add_prefill(tokens, r.computed, r.computed + tokens == r.tokens());
    }
  }

  void untake(Request& r) {
    // Scheduled earlier in this very step, then preempted by one further ahead: cannot happen,
    // as the tail goes first and the head is served first.
    if (r.scheduled != 0) {
      throw std::logic_error("preempted a scheduled request");
    }
  }

  void schedule() {
    batch_ = {};
    budget_ = limits_.max_batched_tokens;
    bool preempted = false;
    for (std::size_t i = 0; i < running_.size() && budget_ > 0; ++i) {
      Request& r = *running_[i];
      const std::int64_t tokens = std::min(budget_, r.tokens() - r.computed);
      bool fits = grow(r, r.computed + tokens);
      while (!fits) {
        Request* victim = running_.back();
        untake(*victim);
        running_.pop_back();
        release(*victim);
        victim->computed = 0;
        waiting_.push_front(victim);
        ++result_.preemptions;
        preempted = true;
        if (victim == &r) {
          break;
        }
        fits = grow(r, r.computed + tokens);
      }
      if (!fits) {
        break;
      }
      take(r, tokens);
    }
    while (!preempted && !waiting_.empty() && budget_ > 0 &&
           static_cast<std::int64_t>(running_.size()) < limits_.max_sequences) {
      if (!admit(*waiting_.front())) {
        break;
      }
      running_.push_back(waiting_.front());
      waiting_.pop_front();
    }
  }

  bool admit(Request& r) {
    std::vector<std::int64_t> cached;
    std::int64_t revived = 0;
    for (std::int64_t b = 0; (b + 1) * limits_.block_size < r.tokens(); ++b) {
      const std::int64_t block = pool_.find(content(r, b));
      if (block < 0) {
        break;
      }
      cached.push_back(block);
      revived += pool_.is_free(block) ? 1 : 0;
    }
    const std::int64_t missing = blocks_for(r.tokens()) - static_cast<std::int64_t>(cached.size());
    if (missing + revived > pool_.free_blocks()) {
      return false;
    }
    for (const std::int64_t block : cached) {
      pool_.reference(block);
    }
    r.blocks = cached;
    r.computed = static_cast<std::int64_t>(cached.size()) * limits_.block_size;
    if (!r.admitted) {
      r.admitted = true;
      hits_ += r.computed;
      prompts_ += r.recorded->prompt;
    }
    const std::int64_t tokens = std::min(budget_, r.tokens() - r.computed);
    grow(r, r.computed + tokens);
    take(r, tokens);
    return true;
  }

  void finish_step(double now) {
    std::vector<Request*> still;
    for (Request* r : running_) {
      const std::int64_t before = r->computed / limits_.block_size;
      r->computed += r->scheduled;
      for (std::int64_t b = before; b < r->computed / limits_.block_size; ++b) {
        pool_.fill(r->blocks[b], content(*r, b));
      }
      const bool sampled = r->scheduled > 0 && r->computed == r->tokens();
      r->scheduled = 0;
      if (sampled && ++r->produced == 1) {
        r->first_s = now;
      }
      if (r->produced == r->recorded->output) {
        release(*r);
        const double arrival = r->recorded->arrival_s;
        result_.ttft_s += r->first_s - arrival;
        result_.e2e_s += now - arrival;
        if (r->produced > 1) {
          result_.tpot_s += (now - r->first_s) / static_cast<double>(r->produced - 1);
        }
      } else {
        still.push_back(r);
      }
    }
    running_ = std::move(still);
  }

  EngineLimits limits_;
  const StepTimer& timer_;
  Pool pool_;
  std::vector<Request> requests_;
  std::vector<Request*> running_;
  std::deque<Request*> waiting_;
  StepBatch batch_;
  std::int64_t budget_ = 0;
  std::int64_t hits_ = 0;
  std::int64_t prompts_ = 0;
  Replayed result_;
};

}  // namespace

std::vector<RecordedRequest> read_recorded_run(const std::string& path) {
  std::ifstream file(path);
  std::vector<RecordedRequest> requests;
  for (std::string line; std::getline(file, line);) {
    RecordedRequest r;
    r.arrival_s = field(line, "timestamp") * 1e-3;
    r.prompt = static_cast<std::int64_t>(field(line, "input_length"));
    r.output = static_cast<std::int64_t>(field(line, "output_length"));
    r.ttft_s = field(line, "real_ttft_s");
    r.tpot_s = field(line, "real_tpot_s");
    r.e2e_s = field(line, "real_e2e_s");
    const char* at = line.c_str() + line.find("\"hash_ids\":[") + 12;
    while (*at != ']' && *at != '\0') {
      char* end = nullptr;
      r.blocks.push_back(std::strtoll(at, &end, 10));
      at = *end == ',' ? end + 1 : end;
    }
    requests.push_back(std::move(r));
  }
  return requests;
}

Replayed replay(const std::vector<RecordedRequest>& requests, const EngineLimits& limits,
                const StepTimer& timer) {
  return Loop(requests, limits, timer).run();
}

Replayed measured(const std::vector<RecordedRequest>& requests) {
  Replayed mean;
  const double n = static_cast<double>(requests.size());
  for (const RecordedRequest& r : requests) {
    mean.ttft_s += r.ttft_s / n;
    mean.tpot_s += r.tpot_s / n;
    mean.e2e_s += r.e2e_s / n;
  }
  return mean;
}

}  // namespace dyn::perf::test
