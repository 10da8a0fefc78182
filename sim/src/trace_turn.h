#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trace_builder.h"
#include "trace_json.h"

namespace dyn::sim {

/// One request in AIPerf's inputs: its text, its pictures and what is said about it.
struct Turn {
  struct Image {
    std::size_t offset = 0;  ///< bytes of the text before it
    policy::ImageId id = 0;
    ImageSize size;
  };
  const char* at = nullptr;
  std::string path;
  std::string text;
  std::vector<Image> images;
  std::vector<policy::ImageId> image_ids;  ///< image_uuids
  const char* image_ids_at = nullptr;
  std::uint32_t adapter = 0;
  std::int64_t output_tokens = 0;
  const char* time_at = nullptr;
  SimTime time{};
  Duration delay{0};
};

/// Reads what a turn is made of: the fields of an OpenAI request as it is sent (payloads), or those
/// of AIPerf's single_turn and multi_turn lines. What reads returns false where it has complained.
class TurnReader {
 public:
  TurnReader(TraceText& text, TraceJson& json, TraceBuilder& out)
      : text_(text), json_(json), out_(out) {}

  /// A list of payloads.
  bool read_payloads(ondemand::value value, const std::string& path, std::vector<Turn>& turns);
  /// A list of turns.
  bool read_turns(ondemand::value value, const std::string& path, std::vector<Turn>& turns);
  /// A field of a line or of one of its turns.
  bool read_turn_field(std::string_view key, ondemand::value value, Turn& turn);
  /// Puts the pictures that fields of their own list behind the text, as AIPerf sends them.
  bool finish(Turn& turn);

 private:
  using ReadField = bool (TurnReader::*)(std::string_view, ondemand::value, Turn&);
  bool read_list(ondemand::value value, const std::string& path, ReadField read_field,
                 std::vector<Turn>& turns);
  bool read_payload_field(std::string_view key, ondemand::value value, Turn& turn);
  bool read_model(ondemand::value value, const std::string& path, Turn& turn);
  bool read_text(ondemand::value value, Turn& turn);
  bool read_images(ondemand::value value, const std::string& path, Turn& turn);
  bool read_ids(ondemand::value value, Turn& turn);
  bool add_image(ondemand::value value, const std::string& path, std::size_t offset, Turn& turn);

  TraceText& text_;
  TraceJson& json_;
  TraceBuilder& out_;
};

}  // namespace dyn::sim
