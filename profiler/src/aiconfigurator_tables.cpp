#include "aiconfigurator_tables.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "dyn/core/error.h"

namespace dyn::profiler {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::string>& systems() {
  static const std::map<std::string, std::string> known{
      {"a100", "a100_sxm"}, {"h100", "h100_sxm"}, {"h200", "h200_sxm"},
      {"b200", "b200_sxm"}, {"b300", "b300_sxm"}, {"gb200", "gb200"},
      {"gb300", "gb300"},   {"l40s", "l40s"},     {"rtx-pro-6000", "rtx_pro_6000_server"}};
  return known;
}

/// Compares versions by their parts: 0.5.9 is before 0.5.14, 1.3.0rc9 before 1.3.0rc20.
bool older(const std::string& a, const std::string& b) {
  std::size_t i = 0;
  std::size_t j = 0;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      std::size_t m = i;
      std::size_t n = j;
      while (m < a.size() && digit(a[m])) {
        ++m;
      }
      while (n < b.size() && digit(b[n])) {
        ++n;
      }
      const int x = std::stoi(a.substr(i, m - i).substr(0, 9));
      const int y = std::stoi(b.substr(j, n - j).substr(0, 9));
      if (x != y) {
        return x < y;
      }
      i = m;
      j = n;
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i;
      ++j;
    }
  }
  return b.size() - j > a.size() - i;
}

/// Where the package keeps its tables, whichever of its folders was named.
fs::path data_folder(const std::string& path, const std::string& system) {
  for (const char* below : {"aiconfigurator_core/systems/data", "systems/data", "data", ""}) {
    const fs::path folder = fs::path(path) / below;
    std::error_code ignored;
    if (fs::is_directory(folder / system, ignored)) {
      return folder / system;
    }
  }
  throw Error(ErrorKind::bad_input,
              {{"no tables of " + system,
                Where{path, 0, 0, {}},
                "name the folder that `pip download --no-deps aiconfigurator-core` and `unzip` "
                "leave",
                {}}});
}

std::vector<std::string> folders(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    if (entry.is_directory()) {
      names.push_back(entry.path().filename());
    }
  }
  std::sort(names.begin(), names.end(), older);
  return names;
}

using Reader = TableSummary (TableImporter::*)(const Table&, const OperatorFit&);

struct Source {
  const char* folder;
  const char* file;
  Reader read;
};

constexpr Source kSources[] = {
    {"gemm", "gemm_perf", &TableImporter::gemm},
    {"attention", "context_attention_perf", &TableImporter::prefill},
    {"attention", "generation_attention_perf", &TableImporter::decode},
    {"mla", "context_mla_perf", &TableImporter::latent_prefill},
    {"mla", "generation_mla_perf", &TableImporter::latent_decode},
    {"sparse_attention", "dsa_context_module_perf", &TableImporter::sparse_prefill},
    {"sparse_attention", "dsa_generation_module_perf", &TableImporter::sparse_decode},
    {"linear_attention", "gdn_perf", &TableImporter::linear},
    {"moe", "moe_perf", &TableImporter::moe},
    {"comm", "custom_allreduce_perf", &TableImporter::all_reduce},
    {"comm", "nccl_perf", &TableImporter::nccl},
};

class Reading {
 public:
  Reading(const ImportOptions& options, const GpuSpec& gpu) : options_(options), gpu_(gpu) {
    const auto found = systems().find(gpu.id);
    if (found == systems().end()) {
      throw Error(ErrorKind::usage, "the package has no tables of " + gpu.name,
                  "it has those of a100, b200, b300, gb200, gb300, h100, h200, l40s and "
                  "rtx-pro-6000");
    }
    system_ = found->second;
    folder_ = data_folder(options.path, system_);
  }

  Slices run() {
    for (const Source& source : kSources) {
      for (const std::string& engine : folders(folder_ / source.folder)) {
        read(source, engine);
      }
    }
    return std::move(slices_);
  }

 private:
  void note(const std::string& text) const {
    if (options_.note) {
      options_.note(text);
    }
  }
  void check_cancelled() const {
    if (options_.cancelled != nullptr && *options_.cancelled) {
      throw Error(ErrorKind::failed, "interrupted");
    }
  }

  /// The newest table of an engine with at least half the rows of its largest.
  void read(const Source& source, const std::string& engine) {
    check_cancelled();
    const fs::path folder = folder_ / source.folder / engine;
    std::vector<std::pair<std::string, Table>> tables;
    std::size_t largest = 0;
    for (const std::string& v : folders(folder)) {
      const fs::path file = folder / v / (std::string(source.file) + ".parquet");
      if (fs::exists(file)) {
        tables.emplace_back(v, read_parquet(file));
        largest = std::max(largest, tables.back().second.rows);
      }
    }
    const auto best = std::find_if(tables.rbegin(), tables.rend(), [largest](const auto& t) {
      return 2 * t.second.rows >= largest;
    });
    if (best == tables.rend()) {
      return;
    }
    OperatorFit key;
    key.engine = engine;
    key.version = best->first;
    key.source = std::string(kAiconfigurator) + ", " + system_ + '/' + source.folder + '/' +
                 engine + '/' + best->first + '/' + source.file;
    TableImporter importer(gpu_, slices_);
    const TableSummary summary = (importer.*source.read)(best->second, key);
    note(engine + ' ' + best->first + ' ' + source.file + ": " + std::to_string(summary.used) +
         " of " + std::to_string(summary.rows) + " rows used, " + std::to_string(summary.unknown) +
         " of formats, kernels or routings not modelled, " + std::to_string(summary.repeated) +
         " repeated, " + std::to_string(summary.too_fast) + " faster than the device can be");
  }

  const ImportOptions& options_;
  const GpuSpec& gpu_;
  std::string system_;
  fs::path folder_;
  Slices slices_;
};

}  // namespace

Slices read_aiconfigurator(const ImportOptions& options, const GpuSpec& gpu) {
  return Reading(options, gpu).run();
}

}  // namespace dyn::profiler
