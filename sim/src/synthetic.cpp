#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "adapter_sampler.h"
#include "arrivals.h"
#include "dyn/core/check.h"
#include "dyn/core/error.h"
#include "dyn/core/random.h"
#include "dyn/sim/workload.h"
#include "image_sampler.h"
#include "patience.h"
#include "prompt_blocks.h"
#include "trace_builder.h"
#include "waits.h"

namespace dyn::sim {
namespace {

constexpr int kLargestBlock = 512;                           ///< tokens; Mooncake's
constexpr std::size_t kMostReserved = std::size_t{1} << 27;  ///< block hashes

std::int64_t whole(double length) {
  return std::max<std::int64_t>(1, std::llround(std::min(length, 1e8)));
}

/// Lengths of one cause (prompts or answers) with a given mean.
class LengthSampler {
 public:
  LengthSampler(const LoadShape& shape, std::optional<Tokens> mean, std::uint64_t seed,
                const std::string& name)
      : kind_(shape.length_spread > 0 ? shape.lengths : LengthDistribution::fixed),
        mean_(static_cast<double>(mean.value_or(Tokens(1)).count())),
        spread_(shape.length_spread),
        stream_(seed, name) {}

  std::int64_t next() {
    switch (kind_) {
      case LengthDistribution::fixed:
      case LengthDistribution::empirical:
        return whole(mean_);
      case LengthDistribution::uniform:
        return whole(mean_ + half_width() * (2 * stream_.uniform() - 1));
      case LengthDistribution::normal:
        return whole(mean_ + normal());
      case LengthDistribution::lognormal:
        return whole(stream_.lognormal(mean_, mean_ * spread_));
      case LengthDistribution::at_most:
        return at_most();
    }
    return 1;
  }

 private:
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
  /// Each whole number from the shortest to the longest equally often.
  std::int64_t at_most() {
    const std::int64_t longest = whole(mean_);
    const std::int64_t shortest = std::min(longest, whole(std::floor(mean_ * (1 - spread_))));
    return shortest + static_cast<std::int64_t>(
                          stream_.below(static_cast<std::uint64_t>(longest - shortest) + 1));
  }

  LengthDistribution kind_;
  double mean_;
  double spread_;
  RandomStream stream_;
};

/// Whether images come again, so that prompts may share what follows their shared prefix.
bool shares_images(const LoadShape& shape) {
  return shape.images && shape.images->distinct;
}

/// The largest block, of whole engine blocks and at most 512 tokens, that every shared prefix is a
/// multiple of: fewer hashes for the same sharing.
std::int32_t block_tokens_for(std::span<const LoadShape* const> shapes, int engine_block_size) {
  std::int32_t block = engine_block_size;
  if (std::any_of(shapes.begin(), shapes.end(),
                  [](const LoadShape* shape) { return shares_images(*shape); })) {
    return block;
  }
  const auto divides = [&](std::int32_t tokens) {
    return std::all_of(shapes.begin(), shapes.end(), [&](const LoadShape* shape) {
      const std::int64_t whole =
          shape->shared_prefix.count() / engine_block_size * engine_block_size;
      return whole % tokens == 0;
    });
  };
  while (block * 2 <= kLargestBlock && divides(block * 2)) {
    block *= 2;
  }
  return block;
}

void check_shape(const LoadShape& shape) {
  if (shape.lengths == LengthDistribution::empirical) {
    return;
  }
  if (!shape.isl || !shape.osl || shape.isl->count() < 1 || shape.osl->count() < 1) {
    throw Error(ErrorKind::bad_input, "a synthetic load needs isl and osl of at least 1");
  }
  if (shape.shared_prefix.count() < 0 || shape.shared_prefix >= *shape.isl ||
      shape.prefix_groups < 1) {
    throw Error(ErrorKind::bad_input, "shared_prefix must be shorter than isl",
                "isl counts the whole prompt, the shared prefix included");
  }
}

void check(const Traffic& traffic, int engine_block_size) {
  DYN_ASSERT(engine_block_size > 0, "blocks hold tokens");
  if (traffic.rate.has_value() == traffic.concurrency.has_value()) {
    throw Error(ErrorKind::bad_input,
                "a synthetic load needs isl and osl, and one of rate and concurrency");
  }
  if (traffic.requests < 1 || (traffic.rate && !(traffic.rate->count() > 0)) ||
      (traffic.concurrency && *traffic.concurrency < 1)) {
    throw Error(ErrorKind::bad_input, "requests, rate and concurrency of a load must be above 0");
  }
}

/// The sessions of one kind of requests, turn by turn.
class ClassMaker {
 public:
  ClassMaker(const LoadShape& shape, const std::string& name, std::uint64_t seed,
             const std::string& recipe_path, const ModelSpec* model)
      : shape_(shape),
        salt_("synthetic" + name),
        groups_(static_cast<std::uint64_t>(shape.prefix_groups)),
        inputs_(shape, shape.isl, seed, "input_length" + name),
        outputs_(shape, shape.osl, seed, "output_length" + name),
        added_(shape, shape.turn_isl ? shape.turn_isl : shape.isl, seed, "turn_length" + name),
        group_(seed, "prefix_group" + name),
        pairs_(seed, "length_pair" + name),
        turns_(seed, "turns" + name),
        think_(seed, "think_time" + name) {
    check_shape(shape);
    if (shape.images) {
      DYN_ASSERT(model != nullptr, "images are tokens of a model");
      images_.emplace(*shape.images, image_size(*shape.images, *model), seed, name);
    }
    if (shape.lengths_from) {
      table_ = load_lengths(resolve_beside(recipe_path, *shape.lengths_from));
    }
  }

