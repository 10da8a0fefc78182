/// Part of the build: packs a profile file into the bytes that become part of dyn.
/// usage: dyn_pack_profiles PROFILE.json OUT

#include <cstdio>
#include <exception>
#include <fstream>

#include "profile_archive.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: dyn_pack_profiles PROFILE.json OUT\n");
    return 2;
  }
  try {
    std::ofstream out(argv[2], std::ios::binary);
    out << dyn::perf::pack_profile(dyn::load_profile(argv[1]));
    if (!out.flush()) {
      std::fprintf(stderr, "dyn_pack_profiles: cannot write %s\n", argv[2]);
      return 1;
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dyn_pack_profiles: %s\n", error.what());
    return 1;
  }
}
