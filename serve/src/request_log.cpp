#include "request_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dyn/core/error.h"
#include "dyn/kvbm/block_hash.h"

namespace dyn::serve {
namespace {

const char* status_name(RequestStatus status) {
  switch (status) {
    case RequestStatus::completed:
      return "completed";
    case RequestStatus::rejected:
      return "rejected";
    case RequestStatus::failed:
      return "failed";
    case RequestStatus::cancelled:
      return "cancelled";
    case RequestStatus::unfinished:
      return "unfinished";
  }
  return "failed";
}

}  // namespace

std::vector<std::uint64_t> HashIds::of(std::span<const std::uint32_t> tokens) {
  std::vector<std::uint64_t> result;
  kvbm::BlockHash parent = kvbm::chain_root("dyn.request_log");
  while (!tokens.empty()) {
    const auto block = tokens.first(std::min(tokens.size(), kBlockTokens));
    parent = kvbm::chain(parent, block);
    if (ids_.size() >= max_blocks_) {
      ids_.clear();
    }
    const auto [it, is_new] = ids_.try_emplace(static_cast<std::uint64_t>(parent), next_);
    next_ += is_new ? 1 : 0;
    result.push_back(it->second);
    tokens = tokens.subspan(block.size());
  }
  return result;
}

namespace {

/// The members of AIPerf's record of the request: metadata, metrics and error.
std::string aiperf_members(const LoggedRequest& r) {
  RequestRecord record;
  record.id = record.session = r.number;
  record.status = r.status;
  record.sent = r.sent;
  if (r.ttft > Duration{0}) {
    record.first_token = r.sent + r.ttft;
  }
  record.finished = r.sent + r.e2e;
  record.input_tokens = r.input_tokens;
  record.output_tokens = r.output_tokens;
  record.cached_tokens = r.cached_tokens;
  const std::string line = to_request_export(std::span(&record, 1));
  return line.substr(1, line.rfind('}') - 1);
}

}  // namespace

std::string to_line(const LoggedRequest& r, std::span<const std::uint64_t> hash_ids) {
  const double itl = r.output_tokens > 1
                         ? to_millis(r.e2e - r.ttft) / static_cast<double>(r.output_tokens - 1)
                         : 0;
  return fmt::format(
      "{{\"timestamp\": {}, \"input_length\": {}, \"output_length\": {}, \"hash_ids\": [{}], "
      "\"ttft_ms\": {:.3f}, \"itl_ms\": {:.3f}, \"e2e_ms\": {:.3f}, \"cached_tokens\": {}, "
      "\"worker\": \"{}\", \"status\": \"{}\", {}}}",
      std::chrono::floor<std::chrono::milliseconds>(r.sent.time_since_epoch()).count(),
      r.input_tokens, std::max<std::int64_t>(r.output_tokens, 1), fmt::join(hash_ids, ", "),
      to_millis(r.ttft), itl, to_millis(r.e2e), r.cached_tokens, r.worker, status_name(r.status),
      aiperf_members(r));
}

RequestLog::RequestLog(const std::string& path) {
  if (path.empty()) {
    return;
  }
  out_.open(path, std::ios::trunc);
  if (!out_) {
    throw Error(ErrorKind::failed, "cannot write the request log " + path,
                "does its folder exist, and may this user write there?");
  }
}

RequestLog::~RequestLog() = default;

std::uint64_t RequestLog::begin(std::span<const std::uint32_t> prompt) {
  if (!enabled()) {
    return 0;
  }
  const std::scoped_lock lock(mutex_);
  open_.emplace(next_ticket_, Entry{hash_ids_.of(prompt), std::nullopt});
  return next_ticket_++;
}

void RequestLog::finish(std::uint64_t ticket, const LoggedRequest& request) {
  if (!enabled()) {
    return;
  }
  const std::scoped_lock lock(mutex_);
  if (const auto it = open_.find(ticket); it != open_.end()) {
    LoggedRequest numbered = request;
    numbered.number = static_cast<std::uint32_t>(ticket);
    it->second.line = to_line(numbered, it->second.hash_ids);
    it->second.hash_ids.clear();
    write_ready();
  }
}

void RequestLog::drop(std::uint64_t ticket) {
  if (!enabled()) {
    return;
  }
  const std::scoped_lock lock(mutex_);
  if (const auto it = open_.find(ticket); it != open_.end()) {
    it->second.line = std::string();
    write_ready();
  }
}

void RequestLog::write_ready() {
  bool wrote = false;
  while (!open_.empty() && open_.begin()->second.line) {
    const std::string& line = *open_.begin()->second.line;
    if (!line.empty()) {
      out_ << line << '\n';
      wrote = true;
    }
    open_.erase(open_.begin());
  }
  if (wrote) {
    out_.flush();
  }
}

}  // namespace dyn::serve
