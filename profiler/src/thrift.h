#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dyn::profiler {

/// What the bytes of a Parquet file are not; the reader adds the file's name.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A walk over bytes that never leaves them.
class ByteCursor {
 public:
  explicit ByteCursor(std::string_view bytes) : bytes_(bytes) {}

  std::size_t left() const { return bytes_.size(); }
  std::uint8_t byte();
  /// The next `count` bytes. Throws Malformed if there are fewer.
  std::string_view take(std::size_t count);
  /// An unsigned number of seven bits a byte, low ones first.
  std::uint64_t varint();
  /// Little-endian.
  std::uint32_t word();

 private:
  std::string_view bytes_;
};

/// Reads Thrift's compact protocol: structures as fields that the caller picks by their number.
/// Throws Malformed at the first byte that cannot be.
class ThriftReader {
 public:
  enum Type {
    kStop,
    kTrue,
    kFalse,
    kByte,
    kI16,
    kI32,
    kI64,
    kDouble,
    kBinary,
    kList,
    kSet,
    kMap,
    kStruct
  };

  explicit ThriftReader(std::string_view bytes) : cursor_(bytes) {}

  std::size_t left() const { return cursor_.left(); }

  /// Reads one structure: `field(id, type)` reads the value, or returns false to have it skipped.
  template <typename Field>
  void structure(Field field) {
    Deeper deeper(*this);
    int id = 0;
    for (;;) {
      const std::uint8_t head = cursor_.byte();
      const int type = head & 15;
      if (type == kStop) {
        return;
      }
      id = (head >> 4) != 0 ? id + (head >> 4) : static_cast<int>(integer());
      if (!field(id, type)) {
        skip(type);
      }
    }
  }

  /// Reads a list of structures with `element()`. Throws Malformed for a list of anything else.
  template <typename Element>
  void structures(Element element) {
    const std::size_t count = list_of(kStruct);
    for (std::size_t i = 0; i < count; ++i) {
      element();
    }
  }

  std::int64_t integer();  ///< i16, i32 or i64
  std::string_view binary();

 private:
  struct Deeper {
    explicit Deeper(ThriftReader& reader) : reader_(reader) {
      if (++reader_.depth_ > 16) {
        throw Malformed("metadata nests too deeply");
      }
    }
    ~Deeper() { --reader_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    ThriftReader& reader_;
  };

  std::size_t list_of(int type);
  void skip(int type);
  void skip_elements(std::size_t count, int type);

  ByteCursor cursor_;
  int depth_ = 0;
};

}  // namespace dyn::profiler
