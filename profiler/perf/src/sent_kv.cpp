#include "dyn/perf/sent_kv.h"

#include <cmath>

namespace dyn::perf {

namespace {

Bytes whole(double bytes) {
  return Bytes(static_cast<std::int64_t>(std::ceil(bytes)));
}

}  // namespace

SentKv SentKv::scaled(Bytes bytes, Bytes own) const {
  if (own.count() <= 0) {
    return {bytes, Bytes(0), 0, Bytes(0)};
  }
  const auto part = [&](Bytes of) { return Bytes(bytes.count() * of.count() / own.count()); };
  return {part(per_token), part(window_per_token), window, part(per_sequence)};
}

SentKv sent_kv(const ModelSpec& model, Precision kv, int tensor, bool keeps_windows) {
  SentKv sent;
  sent.per_token =
      std::max(model.kv_bytes_per_token(kv, tensor) * tensor, model.kv_bytes_per_token(kv, 1));
  sent.per_sequence = std::max(model.state_bytes(tensor) * tensor, model.state_bytes(1));
  const AttentionSpec& attention = model.attention;
  if (attention.sliding_window <= 0 || attention.sliding_layers <= 0) {
    return sent;
  }
  const double layer =
      std::max(model.kv_bytes_per_layer(kv, tensor) * tensor, model.kv_bytes_per_layer(kv, 1));
  const Bytes windows = whole(attention.sliding_layers * layer);
  // Where all layers slide per_token has them already, and else none of them.
  const bool counted = model.whole_context_layers() == model.attention_layers();
  if (keeps_windows) {
    sent.per_token += counted ? Bytes(0) : windows;
    return sent;
  }
  sent.per_token -= counted ? windows : Bytes(0);
  sent.window_per_token = windows;
  sent.window = attention.sliding_window;
  return sent;
}

Bytes stored_per_token(const ModelSpec& model, Precision kv, bool keeps_windows) {
  const Bytes sent = sent_kv(model, kv, 1, keeps_windows).per_token;
  return sent.count() > 0 ? sent : model.kv_bytes_per_token(kv, 1);
}

}  // namespace dyn::perf