  /// Appends a session of at most `most` requests, all of one adapter (0: none).
  void add_session(SimTime arrival, std::uint32_t session, std::int64_t most, std::uint32_t adapter,
                   Workload& out);

 private:
  struct Lengths {
    std::int64_t input = 0;
    std::int64_t output = 0;
  };
  Lengths draw_lengths(bool first) {
    if (table_.rows.empty()) {
      const std::int64_t input =
          first ? std::max(inputs_.next(), shape_.shared_prefix.count() + 1) : added_.next();
      return {input, outputs_.next()};
    }
    const double at = pairs_.uniform() * table_.rows.back().up_to;
    const auto row =
        std::upper_bound(table_.rows.begin(), table_.rows.end() - 1, at,
                         [](double value, const LengthTable::Row& r) { return value < r.up_to; });
    const std::int64_t input =
        first ? std::max(row->input_tokens, shape_.shared_prefix.count() + 1) : added_.next();
    return {input, row->output_tokens};
  }
  std::int64_t draw_turns() {
    if (shape_.turn_count == TurnCount::fixed || shape_.turns == 1) {
      return shape_.turns;
    }
    std::int64_t turns = 1;
    while (turns_.uniform() * shape_.turns >= 1) {
      ++turns;
    }
    return turns;
  }
  Duration draw_think() { return draw_wait(think_, shape_.think_time, shape_.think_cv); }
  void add_blocks(kvbm::BlockHash root, policy::PromptImages images, std::int64_t tokens,
                  Workload& out);
  std::uint64_t content(std::int64_t block, policy::PromptImages images, const Workload& out);

