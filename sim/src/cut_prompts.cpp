#include <algorithm>
#include <span>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/kvbm/flat_map.h"
#include "dyn/sim/workload.h"

namespace dyn::sim {
namespace {

std::uint64_t key(kvbm::BlockHash hash) {
  return static_cast<std::uint64_t>(hash);
}

/// The segments of all prompts seen: a radix tree whose nodes are known by their first block,
/// since a block's hash says all that comes before it.
class SegmentTree {
 public:
  explicit SegmentTree(const std::vector<kvbm::BlockHash>& blocks) : blocks_(blocks) {}

  /// Splits segments where the prompt, which lies at `begin`, parts from those seen or ends.
  void add(std::size_t begin, std::size_t end) {
    while (begin < end) {
      const auto next = static_cast<std::uint32_t>(segments_.size());
      const auto [known, is_new] = by_first_.insert(key(blocks_[begin]), next);
      if (is_new) {
        segments_.push_back({begin, end - begin});
        return;
      }
      const std::uint32_t id = *known;
      const std::size_t shared = common(segments_[id], begin, end);
      if (shared < segments_[id].length) {
        const Segment rest{segments_[id].first + shared, segments_[id].length - shared};
        by_first_.insert(key(blocks_[rest.first]), next);
        segments_.push_back(rest);
        segments_[id].length = shared;
      }
      begin += shared;
    }
  }

  /// The segments of a prompt that was added.
  void append(std::size_t begin, std::size_t end, std::vector<kvbm::PromptSegment>& out) const {
    for (std::size_t at = begin; at < end;) {
      const std::uint32_t* id = by_first_.find(key(blocks_[at]));
      DYN_ASSERT(id != nullptr, "a prompt that was not added");
      const kvbm::BlockHash first = blocks_[at];
      at += segments_[*id].length;
      out.push_back({first, static_cast<std::uint32_t>(at - begin)});
    }
  }

 private:
  struct Segment {
    std::size_t first = 0;  ///< where one of its occurrences lies
    std::size_t length = 0;
  };

  /// How many leading blocks of a segment the prompt has, of which the first is one. Equal blocks
  /// have equal ones before them, so that a binary search finds the last.
  std::size_t common(const Segment& segment, std::size_t begin, std::size_t end) const {
    std::size_t high = std::min(segment.length, end - begin);
    if (blocks_[segment.first + high - 1] == blocks_[begin + high - 1]) {
      return high;
    }
    std::size_t low = 1;  // shared; `high` are not
    while (high - low > 1) {
      const std::size_t middle = low + (high - low) / 2;
      const bool same = blocks_[segment.first + middle - 1] == blocks_[begin + middle - 1];
      (same ? low : high) = middle;
    }
    return low;
  }

  const std::vector<kvbm::BlockHash>& blocks_;
  std::vector<Segment> segments_;
  kvbm::FlatMap<std::uint32_t> by_first_;
};

}  // namespace

void cut_prompts(Workload& workload) {
  SegmentTree tree(workload.blocks);
  for (const WorkloadRequest& request : workload.requests) {
    tree.add(request.first_block, std::size_t{request.first_block} + request.block_count);
  }
  workload.segments.clear();
  for (WorkloadRequest& request : workload.requests) {
    request.first_segment = static_cast<std::uint32_t>(workload.segments.size());
    tree.append(request.first_block, std::size_t{request.first_block} + request.block_count,
                workload.segments);
    request.segment_count =
        static_cast<std::uint32_t>(workload.segments.size()) - request.first_segment;
  }
}

}  // namespace dyn::sim
