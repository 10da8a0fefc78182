// What requests of a trace ask for beside tokens: LoRA adapters by name, and pictures.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/sim/workload.h"
#include "trace_pictures.h"

namespace dyn::sim {
namespace {

const ModelSpec& vision_model() {
  static const ModelSpec model = find_model("Qwen/Qwen3-VL-8B-Instruct");
  return model;
}

TraceOptions options(const ModelSpec* model = nullptr) {
  TraceOptions out;
  out.traffic.concurrency = 2;
  out.block_tokens = 16;
  out.model = model;
  return out;
}

TraceOptions with_adapters() {
  TraceOptions out = options();
  out.names = ModelNames{{"base"}, {"support", "legal"}};
  return out;
}

std::string error_of(const std::string& text, const TraceOptions& how) {
  try {
    parse_trace(text, "t", how);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

std::string base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = i; k < i + 3; ++k) {
      bits = bits << 8 | (k < bytes.size() ? static_cast<unsigned char>(bytes[k]) : 0U);
    }
    for (int k = 3; k >= 0; --k) {
      const std::size_t place = i + static_cast<std::size_t>(3 - k);
      out += place > bytes.size() ? '=' : kDigits[bits >> (6 * k) & 63U];
    }
  }
  return out;
}

std::string number(std::uint32_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) {
    out += static_cast<char>(value >> (8 * i) & 0xFFU);
  }
  return out;
}

std::string png(std::uint32_t width, std::uint32_t height, const std::string& rest = {}) {
  return "data:image/png;base64," + base64(std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16) +
                                           number(width, 4) + number(height, 4) + rest);
}

/// With a comment before the frame.
std::string jpeg(std::uint32_t width, std::uint32_t height) {
  return "data:image/jpeg;base64," +
         base64("\xFF\xD8\xFF\xFE" + number(7, 2) + "hello\xFF\xFF\xC2" + number(17, 2) + '\x08' +
                number(height, 2) + number(width, 2) + std::string(10, '\x01'));
}

TEST_CASE("the header of a PNG or JPEG in a data URL says how large it is") {
  for (const auto& [width, height] : {std::pair(1U, 1U), {640U, 480U}, {65535U, 3U}}) {
    for (const std::string& url : {png(width, height), jpeg(width, height)}) {
      const Picture picture = picture_of(url);
      INFO(url);
      CHECK(picture.problem == nullptr);
      CHECK(picture.width == static_cast<int>(width));
      CHECK(picture.height == static_cast<int>(height));
    }
  }
  CHECK(picture_of(png(8, 8)).id == picture_of(png(8, 8)).id);
  CHECK(picture_of(png(8, 8)).id != picture_of(png(8, 8, "other")).id);
}

TEST_CASE("of other references only the identity is known, and broken ones are said to be so") {
  for (const char* other :
       {"https://a/b.png", "data:image/webp;base64,AAAA", "b.jpg", "data:", ""}) {
    CHECK(picture_of(other).width == 0);
    CHECK(picture_of(other).problem == nullptr);
  }
  CHECK(picture_of("https://a/b.png").id != picture_of("https://a/c.png").id);
  const std::string good = png(640, 480);
  const std::string frame = jpeg(640, 480);
  for (std::size_t length = 22; length < good.size() - 1; ++length) {
    const Picture picture = picture_of(good.substr(0, length));
    CHECK((picture.problem != nullptr || picture.height == 480));
  }
  for (std::size_t length = 23; length < frame.size(); ++length) {
    const Picture picture = picture_of(frame.substr(0, length));
    CHECK((picture.problem != nullptr || picture.width == 640));
  }
  CHECK(picture_of("data:image/png,plain").problem != nullptr);
  CHECK(picture_of(png(0, 5)).problem != nullptr);
  CHECK(picture_of(png(100'001, 5)).problem != nullptr);
}

/// A payload whose text has 64 bytes, 16 tokens, on either side of a picture.
std::string payload(const std::string& url, const std::string& behind = std::string(64, 'b')) {
  return R"({"max_tokens": 4, "messages": [{"role": "user", "content": [{"type": "text", "text": ")" +
         std::string(64, 'a') + R"("}, {"type": "image_url", "image_url": {"url": ")" + url +
         R"("}}, {"type": "text", "text": ")" + behind + R"("}]}]})";
}