  const LoadShape& shape_;
  std::string salt_;
  std::uint64_t groups_;
  LengthSampler inputs_;
  LengthSampler outputs_;
  LengthSampler added_;
  RandomStream group_;
  RandomStream pairs_;
  RandomStream turns_;
  RandomStream think_;
  LengthTable table_;
  std::optional<ImageSampler> images_;
  std::uint64_t unique_ = 0;
};

/// What tells a block of a session from others in its place: 0 within the shared prefix.
std::uint64_t ClassMaker::content(std::int64_t block, policy::PromptImages images,
                                  const Workload& out) {
  const std::int64_t end = (block + 1) * out.block_tokens;
  if (end <= shape_.shared_prefix.count()) {
    return 0;
  }
  if (shares_images(shape_) && !images.empty() && end <= images.back().end()) {
    return images_in_block(images, end - out.block_tokens, end);
  }
  return ++unique_;
}

/// Extends the blocks at the end of the list, those of the session, to a prompt of so many tokens.
void ClassMaker::add_blocks(kvbm::BlockHash root, policy::PromptImages images, std::int64_t tokens,
                            Workload& out) {
  WorkloadRequest& request = out.requests.back();
  const std::int64_t shared = shape_.shared_prefix.count() / out.block_tokens;
  const std::int64_t count = (tokens + out.block_tokens - 1) / out.block_tokens;
  if (static_cast<std::uint64_t>(request.first_block) + static_cast<std::uint64_t>(count) >
      std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorKind::bad_input, "the load has too many prompt tokens",
                "ask for fewer requests");
  }
  kvbm::BlockHash hash = out.blocks.size() > request.first_block ? out.blocks.back() : root;
  for (auto i = static_cast<std::int64_t>(out.blocks.size()) - request.first_block; i < count;
       ++i) {
    hash = kvbm::chain(hash, content(i, images, out));
    out.blocks.push_back(hash);
  }
  request.block_count = static_cast<std::uint32_t>(count);
  // Prompts part where the shared prefix ends; sessions are cut when all are there.
  request.first_segment = static_cast<std::uint32_t>(out.segments.size());
  const std::int64_t common = std::min(shared, count - 1);
  if (common > 0) {
    out.segments.push_back({out.blocks[request.first_block], static_cast<std::uint32_t>(common)});
  }
  out.segments.push_back(
      {out.blocks[request.first_block + static_cast<std::size_t>(common)], request.block_count});
  request.segment_count = static_cast<std::uint32_t>(out.segments.size()) - request.first_segment;
}

void ClassMaker::add_session(SimTime arrival, std::uint32_t session, std::int64_t most,
                             std::uint32_t adapter, Workload& out) {
  const std::uint64_t group = groups_ > 1 ? group_.below(groups_) : 0;
  kvbm::BlockHash root = kvbm::chain(kvbm::chain_root(salt_), group);
  root = adapter > 0 ? kvbm::chain(root, adapter) : root;
  const std::int64_t turns = std::min(draw_turns(), most);
  const auto first_block = static_cast<std::uint32_t>(out.blocks.size());
  RequestImages images;
  if (images_) {
    images = images_->next(shape_.shared_prefix.count(), out);
  }
  std::int64_t context = policy::image_tokens(out.images_in(images));
  for (std::int64_t turn = 0; turn < turns; ++turn) {
    const Lengths lengths = draw_lengths(turn == 0);
    WorkloadRequest request;
    request.arrival = arrival;
    request.input_tokens = context + lengths.input;
    request.output_tokens = lengths.output;
    request.first_block = first_block;
    if (request.input_tokens > kMaxTraceTokens) {
      return;
    }
    const auto number = static_cast<std::uint32_t>(out.requests.size());
    if (turn > 0) {
      const Duration think = draw_think();
      out.follow_ups.push_back({number - 1, number, think});
      request.arrival = out.requests.back().arrival + think;
    }
    out.requests.push_back(request);
    out.sessions.push_back(session);
    if (images_) {
      out.request_images.resize(out.requests.size());
      out.request_images.back() = images;
    }
    add_blocks(root, out.images_in(images), request.input_tokens, out);
    context = request.input_tokens + request.output_tokens;
  }
}

struct Mix {
  std::vector<ClassMaker> makers;
  std::vector<double> up_to;  ///< weight of a class and those before
  RandomStream choice;

