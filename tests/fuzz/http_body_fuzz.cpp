#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <variant>

#include "http_text.h"
#include "openai_request.h"
#include "sse_scanner.h"

// Whatever a client posts is a request or an error of status 400 whose text is valid JSON, and
// whatever an engine streams is counted without harm.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dyn::serve;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const Endpoint endpoint : {Endpoint::chat, Endpoint::completions}) {
    for (const bool relayed : {false, true}) {
      RequestRules rules;
      rules.relayed = relayed;
      const auto result = parse_request(endpoint, bytes, rules);
      if (const auto* error = std::get_if<ApiError>(&result)) {
        if (error->status != 400 || error->to_json().empty()) {
          std::abort();
        }
      } else if (const auto& request = std::get<CompletionRequest>(result);
                 request.stop.size() > 4 || (request.max_tokens && *request.max_tokens < 1)) {
        std::abort();
      }
    }
  }
  SseScanner whole(false);
  whole.push(bytes);
  whole.finish();
  SseScanner stream(true);
  stream.push(bytes);
  SseScanner pieces(true);
  for (std::size_t i = 0; i < size; i += 3) {
    pieces.push(bytes.substr(i, 3));
  }
  if (pieces.tokens() != stream.tokens() || pieces.done() != stream.done()) {
    std::abort();
  }
  parse_url(bytes);
  return 0;
}
