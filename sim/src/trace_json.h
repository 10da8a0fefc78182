#pragma once

#include <simdjson.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dyn/kvbm/block_hash.h"
#include "trace_text.h"

namespace dyn::sim {

namespace ondemand = simdjson::ondemand;

/// Reads JSON within the text of a trace, which must have SIMDJSON_PADDING bytes after its end.
/// What reads a value returns false where it has complained; the rest of the document cannot be
/// read then.
class TraceJson {
 public:
  explicit TraceJson(TraceText& text) : text_(text) {}

  /// Reads one object, which must be all of `json`, a part of the text: read(key, value) for each
  /// field, until it says false. False with a complaint if it is not JSON.
  template <class Read>
  bool document(std::string_view json, const std::string& expected, Read read) {
    const std::size_t before = text_.errors();
    try {
      const char* const end = text_.text().data() + text_.text().size();
      ondemand::document document = parser_.iterate(simdjson::padded_string_view(
          json.data(), json.size(),
          static_cast<std::size_t>(end - json.data()) + simdjson::SIMDJSON_PADDING));
      ondemand::object object = document.get_object();
      fields(object, read);
      const char* rest = nullptr;
      if (text_.errors() == before && document.current_location().get(rest) == simdjson::SUCCESS &&
          rest < json.data() + json.size()) {
        text_.complain(rest, {}, "more than one JSON value");
      }
    } catch (const simdjson::simdjson_error& error) {
      if (text_.errors() == before) {
        text_.complain(json.data(), {}, std::string("not a JSON object: ") + error.what(),
                       expected);
      }
    }
    return text_.errors() == before;
  }

  template <class Read>
  static bool fields(ondemand::object object, Read read) {
    for (auto field : object) {
      const std::string_view key = field.unescaped_key();
      if (!read(key, field.value().value())) {
        return false;
      }
    }
    return true;
  }

  /// The object of a value; false with a complaint if it is none.
  template <class Read>
  bool object(ondemand::value value, const std::string& path, Read read) {
    const char* const at = where(value);
    ondemand::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) {
      text_.complain(at, path, "expected an object");
      return false;
    }
    return fields(object, read);
  }

  /// The items of a list: read(index, value), until it says false.
  template <class Read>
  bool list(ondemand::value value, const std::string& path, Read read) {
    const char* const at = where(value);
    ondemand::array array;
    if (value.get_array().get(array) != simdjson::SUCCESS) {
      text_.complain(at, path, "expected a list");
      return false;
    }
    std::size_t index = 0;
    for (auto item : array) {
      if (!read(index++, item.value())) {
        return false;
      }
    }
    return true;
  }

  static const char* where(ondemand::value value) { return value.raw_json_token().data(); }
  static bool is_null(ondemand::value value) { return value.is_null(); }

  bool whole(ondemand::value value, const std::string& path, std::int64_t& out);
  /// A number in [low, high].
  bool number(ondemand::value value, const std::string& path, double low, double high, double& out);
  bool text(ondemand::value value, const std::string& path, std::string& out);
  /// Text, or a number as it is written: an id.
  bool name(ondemand::value value, const std::string& path, std::string& out);
  /// A list of block ids, each chained to the one before.
  bool hashes(ondemand::value value, const std::string& path, kvbm::BlockHash root,
              std::vector<kvbm::BlockHash>& out);

 private:
  TraceText& text_;
  ondemand::parser parser_;
};

}  // namespace dyn::sim