  std::size_t draw() {
    if (makers.size() == 1) {
      return 0;
    }
    const double at = choice.uniform() * up_to.back();
    return static_cast<std::size_t>(std::upper_bound(up_to.begin(), up_to.end() - 1, at) -
                                    up_to.begin());
  }
};

Mix make_mix(const Traffic& traffic, std::uint64_t seed, const std::string& recipe_path,
             const ModelSpec* model, Workload& out) {
  Mix mix{{}, {}, RandomStream(seed, "class")};
  if (traffic.classes.empty()) {
    mix.makers.emplace_back(traffic, std::string(), seed, recipe_path, model);
    return mix;
  }
  double sum = 0;
  for (const TrafficClass& one : traffic.classes) {
    mix.makers.emplace_back(one, '/' + one.name, seed, recipe_path, model);
    mix.up_to.push_back(sum += one.weight);
    out.classes.push_back({one.name, one.priority, one.slo});
  }
  return mix;
}

void reserve(std::span<const LoadShape* const> shapes, std::size_t count, Workload& out) {
  out.requests.reserve(count);
  if (shapes.size() == 1 && shapes[0]->turns == 1 && shapes[0]->isl) {
    const std::int64_t mean = shapes[0]->isl->count() / out.block_tokens + 1;
    out.blocks.reserve(std::min(count * static_cast<std::size_t>(mean), kMostReserved));
    out.segments.reserve(count * (shapes[0]->shared_prefix.count() > 0 ? 2 : 1));
  }
}

}  // namespace

bool has_images(const Traffic& traffic) {
  return !traffic.trace &&
         (traffic.images || std::any_of(traffic.classes.begin(), traffic.classes.end(),
                                        [](const TrafficClass& one) { return one.images; }));
}

Workload make_synthetic(const Traffic& traffic, std::uint64_t seed, int engine_block_size,
                        const std::string& recipe_path, const ModelSpec* model) {
  check(traffic, engine_block_size);
  Workload out;
  Mix mix = make_mix(traffic, seed, recipe_path, model, out);
  std::vector<const LoadShape*> shapes;
  for (const TrafficClass& one : traffic.classes) {
    shapes.push_back(&one);
  }
  if (shapes.empty()) {
    shapes.push_back(&traffic);
  }
  out.block_tokens = block_tokens_for(shapes, engine_block_size);
  out.concurrency = traffic.concurrency.value_or(0);
  const std::int64_t slots = out.concurrency;
  const std::int64_t warmup = slots * traffic.warmup_per_slot;
  const std::int64_t count =
      warmup + (traffic.requests_per_slot ? slots * *traffic.requests_per_slot : traffic.requests);
  if (count >= std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorKind::bad_input, "the load has too many requests");
  }
  reserve(shapes, static_cast<std::size_t>(count), out);
  std::optional<Arrivals> arrivals;
  if (traffic.rate) {
    arrivals.emplace(traffic, seed);
  }
  std::optional<AdapterSampler> adapters;
  if (traffic.adapters) {
    adapters.emplace(*traffic.adapters, seed);
  }
  std::uint32_t session = 0;
  for (std::int64_t made = 0; made < count;) {
    const std::size_t kind = mix.draw();
    const SimTime arrival = arrivals ? arrivals->next() : SimTime{};
    // A session of the warm-up ends with it.
    const std::uint32_t adapter = adapters ? adapters->next() : 0;
    mix.makers[kind].add_session(arrival, session++, (made < warmup ? warmup : count) - made,
                                 adapter, out);
    made = static_cast<std::int64_t>(out.requests.size());
    if (adapters) {
      out.adapters.resize(out.requests.size(), adapter);
    }
    if (!out.classes.empty()) {
      out.class_of.resize(out.requests.size(), static_cast<std::uint8_t>(kind));
    }
  }
  out.warmup = static_cast<std::uint32_t>(warmup);
  if (!out.request_images.empty()) {
    out.request_images.resize(out.requests.size());
  }
  if (out.follow_ups.empty()) {
    out.sessions = {};
  }
  const bool alike = std::any_of(shapes.begin(), shapes.end(),
                                 [](const LoadShape* shape) { return shares_images(*shape); });
  if (!out.follow_ups.empty() || alike) {
    cut_prompts(out);
  }
  draw_patience(traffic.cancellation, seed, out);
  return out;
}

}  // namespace dyn::sim