std::string inputs(const std::vector<std::string>& payloads) {
  std::string out = R"({"data": [)";
  for (const std::string& one : payloads) {
    out += (&one == payloads.data() ? "" : ", ") + (R"({"session_id": "s", "payloads": [)" + one) +
           "]}";
  }
  return out + "]}";
}

TEST_CASE("pictures between the text are tokens of the model, where they stand") {
  const Workload load =
      parse_trace(inputs({payload(png(320, 320)), payload(jpeg(640, 320)), payload("b.png")}), "t",
                  options(&vision_model()));
  REQUIRE(load.requests.size() == 3);
  const std::int64_t small = vision_model().vision->tokens(320, 320);
  CHECK(load.images_of(0)[0].start == 16);
  CHECK(load.images_of(0)[0].size.tokens == small);
  CHECK(load.requests[0].input_tokens == 32 + small);
  CHECK(load.images_of(1)[0].size.tokens == vision_model().vision->tokens(640, 320));
  CHECK(load.images_of(2)[0].size.tokens == vision_model().vision->tokens(1024, 1024));
  TraceOptions sized = options(&vision_model());
  sized.traffic.images.emplace();
  sized.traffic.images->width = 64;
  sized.traffic.images->height = 96;
  const Workload own = parse_trace(inputs({payload(png(320, 320)), payload("b.png")}), "t", sized);
  CHECK(own.images_of(0)[0].size.tokens == small);
  CHECK(own.images_of(1)[0].size.tokens == vision_model().vision->tokens(64, 96));
  sized.traffic.images->tokens = 7;
  const Workload fixed = parse_trace(inputs({payload(png(320, 320))}), "t", sized);
  CHECK(fixed.requests[0].input_tokens == 32 + 7);
}

TEST_CASE("prompts share blocks up to the first picture or text that differs") {
  const std::string same = png(320, 320), other = png(320, 320, "x");
  const Workload load = parse_trace(
      inputs({payload(same), payload(same), payload(other), payload(same, std::string(64, 'c'))}),
      "t", options(&vision_model()));
  const auto shared = [&](std::uint32_t a, std::uint32_t b) {
    std::uint32_t i = 0;
    while (i < load.requests[a].block_count && load.blocks[load.requests[a].first_block + i] ==
                                                   load.blocks[load.requests[b].first_block + i]) {
      ++i;
    }
    return i;
  };
  const auto picture = static_cast<std::uint32_t>(vision_model().vision->tokens(320, 320));
  CHECK(shared(0, 1) == load.requests[0].block_count);
  CHECK(shared(0, 2) == 1);
  CHECK(shared(0, 3) == (16 + picture) / 16);
  CHECK(load.images_of(0)[0].id == load.images_of(3)[0].id);
  CHECK(load.images_of(0)[0].id != load.images_of(2)[0].id);
}

TEST_CASE("pictures of a turn come after its text, and stay in the turns that follow") {
  const std::string line =
      R"({"session_id": "a", "turns": [{"images": [")" + png(64, 64) +
      R"(", {"contents": ["b.png"]}], "text": "12345678", "output_length": 5},)"
      R"( {"text": "1234", "image": "c.png", "output_length": 5}]})";
  TraceOptions how = options(&vision_model());
  how.traffic.images.emplace();
  how.traffic.images->tokens = 10;
  const Workload load = parse_trace(line, "t", how);
  REQUIRE(load.images_of(0).size() == 2);
  CHECK(load.images_of(0)[0].start == 2);
  CHECK(load.images_of(0)[1].start == 12);
  CHECK(load.requests[0].input_tokens == 22);
  REQUIRE(load.images_of(1).size() == 3);
  CHECK(load.images_of(1)[1] == load.images_of(0)[1]);
  CHECK(load.images_of(1)[2].start == 22 + 5 + 1);
  CHECK(load.requests[1].input_tokens == 22 + 5 + 11);
}

