#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dyn::serve {

// How a prompt's KV gets from one vLLM engine to another (its NIXL connector): the prefill engine
// is asked for one token, with kv_transfer_params that keep the KV there; those of its answer tell
// the decode engine where to fetch it. Source: vLLM, docs/features/nixl_connector_usage.md and
// vllm/distributed/kv_transfer/kv_connector/v1/nixl_connector.py.

/// The body of a request as the prefill engine gets it: one token, no stream, its KV kept. `body`
/// is a JSON object.
std::string prefill_body(std::string_view body);

/// The body as the decode engine gets it: the client's, byte for byte, with the prefill engine's
/// kv_transfer_params put before its first field. `body` is a JSON object that has no field of
/// that name and at least one other.
std::string decode_body(std::string_view body, std::string_view kv_transfer);

/// What the prefill engine said.
struct PrefillAnswer {
  /// Its kv_transfer_params, as JSON. Empty: it kept no KV, and the decode engine is to compute
  /// the prompt itself.
  std::string kv_transfer;
  std::int64_t cached_tokens = 0;  ///< of the prompt, found in the prefill engine's cache
};

/// Reads the prefill engine's answer. Nothing where it is none: no JSON, or cut off at its one
/// token without kv_transfer_params, as an engine without a KV connector does. An answer that
/// ended by itself with the first token has none either, but is well: vLLM keeps the KV only of
/// what was cut off.
std::optional<PrefillAnswer> read_prefill_answer(std::string_view body);

}  // namespace dyn::serve
