#include "trace_pictures.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "dyn/kvbm/block_hash.h"

namespace dyn::sim {
namespace {

constexpr std::uint32_t kMostPixels = 100'000;  ///< of a side

struct Sides {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

/// -1 for what is no digit.
int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') {
    return c - 'A';
  }
  if (c >= 'a' && c <= 'z') {
    return c - 'a' + 26;
  }
  if (c >= '0' && c <= '9') {
    return c - '0' + 52;
  }
  return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/// The bytes up to the first character that is no digit. Source: RFC 4648.
std::string from_base64(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) {
      break;
    }
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xFFU));
    }
  }
  return out;
}

/// The big-endian number of `count` bytes at `at`, which are there.
std::uint32_t number_at(std::string_view bytes, std::size_t at, int count) {
  std::uint32_t out = 0;
  for (int i = 0; i < count; ++i) {
    out = out << 8 | static_cast<unsigned char>(bytes[at++]);
  }
  return out;
}

/// Source: PNG specification, sections 5.2 and 11.2.2: the first chunk is the header.
std::optional<Sides> png_sides(std::string_view bytes) {
  constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);
  if (!bytes.starts_with(kSignature) || bytes.size() < 24 || bytes.substr(12, 4) != "IHDR") {
    return std::nullopt;
  }
  return Sides{number_at(bytes, 16, 4), number_at(bytes, 20, 4)};
}

/// Whether a marker begins a frame, whose header has the size.
bool is_frame(std::uint32_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

/// Source: ITU-T T.81, sections B.1.1 and B.2.2.
std::optional<Sides> jpeg_sides(std::string_view bytes) {
  if (bytes.size() < 2 || number_at(bytes, 0, 2) != 0xFFD8) {
    return std::nullopt;
  }
  for (std::size_t at = 2; at + 9 <= bytes.size();) {
    if (number_at(bytes, at, 1) != 0xFF) {
      return std::nullopt;
    }
    const std::uint32_t marker = number_at(bytes, at + 1, 1);
    if (marker == 0xFF) {
      ++at;  // fill bytes
    } else if (is_frame(marker)) {
      return Sides{number_at(bytes, at + 7, 2), number_at(bytes, at + 5, 2)};
    } else {
      const bool alone = marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8);
      at += 2 + (alone ? 0 : number_at(bytes, at + 2, 2));
    }
  }
  return std::nullopt;
}

}  // namespace

Picture picture_of(std::string_view reference) {
  Picture out;
  out.id = static_cast<policy::ImageId>(kvbm::chain_root(reference));
  const std::size_t comma = reference.find(',');
  if (!reference.starts_with("data:") || comma == std::string_view::npos) {
    return out;
  }
  const std::string_view head = reference.substr(5, comma - 5);
  const bool png = head.starts_with("image/png");
  const bool jpeg = head.starts_with("image/jpeg") || head.starts_with("image/jpg");
  if (!png && !jpeg) {
    return out;
  }
  const std::string bytes =
      head.ends_with(";base64") ? from_base64(reference.substr(comma + 1)) : std::string();
  const std::optional<Sides> sides = png ? png_sides(bytes) : jpeg_sides(bytes);
  if (!sides) {
    out.problem = png ? "not a PNG in base64" : "not a JPEG in base64";
  } else if (sides->width < 1 || sides->width > kMostPixels || sides->height < 1 ||
             sides->height > kMostPixels) {
    out.problem = "expected a picture of 1 to 100000 pixels a side";
  } else {
    out.width = static_cast<int>(sides->width);
    out.height = static_cast<int>(sides->height);
  }
  return out;
}

}  // namespace dyn::sim
