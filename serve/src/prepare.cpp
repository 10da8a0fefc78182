#include "prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "openai_response.h"

namespace dyn::serve {
namespace {

constexpr std::string_view kChat = "/v1/chat/completions";
constexpr std::string_view kCompletions = "/v1/completions";
constexpr std::array<std::string_view, 4> kReadable{"/v1/models", "/health", "/live", "/metrics"};

PlainAnswer error_answer(const ApiError& error) {
  return {error.status, "application/json", error.to_json(), {}};
}

std::vector<kvbm::BlockHash> block_hashes(std::span<const std::uint32_t> tokens, int block_size,
                                          const std::string& salt) {
  const auto size = static_cast<std::size_t>(block_size);
  std::vector<kvbm::BlockHash> hashes;
  hashes.reserve(tokens.size() / size);
  kvbm::BlockHash parent = kvbm::chain_root(salt);
  for (; tokens.size() >= size; tokens = tokens.subspan(size)) {
    parent = kvbm::chain(parent, tokens.first(size));
    hashes.push_back(parent);
  }
  return hashes;
}

/// A number for a conversation's name; never 0.
std::uint64_t session_of(const HttpRequest& http, const CompletionRequest& request) {
  const std::string& name = http.session.empty() ? request.session : http.session;
  return name.empty() ? 0 : static_cast<std::uint64_t>(kvbm::chain_root(name)) | 1;
}

/// Requests to vLLM are the more urgent the lower their number, to other engines the higher.
int priority_of(const CompletionRequest& request, const PoolSpec& pool) {
  const auto stated = static_cast<int>(request.priority);
  return pool.config.kind == "vllm" ? -stated : stated;
}

PlainAnswer health(const ServerState& state) {
  if (state.draining) {
    return {503, "application/json", "{\"status\":\"draining\"}", {}};
  }
  if (!state.fleet->any_available()) {
    return {503, "application/json", "{\"status\":\"no engine is available\"}", {}};
  }
  return {200, "application/json", "{\"status\":\"ok\"}", {}};
}

}  // namespace

std::optional<Endpoint> generating_endpoint(const HttpRequest& http) {
  if (http.method == "POST" && http.path == kChat) {
    return Endpoint::chat;
  }
  if (http.method == "POST" && http.path == kCompletions) {
    return Endpoint::completions;
  }
  return std::nullopt;
}

std::string metrics_path(const std::string& path) {
  const bool known = path == kChat || path == kCompletions ||
                     std::find(kReadable.begin(), kReadable.end(), path) != kReadable.end();
  return known ? path : "other";
}

std::variant<Prepared, ApiError> prepare(ServerState& state, Endpoint endpoint, HttpRequest& http) {
  if (state.draining) {
    return unavailable("the server is shutting down", "shutting_down");
  }
  RequestRules rules;
  rules.max_depth = state.options.limits.json_depth;
  rules.relayed = state.fleet->relayed();
  rules.hands_over = rules.relayed && state.fleet->disaggregated();
  auto parsed = parse_request(endpoint, http.body, rules);
  if (auto* error = std::get_if<ApiError>(&parsed)) {
    return std::move(*error);
  }
  Prepared result;
  result.request = std::move(std::get<CompletionRequest>(parsed));
  const CompletionRequest& request = result.request;
  if (request.model != state.plan.model.name) {
    return model_not_found(request.model, state.plan.model.name);
  }
  const std::vector<std::uint32_t> tokens =
      request.prompt_is_tokens ? request.prompt_tokens : state.tokenizer->encode(request.prompt);
  auto job = std::make_shared<Job>();
  job->id = state.fleet->next_id();
  job->prompt_tokens = static_cast<std::int64_t>(tokens.size());
  const std::int64_t limit = state.max_model_len();
  const std::int64_t by_default =
      std::clamp(limit - job->prompt_tokens, std::int64_t{1}, state.options.default_output_tokens);
  job->max_output_tokens = request.max_tokens.value_or(std::max(by_default, request.min_tokens));
  // Only the engine itself can count the tokens of what is relayed.
  if (!rules.relayed && job->prompt_tokens + job->max_output_tokens > limit) {
    return context_length_exceeded(endpoint == Endpoint::chat ? "messages" : "prompt",
                                   job->prompt_tokens, job->max_output_tokens, limit);
  }
  job->blocks = block_hashes(tokens, state.fleet->block_size(state.fleet->entry_pool()),
                             state.plan.model.name);
  job->stream = request.stream;
  job->priority = priority_of(request, state.plan.pools.front());
  job->session = session_of(http, request);
  if (rules.relayed) {
    job->target = http.path;
    job->body = std::move(http.body);
    job->authorization = http.authorization;
    if (rules.hands_over) {
      job->request_id = fmt::format("dyn-{:x}-{}", state.instance, job->id.value());
    }
  }
  result.text_seed = static_cast<std::uint64_t>(kvbm::chain(kvbm::chain_root("text"), tokens));
  result.ticket = state.log.begin(tokens);
  result.job = std::move(job);
  return result;
}

PlainAnswer plain_answer(ServerState& state, const HttpRequest& http) {
  const bool readable = std::find(kReadable.begin(), kReadable.end(), http.path) != kReadable.end();
  const bool generating = http.path == kChat || http.path == kCompletions;
  const bool reads = http.method == "GET" || http.method == "HEAD";
  if (!readable && !generating) {
    return error_answer(
        {404, "there is no '" + http.path + "' here", "invalid_request_error", {}, "not_found", 0});
  }
  if (generating || !reads) {
    PlainAnswer answer = error_answer({405,
                                       "'" + http.path + "' does not take " + http.method,
                                       "invalid_request_error",
                                       {},
                                       "method_not_allowed",
                                       0});
    answer.allow = generating ? "POST" : "GET, HEAD";
    return answer;
  }
  if (http.path == "/health") {
    return health(state);
  }
  if (http.path == "/live") {
    return {200, "application/json", "{\"status\":\"ok\"}", {}};
  }
  if (http.path == "/metrics") {
    return {200,
            "text/plain; version=0.0.4; charset=utf-8",
            state.metrics.expose(state.fleet->snapshot()),
            {}};
  }
  return {200,
          "application/json",
          models_json(state.plan.model.name, state.created, state.max_model_len()),
          {}};
}

}  // namespace dyn::serve
