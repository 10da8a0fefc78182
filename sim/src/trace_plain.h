#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "dyn/kvbm/block_hash.h"
#include "dyn/sim/workload.h"

namespace dyn::sim {

constexpr std::int32_t kMooncakeBlock = 512;               ///< tokens, by Mooncake's definition
constexpr std::uint64_t kMaxMooncakeTokens = 100'000'000;  ///< of one prompt or answer
constexpr double kMaxMooncakeMillis = 1e11;                ///< three years

/// What the hashes of a Mooncake trace's blocks begin with.
kvbm::BlockHash mooncake_root();

/// Whether a workload of such sizes can number one more request and its blocks.
bool has_room(const Workload& workload);

/// Adds the request of a line of Mooncake's usual form: the four fields once each, whole numbers,
/// nothing to complain about. False, and nothing has changed, where it is not. At least 8 bytes
/// after the line can be read, and the first of them belongs to no number.
bool add_plain_line(std::string_view line, kvbm::BlockHash root, Workload& out);

/// The workload of a text all of whose lines are of that form or blank, read on up to `threads`
/// threads; nothing where one is not, or there is none. 8 bytes after the text can be read.
std::optional<Workload> read_plain_lines(std::string_view text, int threads);

}  // namespace dyn::sim
