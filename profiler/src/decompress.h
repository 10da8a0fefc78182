#pragma once

#include <string>
#include <string_view>

namespace dyn::profiler {

/// Compression of a Parquet column, by its number in the format.
enum class Codec { none = 0, snappy = 1, zstd = 6 };

/// Bytes that decompress to exactly `size` bytes (at most 256 MiB). Throws Malformed if they do
/// not. Source for Snappy: google/snappy, format_description.txt.
std::string decompress(Codec codec, std::string_view bytes, std::size_t size);

}  // namespace dyn::profiler
