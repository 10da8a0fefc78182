#include "machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace dyn::profiler {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("model name")) {
      const auto colon = line.find(": ");
      return colon == std::string::npos ? std::string("CPU") : line.substr(colon + 2);
    }
  }
  return "CPU";
}

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    return std::max(1, CPU_COUNT(&set));
  }
  return static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

Machine this_machine() {
  Machine machine;
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) == 0) {
    machine.host = name;
  }
  if (machine.host.empty()) {
    machine.host = "localhost";
  }
  machine.processor = processor_name();
  machine.threads = usable_processors();
  machine.memory = Bytes(static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) *
                         static_cast<std::int64_t>(sysconf(_SC_PAGESIZE)));
  machine.last_level_cache =
      Bytes(std::max({0L, sysconf(_SC_LEVEL2_CACHE_SIZE), sysconf(_SC_LEVEL3_CACHE_SIZE)}));
  return machine;
}

}  // namespace dyn::profiler
