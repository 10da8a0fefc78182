#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "dyn/core/error.h"
#include "dyn/core/random.h"
#include "dyn/sim/workload.h"

namespace dyn::sim {
namespace {

constexpr int kLargestBlock = 512;                           ///< tokens; Mooncake's
constexpr std::size_t kMostReserved = std::size_t{1} << 27;  ///< block hashes

/// Lengths of one cause (prompts or answers) with a given mean.
class LengthSampler {
 public:
  LengthSampler(const Traffic& traffic, Tokens mean, std::uint64_t seed, std::string_view name)
      : kind_(traffic.length_spread > 0 ? traffic.lengths : LengthDistribution::fixed),
        mean_(static_cast<double>(mean.count())),
        spread_(traffic.length_spread),
        stream_(seed, name) {}

  std::int64_t next() {
    switch (kind_) {
      case LengthDistribution::fixed:
        return whole(mean_);
      case LengthDistribution::uniform:
        return whole(mean_ + half_width() * (2 * draw() - 1));
      case LengthDistribution::normal:
        return whole(mean_ + normal());
      case LengthDistribution::lognormal:
        return whole(stream_.lognormal(mean_, mean_ * spread_));
    }
    return 1;
  }

 private:
  static std::int64_t whole(double length) {
    return std::max<std::int64_t>(1, std::llround(std::min(length, 1e8)));
  }
  double draw() { return stream_.uniform(); }
  /// As far as both sides go without a length below 1, which keeps the mean.
  double half_width() const { return std::min(mean_ * spread_, mean_ - 1); }
  /// A deviation from the mean, drawn again where it is beyond what both sides allow.
  double normal() {
    if (mean_ <= 1) {
      return 0;
    }
    double deviation = 0;
    do {
      deviation = mean_ * spread_ * stream_.normal();
    } while (std::abs(deviation) > mean_ - 1);
    return deviation;
  }

  LengthDistribution kind_;
  double mean_;
  double spread_;
  RandomStream stream_;
};

/// The largest block, of whole engine blocks and at most 512 tokens, that the shared prefix is a
/// multiple of: fewer hashes for the same sharing.
std::int32_t block_tokens_for(std::int64_t shared, int engine_block_size) {
  std::int32_t block = engine_block_size;
  const std::int64_t whole = shared / engine_block_size * engine_block_size;
  while (block * 2 <= kLargestBlock && whole % (block * 2) == 0) {
    block *= 2;
  }
  return block;
}

void check(const Traffic& traffic, int engine_block_size) {
  DYN_ASSERT(engine_block_size > 0, "blocks hold tokens");
  if (!traffic.isl || !traffic.osl || traffic.rate.has_value() == traffic.concurrency.has_value()) {
    throw Error(ErrorKind::bad_input,
                "a synthetic load needs isl and osl, and one of rate and concurrency");
  }
  if (traffic.isl->count() < 1 || traffic.osl->count() < 1 || traffic.requests < 1 ||
      (traffic.rate && !(traffic.rate->count() > 0)) ||
      (traffic.concurrency && *traffic.concurrency < 1)) {
    throw Error(ErrorKind::bad_input,
                "isl, osl, requests, rate and concurrency of a load must be above 0");
  }
  if (traffic.shared_prefix.count() < 0 || traffic.shared_prefix >= *traffic.isl ||
      traffic.prefix_groups < 1) {
    throw Error(ErrorKind::bad_input, "shared_prefix must be shorter than isl",
                "isl counts the whole prompt, the shared prefix included");
  }
}

/// Makes the block hashes of prompts: those of the group's prefix, then the prompt's own.
class PromptMaker {
 public:
  PromptMaker(const Traffic& traffic, std::uint64_t seed, int engine_block_size, Workload& out)
      : out_(out),
        groups_(static_cast<std::uint64_t>(traffic.prefix_groups)),
        group_(seed, "prefix_group") {
    out_.block_tokens = block_tokens_for(traffic.shared_prefix.count(), engine_block_size);
    shared_ = traffic.shared_prefix.count() / out_.block_tokens;
    const auto requests = static_cast<std::size_t>(traffic.requests);
    const std::int64_t mean = traffic.isl->count() / out_.block_tokens + 1;
    out_.blocks.reserve(std::min(requests * static_cast<std::size_t>(mean), kMostReserved));
    out_.segments.reserve(requests * (shared_ > 0 ? 2 : 1));
  }

  void add_blocks(WorkloadRequest& request) {
    const std::uint64_t group = groups_ > 1 ? group_.below(groups_) : 0;
    const std::int64_t count = (request.input_tokens + out_.block_tokens - 1) / out_.block_tokens;
    request.first_block = static_cast<std::uint32_t>(out_.blocks.size());
    request.block_count = static_cast<std::uint32_t>(count);
    if (out_.blocks.size() + request.block_count > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(ErrorKind::bad_input, "the load has too many prompt tokens",
                  "ask for fewer requests");
    }
    kvbm::BlockHash hash = kvbm::chain_root("synthetic");
    hash = kvbm::chain(hash, group);
    for (std::int64_t i = 0; i < count; ++i) {
      hash = kvbm::chain(hash, i < shared_ ? 0 : ++unique_);
      out_.blocks.push_back(hash);
    }
    // Prompts part where the shared prefix ends.
    request.first_segment = static_cast<std::uint32_t>(out_.segments.size());
    if (shared_ > 0) {
      out_.segments.push_back(
          {out_.blocks[request.first_block], static_cast<std::uint32_t>(shared_)});
    }
    out_.segments.push_back({out_.blocks[request.first_block + static_cast<std::size_t>(shared_)],
                             request.block_count});
    request.segment_count =
        static_cast<std::uint32_t>(out_.segments.size()) - request.first_segment;
  }

 private:
  Workload& out_;
  std::uint64_t groups_;
  std::int64_t shared_ = 0;  ///< blocks
  std::uint64_t unique_ = 0;
  RandomStream group_;
};

}  // namespace

Workload make_synthetic(const Traffic& traffic, std::uint64_t seed, int engine_block_size) {
  check(traffic, engine_block_size);
  Workload out;
  out.concurrency = traffic.concurrency.value_or(0);
  out.requests.reserve(static_cast<std::size_t>(traffic.requests));
  LengthSampler inputs(traffic, *traffic.isl, seed, "input_length");
  LengthSampler outputs(traffic, *traffic.osl, seed, "output_length");
  RandomStream arrivals(seed, "arrival");
  PromptMaker prompts(traffic, seed, engine_block_size, out);
  double now = 0;
  for (std::int64_t i = 0; i < traffic.requests; ++i) {
    WorkloadRequest request;
    if (traffic.rate) {
      now += arrivals.exponential(1.0 / traffic.rate->count());
      request.arrival = SimTime(from_seconds(now));
    }
    request.input_tokens = std::max(inputs.next(), traffic.shared_prefix.count() + 1);
    request.output_tokens = outputs.next();
    prompts.add_blocks(request);
    out.requests.push_back(request);
  }
  return out;
}

}  // namespace dyn::sim
