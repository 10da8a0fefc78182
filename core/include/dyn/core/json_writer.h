#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dyn {

/// Receives a value piece by piece, as JSON has them.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void null() = 0;
  virtual void boolean(bool value) = 0;
  virtual void integer(std::int64_t value) = 0;
  virtual void whole(std::uint64_t value) = 0;
  virtual void number(double value) = 0;
  virtual void text(std::string_view value) = 0;
  virtual void begin_object() = 0;
  virtual void key(std::string_view key) = 0;
  virtual void end_object() = 0;
  virtual void begin_list() = 0;
  virtual void end_list() = 0;

  /// A member of an object whose value is text.
  void member(std::string_view name, std::string_view value) {
    key(name);
    text(value);
  }
};

/// Writes JSON in a fixed layout: two blanks a level, and whatever fits on a line of 100 columns
/// on one. Numbers are the shortest that read back the same; keys stay in the order written.
class JsonWriter final : public Writer {
 public:
  JsonWriter() = default;
  /// With `width` columns a line; SIZE_MAX puts all on one.
  explicit JsonWriter(std::size_t width) : width_(width) {}

  void null() override;
  void boolean(bool value) override;
  void integer(std::int64_t value) override;
  void whole(std::uint64_t value) override;
  /// Throws Error(bug) for what JSON cannot say: infinite or not a number.
  void number(double value) override;
  void text(std::string_view value) override;
  void begin_object() override;
  void key(std::string_view key) override;
  void end_object() override;
  void begin_list() override;
  void end_list() override;

  /// The whole text, without a newline at its end; what was begun must be ended.
  std::string finish();

 private:
  struct Open {
    bool object = false;
    std::string key;  ///< of the container within its parent, quoted, with colon
    std::vector<std::string> parts;
    std::size_t width = 0;  ///< of the parts on one line
    bool multiline = false;
  };
  void append(std::string part);
  void close(char begin, char end);

  std::vector<Open> open_;
  std::string key_;
  std::string result_;
  std::size_t width_ = 100;
};

/// `text` in double quotes with JSON's escapes.
std::string json_quote(std::string_view text);

}  // namespace dyn
