/// Writes the generated documentation below a folder (the project's root): JSON Schema files to
/// docs/schema and reference pages to docs/reference.

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>

#include "dyn/core/schemas.h"

int main(int argc, char** argv) {
  try {
    const std::filesystem::path root = argc > 1 ? argv[1] : ".";
    for (const dyn::GeneratedFile& file : dyn::schema_docs(dyn::core_schemas())) {
      const std::filesystem::path path = root / file.path;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream out(path, std::ios::binary);
      out << file.content;
      if (!out.flush()) {
        std::fprintf(stderr, "dyn_docs: cannot write %s\n", path.c_str());
        return 1;
      }
      std::printf("%s\n", path.c_str());
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dyn_docs: %s\n", error.what());
    return 1;
  }
}
