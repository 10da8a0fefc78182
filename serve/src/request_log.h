#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "dyn/core/quantity.h"
#include "dyn/core/report.h"

namespace dyn::serve {

/// One served request, as the log has it.
struct LoggedRequest {
  std::uint32_t number = 0;  ///< given by the log
  RequestStatus status = RequestStatus::completed;
  SimTime sent;
  Duration ttft{0};  ///< 0 where no token was made
  Duration e2e{0};
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::string worker;  ///< such as aggregated/0 or prefill/1+decode/0; empty: none
};

/// Small numbers for the 512-token blocks of prompts, as Mooncake's traces have them: prompts
/// that begin alike begin with the same numbers. The last, partial block counts too.
class HashIds {
 public:
  static constexpr std::size_t kBlockTokens = 512;
  /// Known blocks are forgotten, and numbered anew, beyond so many.
  explicit HashIds(std::size_t max_blocks = 4'000'000) : max_blocks_(max_blocks) {}

  std::vector<std::uint64_t> of(std::span<const std::uint32_t> tokens);

 private:
  std::size_t max_blocks_;
  std::uint64_t next_ = 0;
  std::unordered_map<std::uint64_t, std::uint64_t> ids_;  // looked up only, never iterated
};

/// Writes served requests as JSON lines that are a Mooncake trace with more fields, among them
/// those of AIPerf's profile_export.jsonl, so that either's readers take it. Lines come in the
/// order of arrival, as a trace needs: a finished request waits for those before it.
/// Requests that no worker took are left out. Thread-safe.
class RequestLog {
 public:
  /// Throws Error(failed) if the file cannot be written. An empty path: writes nothing.
  explicit RequestLog(const std::string& path);
  ~RequestLog();

  bool enabled() const { return out_.is_open(); }

  /// Notes the arrival of a request; each needs a `finish` or a `drop`.
  std::uint64_t begin(std::span<const std::uint32_t> prompt);
  void finish(std::uint64_t ticket, const LoggedRequest& request);
  void drop(std::uint64_t ticket);

 private:
  struct Entry {
    std::vector<std::uint64_t> hash_ids;
    std::optional<std::string> line;  ///< empty text: dropped
  };
  void write_ready();

  std::mutex mutex_;
  std::ofstream out_;
  HashIds hash_ids_;
  std::uint64_t next_ticket_ = 0;
  std::map<std::uint64_t, Entry> open_;
};

/// One line of the log, without the line break.
std::string to_line(const LoggedRequest& request, std::span<const std::uint64_t> hash_ids);

}  // namespace dyn::serve
