#include "trace_turn.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dyn::sim {
namespace {

constexpr double kMaxMillis = kMaxTraceSeconds * 1e3;
constexpr std::size_t kBehindText = std::numeric_limits<std::size_t>::max();

}  // namespace

bool TurnReader::read_payloads(ondemand::value value, const std::string& path,
                               std::vector<Turn>& turns) {
  return read_list(value, path, &TurnReader::read_payload_field, turns);
}

bool TurnReader::read_turns(ondemand::value value, const std::string& path,
                            std::vector<Turn>& turns) {
  return read_list(value, path, &TurnReader::read_turn_field, turns);
}

bool TurnReader::read_list(ondemand::value value, const std::string& path, ReadField read_field,
                           std::vector<Turn>& turns) {
  return json_.list(value, path, [&](std::size_t index, ondemand::value item) {
    Turn& turn = turns.emplace_back();
    turn.path = path + '/' + std::to_string(index);
    turn.at = TraceJson::where(item);
    return json_.object(item, turn.path, [&](std::string_view key, ondemand::value field) {
      return (this->*read_field)(key, field, turn);
    }) && finish(turn);
  });
}

bool TurnReader::read_payload_field(std::string_view key, ondemand::value value, Turn& turn) {
  if (value.is_null()) {
    return true;
  }
  const std::string path = turn.path + '/' + std::string(key);
  if (key == "max_tokens" || key == "max_completion_tokens" || key == "output_length") {
    const char* const at = TraceJson::where(value);
    return json_.whole(value, path, turn.output_tokens) &&
           out_.check_tokens(turn.output_tokens, at, path);
  }
  if (key == "model") {
    return read_model(value, path, turn);
  }
  if (key == "messages" || key == "prompt" || key == "input") {
    return read_text(value, turn);
  }
  return true;
}

bool TurnReader::read_model(ondemand::value value, const std::string& path, Turn& turn) {
  const char* const at = TraceJson::where(value);
  std::string name;
  return json_.text(value, path, name) &&
         (out_.find_adapter(name, at, path, turn.adapter) || !text_.full());
}

/// Adds all text in a value: a string, a list of them, or objects with content or text; and the
/// pictures between.
bool TurnReader::read_text(ondemand::value value, Turn& turn) {
  switch (value.type().value()) {
    case ondemand::json_type::string: {
      std::string text;
      const bool good = json_.text(value, turn.path, text);
      turn.text += text;
      return good;
    }
    case ondemand::json_type::array:
      return json_.list(value, turn.path,
                        [&](std::size_t, ondemand::value item) { return read_text(item, turn); });
    case ondemand::json_type::object:
      return json_.object(value, turn.path, [&](std::string_view key, ondemand::value field) {
        if (key == "image_url") {  // an object with the URL, or as the Responses API has it
          const std::string path = turn.path + "/image_url";
          if (field.type().value() != ondemand::json_type::object) {
            return add_image(field, path, turn.text.size(), turn);
          }
          return json_.object(field, path, [&](std::string_view name, ondemand::value url) {
            return name != "url" || add_image(url, path + "/url", turn.text.size(), turn);
          });
        }
        return (key != "content" && key != "contents" && key != "text") || field.is_null() ||
               read_text(field, turn);
      });
    default:
      return true;
  }
}

bool TurnReader::read_turn_field(std::string_view key, ondemand::value value, Turn& turn) {
  if (value.is_null()) {
    return true;
  }
  const std::string path = turn.path + '/' + std::string(key);
  if (key == "text" || key == "texts") {
    return read_text(value, turn);
  }
  if (key == "image" || key == "images") {
    return read_images(value, path, turn);
  }
  if (key == "image_uuids") {
    return read_ids(value, turn);
  }
  if (key == "extra") {  // merged into the request as it is sent
    return json_.object(value, path, [&](std::string_view name, ondemand::value field) {
      return name != "model" || read_model(field, path + "/model", turn);
    });
  }
  if (key != "timestamp" && key != "delay") {
    return read_payload_field(key, value, turn);
  }
  const char* const at = TraceJson::where(value);
  double millis = 0;
  if (!json_.number(value, path, 0, kMaxMillis, millis)) {
    return false;
  }
  const Duration time(std::llround(millis * 1e6));
  if (key == "delay") {
    turn.delay = time;
  } else {
    turn.time_at = at;
    turn.time = SimTime(time);
  }
  return true;
}

/// A reference, a list of them, or objects with contents.
bool TurnReader::read_images(ondemand::value value, const std::string& path, Turn& turn) {
  switch (value.type().value()) {
    case ondemand::json_type::array:
      return json_.list(value, path, [&](std::size_t index, ondemand::value item) {
        return read_images(item, path + '/' + std::to_string(index), turn);
      });
    case ondemand::json_type::object:
      return json_.object(value, path, [&](std::string_view key, ondemand::value field) {
        return key != "contents" || field.is_null() || read_images(field, path + "/contents", turn);
      });
    default:
      return add_image(value, path, kBehindText, turn);
  }
}

/// Names of pictures by which servers know them again (vLLM's multi_modal_uuids).
bool TurnReader::read_ids(ondemand::value value, Turn& turn) {
  const std::string path = turn.path + "/image_uuids";
  if (!out_.takes_images()) {
    return true;
  }
  turn.image_ids_at = TraceJson::where(value);
  return json_.list(value, path, [&](std::size_t, ondemand::value item) {
    std::string name;
    const bool good = json_.text(item, path, name);
    turn.image_ids.push_back(static_cast<policy::ImageId>(
        kvbm::chain(kvbm::chain_root("uuid"), static_cast<std::uint64_t>(kvbm::chain_root(name)))));
    return good;
  });
}

bool TurnReader::add_image(ondemand::value value, const std::string& path, std::size_t offset,
                           Turn& turn) {
  const char* const at = TraceJson::where(value);
  if (!out_.takes_images() || value.is_null()) {
    return true;
  }
  std::string reference;
  if (!json_.text(value, path, reference)) {
    return false;
  }
  const Picture picture = picture_of(reference);
  ImageSize size;
  const bool good = out_.size_image(picture, at, path, size);
  turn.images.push_back({offset, picture.id, size});
  return good || !text_.full();
}

bool TurnReader::finish(Turn& turn) {
  const auto own = [](const Turn::Image& image) { return image.offset == kBehindText; };
  const std::string path = turn.path + "/image_uuids";
  const auto listed = std::count_if(turn.images.begin(), turn.images.end(), own);
  if (listed == 0) {
    for (std::size_t i = 0; i < turn.image_ids.size(); ++i) {
      ImageSize size;
      if (!out_.size_image({}, turn.image_ids_at, path, size)) {
        return false;
      }
      turn.images.push_back({kBehindText, 0, size});
    }
  } else if (!turn.image_ids.empty() && static_cast<std::size_t>(listed) != turn.image_ids.size()) {
    text_.complain(turn.image_ids_at, path, "expected as many as there are images");
    return false;
  }
  auto id = turn.image_ids.begin();
  for (Turn::Image& image : turn.images) {
    if (own(image)) {
      image.offset = turn.text.size();
      image.id = id != turn.image_ids.end() ? *id++ : image.id;
    }
  }
  return true;
}

}  // namespace dyn::sim
