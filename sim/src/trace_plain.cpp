#include "trace_plain.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <limits>
#include <utility>
#include <vector>

#include "plain_scanner.h"

namespace dyn::sim {
namespace {

constexpr std::size_t kLeastPart = 1 << 20;  ///< bytes that are worth a thread

enum { timestamp, input_length, output_length, hash_ids, fields };
constexpr const char* kFields[fields] = {"timestamp", "input_length", "output_length", "hash_ids"};

/// Whether all lines of a part were added.
bool add_lines(std::string_view part, Workload& out) {
  const kvbm::BlockHash root = mooncake_root();
  const char* at = part.data();
  const char* const end = at + part.size();
  while (at < end) {
    const void* newline = std::memchr(at, '\n', static_cast<std::size_t>(end - at));
    const char* const stop = newline ? static_cast<const char*>(newline) : end;
    const std::string_view line(at, static_cast<std::size_t>(stop - at));
    if (!add_plain_line(line, root, out) &&
        line.find_first_not_of(" \t\r") != std::string_view::npos) {
      return false;
    }
    at = stop + 1;
  }
  return true;
}

/// Cuts a text into parts of about the same size that end with a line.
std::vector<std::string_view> cut(std::string_view text, std::size_t count) {
  std::vector<std::string_view> parts;
  for (std::size_t left = count; left > 1; --left) {
    const std::size_t newline = text.find('\n', text.size() / left);
    const std::size_t size = newline == std::string_view::npos ? text.size() : newline + 1;
    parts.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  parts.push_back(text);
  return parts;
}

void reserve(std::size_t bytes, Workload& out) {
  out.requests.reserve(bytes / 200);
  out.blocks.reserve(bytes / 8);
}

/// Puts the requests of one part behind those of the parts before it. False if they do not follow
/// in time, or are too many.
bool append(const Workload& part, Workload& out) {
  if (part.requests.empty()) {
    return true;
  }
  constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
  const std::size_t first = out.blocks.size();
  if (first + part.blocks.size() > kMost || out.requests.size() + part.requests.size() > kMost ||
      (!out.requests.empty() && part.requests.front().arrival < out.requests.back().arrival)) {
    return false;
  }
  out.blocks.insert(out.blocks.end(), part.blocks.begin(), part.blocks.end());
  for (WorkloadRequest request : part.requests) {
    request.first_block += static_cast<std::uint32_t>(first);
    out.requests.push_back(request);
  }
  return true;
}

}  // namespace

kvbm::BlockHash mooncake_root() {
  return kvbm::chain_root("trace");
}

bool has_room(const Workload& workload) {
  return workload.blocks.size() <= std::numeric_limits<std::uint32_t>::max() &&
         workload.requests.size() < std::numeric_limits<std::uint32_t>::max();
}

bool add_plain_line(std::string_view line, kvbm::BlockHash root, Workload& out) {
  PlainScanner scan(line);
  const std::size_t first_block = out.blocks.size();
  std::uint64_t numbers[hash_ids] = {};
  unsigned seen = 0;
  bool good = scan.take('{');
  do {
    const int field = good ? scan.take_key(kFields) : fields;
    good = field < fields && (seen & 1U << field) == 0 && scan.take(':');
    seen |= 1U << field;
    if (good && field != hash_ids) {
      good = scan.take_number(numbers[field]);
    } else if (good) {
      kvbm::BlockHash hash = root;
      good = scan.take_numbers([&](std::uint64_t id) {
        hash = kvbm::chain(hash, id);
        out.blocks.push_back(hash);
      });
    }
  } while (good && scan.take(','));
  const bool in_time = numbers[timestamp] <= static_cast<std::uint64_t>(kMaxMooncakeMillis);
  const SimTime arrival{std::chrono::milliseconds(in_time ? numbers[timestamp] : 0)};
  const std::uint64_t input = numbers[input_length];
  const std::uint64_t output = numbers[output_length];
  const std::size_t count = out.blocks.size() - first_block;
  good = good && scan.take('}') && scan.at_end() && seen == (1U << fields) - 1 && input >= 1 &&
         input <= kMaxMooncakeTokens && output >= 1 && output <= kMaxMooncakeTokens && in_time &&
         (count == 0 || count == (input + kMooncakeBlock - 1) / kMooncakeBlock) &&
         (out.requests.empty() || arrival >= out.requests.back().arrival) && has_room(out);
  if (!good) {
    out.blocks.resize(first_block);
    return false;
  }
  WorkloadRequest request;
  request.arrival = arrival;
  request.input_tokens = static_cast<std::int64_t>(input);
  request.output_tokens = static_cast<std::int64_t>(output);
  request.first_block = static_cast<std::uint32_t>(first_block);
  request.block_count = static_cast<std::uint32_t>(count);
  out.requests.push_back(request);
  return true;
}

std::optional<Workload> read_plain_lines(std::string_view text, int threads) {
  if (text.starts_with("\xef\xbb\xbf")) {
    text.remove_prefix(3);
  }
  const auto most = static_cast<std::size_t>(std::max(1, threads));
  const std::vector<std::string_view> parts =
      cut(text, std::clamp<std::size_t>(text.size() / kLeastPart, 1, most));
  std::vector<Workload> rest(parts.size() - 1);
  std::vector<std::future<bool>> done;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    done.push_back(std::async(std::launch::async, [&, i] {
      reserve(parts[i + 1].size(), rest[i]);
      return add_lines(parts[i + 1], rest[i]);
    }));
  }
  Workload out;
  out.block_tokens = kMooncakeBlock;
  reserve(text.size(), out);
  bool good = add_lines(parts.front(), out);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    good = done[i].get() && good && append(rest[i], out);
  }
  if (!good || out.requests.empty()) {
    return std::nullopt;
  }
  return out;
}

}  // namespace dyn::sim
