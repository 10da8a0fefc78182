#include "decompress.h"

#include <zstd.h>

#include "thrift.h"

namespace dyn::profiler {
namespace {

constexpr std::size_t kMaxSize = std::size_t{256} << 20;
// zstd and Snappy cannot say more with a byte than this.
constexpr std::size_t kMaxRatio = 200'000;

std::string unpack_zstd(std::string_view bytes, std::size_t size) {
  std::string result(size, '\0');
  const std::size_t written =
      ZSTD_decompress(result.data(), result.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(written) != 0 || written != size) {
    throw Malformed("a page that does not decompress");
  }
  return result;
}

/// A number of `bytes` bytes, low ones first.
std::size_t little(ByteCursor& in, std::size_t bytes) {
  std::size_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= static_cast<std::size_t>(in.byte()) << (8 * i);
  }
  return value;
}

std::string unpack_snappy(std::string_view bytes, std::size_t size) {
  ByteCursor in(bytes);
  if (in.varint() != size) {
    throw Malformed("a page that does not decompress");
  }
  std::string result;
  result.reserve(size);
  while (in.left() > 0) {
    const std::uint8_t tag = in.byte();
    std::size_t length = (tag >> 2) + std::size_t{1};
    std::size_t offset = 0;
    switch (tag & 3) {
      case 0:
        if (length > 60) {
          length = little(in, length - 60) + 1;
        }
        break;
      case 1:
        length = ((tag >> 2) & 7) + std::size_t{4};
        offset = (static_cast<std::size_t>(tag >> 5) << 8) | in.byte();
        break;
      case 2:
        offset = little(in, 2);
        break;
      default:
        offset = little(in, 4);
        break;
    }
    if (length > size - result.size() ||
        ((tag & 3) != 0 && (offset == 0 || offset > result.size()))) {
      throw Malformed("a page that does not decompress");
    }
    if ((tag & 3) == 0) {
      result += in.take(length);
    } else {
      for (std::size_t i = 0; i < length; ++i) {
        result += result[result.size() - offset];
      }
    }
  }
  if (result.size() != size) {
    throw Malformed("a page that does not decompress");
  }
  return result;
}

}  // namespace

std::string decompress(Codec codec, std::string_view bytes, std::size_t size) {
  if (size > kMaxSize || size / kMaxRatio > bytes.size()) {
    throw Malformed("a page that claims to be larger than it can be");
  }
  switch (codec) {
    case Codec::none:
      if (bytes.size() != size) {
        throw Malformed("a page of another size than it says");
      }
      return std::string(bytes);
    case Codec::zstd:
      return unpack_zstd(bytes, size);
    case Codec::snappy:
      return unpack_snappy(bytes, size);
  }
  throw Malformed("an unknown compression");
}

}  // namespace dyn::profiler
