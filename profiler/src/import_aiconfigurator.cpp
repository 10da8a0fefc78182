#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <utility>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/core/quantity_text.h"
#include "dyn/core/version.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/profiler/import.h"
#include "table_rows.h"

namespace dyn::profiler {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPackage = "aiconfigurator-core 0.12 (ai-dynamo/aiconfigurator, Apache-2.0)";

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
    {"moe", "moe_perf", &TableImporter::moe},
    {"comm", "custom_allreduce_perf", &TableImporter::all_reduce},
    {"comm", "nccl_perf", &TableImporter::nccl},
};

class Import {
 public:
  explicit Import(const ImportOptions& options)
      : options_(options), profile_(perf::specification_profile(options.gpu)) {
    const auto found = systems().find(profile_.device.id);
    if (found == systems().end()) {
      throw Error(ErrorKind::usage, "the package has no tables of " + profile_.device.name,
                  "it has those of a100, b200, b300, gb200, gb300, h100, h200, l40s and "
                  "rtx-pro-6000");
    }
    system_ = found->second;
    folder_ = data_folder(options.path, system_);
  }

  Profile run() {
    for (const Source& source : kSources) {
      for (const std::string& engine : folders(folder_ / source.folder)) {
        read(source, engine);
      }
    }
    replace_operators();
    profile_.created_by = "dyn profile import aiconfigurator --gpu " + profile_.device.id +
                          ", dyn " + std::string(version());
    profile_.description = profile_.device.name + ": surfaces fitted to the operator tables of " +
                           kPackage +
                           ", per engine; constants of specification grade where it has no table";
    return std::move(profile_);
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
    key.source = std::string(kPackage) + ", systems/data/" + system_ + '/' + source.folder + '/' +
                 engine + '/' + best->first + '/' + source.file + ".parquet";
    TableImporter importer(profile_.device, slices_);
    const TableSummary summary = (importer.*source.read)(best->second, key);
    note(engine + ' ' + best->first + ' ' + source.file + ": " + std::to_string(summary.used) +
         " of " + std::to_string(summary.rows) + " rows used, " + std::to_string(summary.unknown) +
         " of formats, kernels or routings not modelled, " + std::to_string(summary.repeated) +
         " repeated, " + std::to_string(summary.too_fast) + " faster than the device can be");
  }

  void replace_operators() {
    std::vector<OperatorFit> fitted;
    for (auto& [name, slice] : slices_) {
      check_cancelled();
      if (slice.samples.size() < 20) {
        note("left out: " + name + ", only " + std::to_string(slice.samples.size()) + " rows");
        continue;
      }
      SurfaceInput input;
      input.quantities = slice.quantities;
      input.grids = candidate_grids(slice.key.kind);
      input.peak = profile_.device.peak_for(slice.key.precision);
      input.bandwidth = slice.samples.front().flops > 0 ? profile_.device.memory_bandwidth
                                                        : profile_.device.intra_node;
      input.samples = std::move(slice.samples);
      fitted.push_back(fit_surface(slice.key, input));
      const OperatorFit& f = fitted.back();
      note(name + ": " + std::to_string(f.samples) + " samples, " +
           std::to_string(f.surface->log2_factors.size()) + " values, held-out error " +
           shortest(100 * *f.held_out_error) + " %, 90 % within " +
           shortest(100 * f.relative_error) + " %");
    }
    // What has no table of its own keeps its constants.
    for (OperatorFit& f : profile_.operators) {
      const bool replaced = std::any_of(fitted.begin(), fitted.end(), [&f](const OperatorFit& g) {
        const bool rates = g.kind == OperatorKind::gemm || g.kind == OperatorKind::moe;
        return g.kind == f.kind && g.gpus == f.gpus && (!rates || g.precision == f.precision);
      });
      if (!replaced) {
        fitted.push_back(std::move(f));
      }
    }
    profile_.operators = std::move(fitted);
  }

  const ImportOptions& options_;
  Profile profile_;
  std::string system_;
  fs::path folder_;
  Slices slices_;
};

}  // namespace

Profile import_aiconfigurator(const ImportOptions& options) {
  return Import(options).run();
}

}  // namespace dyn::profiler
