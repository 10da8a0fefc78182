#pragma once

#include <filesystem>
#include <string_view>

namespace dyn::test {

/// A file below the project's root.
inline std::filesystem::path source_path(std::string_view relative) {
  return std::filesystem::path(DYN_SOURCE_DIR) / relative;
}

/// The published measurements that some tests compare with. They are not part of the project;
/// they lie beside the checkout where they are at hand, and tests that need them skip otherwise
/// (`if (!have_reference_data()) { WARN("skipped: ..."); return; }`).
inline std::filesystem::path reference_data(std::string_view relative) {
  return std::filesystem::path(DYN_SOURCE_DIR) / "../shared/data" / relative;
}

inline bool have_reference_data() {
  return std::filesystem::exists(reference_data("README.md"));
}

}  // namespace dyn::test
