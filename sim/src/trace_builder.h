#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/sim/workload.h"
#include "trace_pictures.h"
#include "trace_text.h"

namespace dyn::sim {

constexpr std::int64_t kMaxTraceTokens = 100'000'000;  ///< of one prompt or answer
constexpr double kMaxTraceSeconds = 1e8;               ///< three years

/// A request as a reader found it.
struct TraceRequest {
  SimTime arrival{};
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  const char* at = nullptr;          ///< where its prompt's length stands, for errors
  std::string path;                  ///< of that
  const char* arrival_at = nullptr;  ///< where its arrival stands; null: it has none of its own
  std::string arrival_path = "/timestamp";
  std::uint32_t adapter = 0;      ///< LoRA adapter, from 1; 0: none
  policy::PromptImages images{};  ///< of its prompt
};

/// Makes a workload of what a reader finds, request by request in the order of the file, and says
/// what is wrong with them.
class TraceBuilder {
 public:
  static constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);

  TraceBuilder(TraceText& text, const TraceOptions& options, std::int32_t block_tokens);

  /// Whether the length may be; complains about it otherwise.
  bool check_tokens(std::int64_t tokens, const char* at, std::string path);

  /// The LoRA adapter that a request asks for by name. Complains about names that nobody has.
  bool find_adapter(const std::string& name, const char* at, const std::string& path,
                    std::uint32_t& adapter);
  /// Whether images count; otherwise they are left out.
  bool takes_images() const { return options_.model != nullptr; }
  /// What a picture is to the model. Complains where that takes no pictures.
  bool size_image(const Picture& picture, const char* at, const std::string& path, ImageSize& size);

  /// Takes a request whose prompt has these blocks. A request without a predecessor must not come
  /// before the one before it. Complains and returns kNone where it cannot be.
  std::uint32_t add(const TraceRequest& request, std::span<const kvbm::BlockHash> blocks,
                    std::uint32_t session);
  std::uint32_t add_after(std::uint32_t before, Duration delay, const TraceRequest& request,
                          std::span<const kvbm::BlockHash> blocks, std::uint32_t session);
  /// One more request that it waits for.
  void also_after(std::uint32_t before, Duration delay, std::uint32_t after);
  void set_priority(std::uint32_t request, int priority);

  std::uint32_t new_session() { return next_session_++; }
  std::size_t size() const { return out_.requests.size(); }
  /// That lines have arrivals of their own.
  void has_times() { has_times_ = true; }

  /// The workload, with what the traffic wants of it. Throws what was complained about.
  Workload finish();

 private:
  bool fits(const TraceRequest& request);
  std::uint32_t push(const TraceRequest& request, std::span<const kvbm::BlockHash> blocks,
                     std::uint32_t session);
  void use_adapter(std::uint32_t adapter);

  TraceText& text_;
  const TraceOptions& options_;
  Workload out_;
  std::uint32_t next_session_ = 0;
  SimTime last_arrival_{};
  bool has_times_ = false;
};

/// What the traffic wants of a trace: ticks spread, a limit, another speed, other arrivals.
/// `has_times`: its requests say when they come. Throws Error(bad_input) where they neither do nor
/// `traffic` says it for them.
void shape_trace(const TraceOptions& options, const std::string& name, bool has_times,
                 Workload& workload);

// Readers, one a form.
Workload read_mooncake(std::string_view text, const std::string& name);
Workload read_sessions(TraceText& text, const TraceOptions& options);
Workload read_azure(TraceText& text, const TraceOptions& options);
Workload read_burst_gpt(TraceText& text, const TraceOptions& options);
Workload read_aiperf(TraceText& text, const TraceOptions& options);
Workload read_aiperf_log(TraceText& text, const TraceOptions& options);
Workload read_weka(TraceText& text, const TraceOptions& options);
Workload read_weka_folder(const std::string& folder, const TraceOptions& options);
Workload read_sub_requests(TraceText& text, const TraceOptions& options);

/// Pairs of prompt and answer tokens with how often they occur.
struct LengthTable {
  struct Row {
    std::int64_t input_tokens = 0;
    std::int64_t output_tokens = 0;
    double up_to = 0;  ///< weight of this row and those before
  };
  std::vector<Row> rows;
};
/// Those of a trace of any form, or of a CSV table of lengths with an optional column count.
LengthTable load_lengths(const std::string& path);
LengthTable parse_lengths(std::string_view text, const std::string& name);
LengthTable read_length_table(TraceText& text);

}  // namespace dyn::sim