TEST_CASE("names of pictures say which are the same, and stand for those that were sent before") {
  const std::string lines =
      R"({"text": "a", "images": ["x.png", "y.png"], "image_uuids": ["one", "two"], "output_length": 5})"
      "\n"
      R"({"text": "a", "image_uuids": ["two"], "output_length": 5})";
  const Workload load = parse_trace(lines, "t", options(&vision_model()));
  REQUIRE(load.images_of(1).size() == 1);
  CHECK(load.images_of(1)[0].id == load.images_of(0)[1].id);
  CHECK(load.images_of(0)[0].id != load.images_of(0)[1].id);
  CHECK_THAT(
      error_of(R"({"images": ["x"], "image_uuids": ["a", "b"], "output_length": 5})",
               options(&vision_model())),
      Catch::Matchers::Contains("t:1:34: error: /image_uuids: expected as many as there are"));
}

TEST_CASE("a picture that cannot be is an error that says where") {
  const std::string line =
      R"({"text": "a", "image": "data:image/png;base64,AAAA", "output_length": 5})";
  CHECK_THAT(error_of(line, options(&vision_model())),
             Catch::Matchers::Contains("t:1:24: error: /image: not a PNG in base64"));
  const ModelSpec blind = find_model("Qwen/Qwen3-8B");
  CHECK_THAT(error_of(R"({"image": "a.png", "text": "a", "output_length": 5})", options(&blind)),
             Catch::Matchers::Contains(
                 "t:1:11: error: /image: no vision encoder of 'Qwen/Qwen3-8B' is known"));
  // Lengths alone are asked for.
  CHECK(parse_trace(R"({"image": "a.png", "text": "abcd", "output_length": 5})", "t", options())
            .requests[0]
            .input_tokens == 1);
}

TEST_CASE(
    "a request uses the adapter that its model names, and shares blocks with its like alone") {
  const auto ask = [](const std::string& name) {
    return R"({"model": ")" + name + R"(", "max_tokens": 4, "prompt": ")" + std::string(128, 'a') +
           "\"}";
  };
  const Workload load =
      parse_trace(inputs({ask("base"), ask("legal"), ask("support"), ask("legal"), ask("base")}),
                  "t", with_adapters());
  CHECK(load.adapters == std::vector<std::uint32_t>{0, 2, 1, 2, 0});
  const auto block = [&](std::uint32_t i) { return load.blocks[load.requests[i].first_block]; };
  CHECK(block(0) == block(4));
  CHECK(block(1) == block(3));
  CHECK(block(0) != block(1));
  CHECK(block(1) != block(2));
  CHECK_THAT(error_of(inputs({ask("base"), ask("leagl")}), with_adapters()),
             Catch::Matchers::Contains("/data/1/payloads/0/model: neither the model nor an "
                                       "adapter: 'leagl' (did you mean 'legal'?)"));
  // Where engines have no slots the trace may be of any model.
  CHECK(parse_trace(inputs({ask("any")}), "t", options()).adapters.empty());
}

TEST_CASE("what is merged into a request may name its adapter") {
  const Workload turn =
      parse_trace(R"({"text": "a", "output_length": 5, "extra": {"model": "legal", "top_p": 1}})",
                  "t", with_adapters());
  CHECK(turn.adapters == std::vector<std::uint32_t>{2});
  const std::string line =
      R"({"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [1])";
  const Workload lines = parse_trace(line + "}\n" + line + R"(, "extra": {"model": "support"}})",
                                     "t", with_adapters());
  CHECK(lines.adapters == std::vector<std::uint32_t>{0, 1});
  CHECK(lines.blocks[0] != lines.blocks[1]);
  CHECK_THAT(error_of(line + R"(, "extra": {"model": "nobody"}})", with_adapters()),
             Catch::Matchers::Contains("t:1:93: error: /extra/model: neither"));
}

