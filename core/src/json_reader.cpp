#include <simdjson.h>

#include <string>
#include <string_view>
#include <utility>

#include "document_impl.h"

namespace dyn {
namespace {

namespace ondemand = simdjson::ondemand;

/// simdjson is some thirty times faster than yaml-cpp, which matters for profiles and plans; it
/// walks strict JSON only. Every failure is left to the YAML reader, which knows where it is.
class JsonWalk {
 public:
  JsonWalk(TreeBuilder& builder, const Source& source, const char* base)
      : builder_(builder), source_(source), base_(base) {}

  bool value(ondemand::value value) {
    const std::string_view token = value.raw_json_token();
    ondemand::json_type type{};
    if (value.type().get(type) != simdjson::SUCCESS) {
      return false;
    }
    const Mark mark = mark_of(token.data());
    switch (type) {
      case ondemand::json_type::array:
        return list(value, mark);
      case ondemand::json_type::object:
        return object(value, mark);
      case ondemand::json_type::string: {
        std::string_view text;
        if (value.get_string().get(text) != simdjson::SUCCESS) {
          return false;
        }
        builder_.scalar(NodeKind::text, std::string(text), true, mark);
        return true;
      }
      default:
        return plain(value, token, mark);
    }
  }

 private:
  Mark mark_of(const char* at) const {
    return source_.mark_at(static_cast<std::size_t>(at - base_));
  }

  /// A number, true, false or null. The token runs to the next one, blanks included.
  bool plain(ondemand::value& value, std::string_view token, Mark mark) {
    token = token.substr(0, token.find_last_not_of(" \t\r\n") + 1);
    const NodeKind kind = classify_plain(token);
    const bool null = kind == NodeKind::null;
    if (kind == NodeKind::text || (null && token != "null")) {
      return false;
    }
    // Takes the token, so that the iterator moves on.
    bool is_null = false;
    bool truth = false;
    double number = 0;
    const auto error = null                        ? value.is_null().get(is_null)
                       : kind == NodeKind::boolean ? value.get_bool().get(truth)
                                                   : value.get_double().get(number);
    if (error != simdjson::SUCCESS) {
      return false;
    }
    builder_.scalar(kind, null ? std::string() : std::string(token), false, mark);
    return true;
  }

  bool list(ondemand::value& value, Mark mark) {
    ondemand::array array;
    if (value.get_array().get(array) != simdjson::SUCCESS) {
      return false;
    }
    builder_.begin(NodeKind::list, mark);
    for (auto item : array) {
      ondemand::value next;
      if (std::move(item).get(next) != simdjson::SUCCESS || !this->value(next)) {
        return false;
      }
    }
    builder_.end();
    return true;
  }

  bool object(ondemand::value& value, Mark mark) {
    ondemand::object members;
    if (value.get_object().get(members) != simdjson::SUCCESS) {
      return false;
    }
    builder_.begin(NodeKind::object, mark);
    for (simdjson::simdjson_result<ondemand::field> member : members) {
      ondemand::field field;
      if (std::move(member).get(field) != simdjson::SUCCESS) {
        return false;
      }
      const char* raw = field.key().raw();  // behind the opening quote
      std::string_view key;
      if (field.unescaped_key().get(key) != simdjson::SUCCESS) {
        return false;
      }
      builder_.key(std::string(key), mark_of(raw - 1));
      if (!this->value(field.value())) {
        return false;
      }
    }
    builder_.end();
    return true;
  }

  TreeBuilder& builder_;
  const Source& source_;
  const char* base_;
};

}  // namespace

NodeData* parse_json(Document::Impl& document, std::uint32_t index) {
  const Source& source = document.sources[index];
  const std::size_t nodes_before = document.nodes.size();
  const simdjson::padded_string padded(source.text);
  ondemand::parser parser;
  ondemand::document json;
  ondemand::value root;
  TreeBuilder builder(document, index);
  JsonWalk walk(builder, source, padded.data());
  const bool whole = parser.iterate(padded).get(json) == simdjson::SUCCESS &&
                     json.get_value().get(root) == simdjson::SUCCESS && walk.value(root) &&
                     json.current_location().error() == simdjson::OUT_OF_BOUNDS;
  if (whole) {
    return builder.finish();
  }
  document.nodes.resize(nodes_before);
  return nullptr;
}

}  // namespace dyn
