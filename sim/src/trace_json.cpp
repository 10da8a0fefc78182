#include "trace_json.h"

#include <fmt/format.h>

namespace dyn::sim {

bool TraceJson::whole(ondemand::value value, const std::string& path, std::int64_t& out) {
  const char* const at = where(value);
  if (value.get_int64().get(out) != simdjson::SUCCESS) {
    text_.complain(at, path, "expected a whole number");
    return false;
  }
  return true;
}

bool TraceJson::number(ondemand::value value, const std::string& path, double low, double high,
                       double& out) {
  const char* const at = where(value);
  if (value.get_double().get(out) != simdjson::SUCCESS) {
    text_.complain(at, path, "expected a number");
    return false;
  }
  if (!(out >= low && out <= high)) {
    text_.complain(at, path, fmt::format("expected {} to {}, got {}", low, high, out));
    return false;
  }
  return true;
}

bool TraceJson::text(ondemand::value value, const std::string& path, std::string& out) {
  const char* const at = where(value);
  std::string_view view;
  if (value.get_string().get(view) != simdjson::SUCCESS) {
    text_.complain(at, path, "expected text");
    return false;
  }
  out = view;
  return true;
}

bool TraceJson::name(ondemand::value value, const std::string& path, std::string& out) {
  if (value.type().value() == ondemand::json_type::string) {
    return text(value, path, out);
  }
  std::int64_t number = 0;
  if (!whole(value, path, number)) {
    return false;
  }
  out = std::to_string(number);
  return true;
}

bool TraceJson::hashes(ondemand::value value, const std::string& path, kvbm::BlockHash root,
                       std::vector<kvbm::BlockHash>& out) {
  kvbm::BlockHash hash = root;
  return list(value, path, [&](std::size_t index, ondemand::value item) {
    const char* const at = where(item);
    std::uint64_t id = 0;
    if (item.get_uint64().get(id) != simdjson::SUCCESS) {
      text_.complain(at, path, fmt::format("block id {} is not a whole number >= 0", index + 1));
      return false;
    }
    hash = kvbm::chain(hash, id);
    out.push_back(hash);
    return true;
  });
}

}  // namespace dyn::sim