TEST_CASE("sessions under way and traces cut short keep what their requests ask for") {
  std::string line = R"({"session_id": "a", "turns": [)";
  for (int i = 0; i < 8; ++i) {
    line += (i == 0 ? "" : ", ") +
            std::string(R"({"text": "1234", "output_length": 5, "image": ")") + std::to_string(i) +
            (i % 2 == 0 ? R"(", "model": "legal"})" : R"("})");
  }
  TraceOptions how = with_adapters();
  how.model = &vision_model();
  how.traffic.images.emplace();
  how.traffic.images->tokens = 10;
  how.traffic.sessions_from = how.traffic.sessions_to = 0.5;
  how.traffic.limit = 3;
  const Workload load = parse_trace(line + "]}", "t", how);
  REQUIRE(load.requests.size() == 3);
  CHECK(load.adapters == std::vector<std::uint32_t>{2, 0, 2});
  CHECK(load.images_of(0).size() == 5);
  CHECK(load.images_of(2).size() == 7);
}

/// A folder that is there while this is.
struct Folder {
  explicit Folder(const char* name)
      : path(std::filesystem::temp_directory_path() / ("dyn_" + std::string(name))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path / "more");
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const char* name, const std::string& text) const {
    std::ofstream(path / name) << text;
  }
  std::filesystem::path path;
};

std::string session(int tokens) {
  return "{\"block_size\": 64,\n \"requests\": [{\"t\": 0, \"in\": " + std::to_string(tokens) +
         ", \"out\": 5, \"hash_ids\": [1]}]}";
}

TEST_CASE("a folder of agentic sessions is read by name, a file a session or a line one") {
  const Folder folder("weka_folder");
  folder.write("b.json", session(20));
  folder.write("a.json", session(10));
  folder.write("more/c.jsonl", R"({"block_size": 64, "requests": [{"t": 0, "in": 30, "out": 5}]})"
                               "\n"
                               R"({"block_size": 64, "requests": [{"t": 0, "in": 40, "out": 5}]})");
  folder.write("notes.txt", "not a trace");
  const Workload load = load_trace(folder.path.string(), options());
  REQUIRE(load.requests.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(load.requests[i].input_tokens == static_cast<std::int64_t>(10 * (i + 1)));
  }
  CHECK(load.blocks[0] != load.blocks[1]);  // ids are a session's own
  CHECK(trace_files(folder.path.string()).size() == 3);
}

TEST_CASE("what is wrong in a folder is said of its files, all at once") {
  const Folder folder("weka_errors");
  folder.write("a.json", session(0));
  folder.write("b.json", "[1]");
  folder.write("more/c.json", "{\"block_size\": 16, \"requests\": []}");
  std::string told;
  try {
    load_trace(folder.path.string(), options());
  } catch (const Error& error) {
    told = error.what();
  }
  using Catch::Matchers::Contains;
  CHECK_THAT(told, Contains((folder.path / "a.json").string() + ":2:30: error: /requests/0/in"));
  CHECK_THAT(told, Contains((folder.path / "b.json").string() + ":1:1: error: not a JSON object"));
  CHECK_THAT(told, Contains((folder.path / "more/c.json").string() + ":1:16: error: /block_size"));
  const Folder empty("weka_empty");
  try {
    load_trace(empty.path.string(), options());
  } catch (const Error& error) {
    told = error.what();
  }
  CHECK_THAT(told, Contains("the folder holds no .json or .jsonl file"));
  TraceOptions azure = options();
  azure.traffic.format = TraceFormat::azure;
  CHECK_THROWS_AS(load_trace(folder.path.string(), azure), Error);
}

}  // namespace
}  // namespace dyn::sim
