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
    {"moe", "wideep_generation_moe_perf", &TableImporter::dispatched_decode},
    {"moe", "wideep_context_moe_perf", &TableImporter::dispatched_prefill},
    {"comm", "custom_allreduce_perf", &TableImporter::all_reduce},
    {"comm", "nccl_perf", &TableImporter::nccl},
    {"comm", "trtllm_alltoall_perf", &TableImporter::expert_exchange},
    {"comm", "wideep_deepep_ll_perf", &TableImporter::deepep_low_latency},
    {"comm", "wideep_deepep_normal_perf", &TableImporter::deepep_normal},
};

/// Tables that are not read, by how their names begin, and why.
struct LeftAside {
  const char* name;
  const char* why;
};

constexpr LeftAside kLeftAside[] = {
    {"mla_context_module", "whole modules: their projections are GEMMs of their own in dyn"},
    {"mla_generation_module", "whole modules: their projections are GEMMs of their own in dyn"},
    {"wideep_context_mla", "whole modules: their projections are GEMMs of their own in dyn"},
    {"wideep_generation_mla", "whole modules: their projections are GEMMs of their own in dyn"},
    {"mla_bmm", "a part of latent attention in dyn"},
    {"wideep_moe", "the experts of TensorRT-LLM are read as they are within a node"},
    {"wideep_", "the GEMMs of the same layers are read"},
    {"moe_a2a", "one node: there dyn's models gather and scatter tokens"},
    {"oneccl", "no such device in the catalogue"},
    {"encoder_attention", "no encoders in dyn's models"},
    {"mamba2", "no such layer in dyn's models"},
    {"kda", "no such layer in dyn's models"},
    {"mhc", "no such layer in dyn's models"},
    {"msa", "no such layer in dyn's models"},
    {"mlp", "the GEMMs of the same layers are read"},
    {"dsv4_", "no such layer in dyn's models"},
    {"glm5_", "parts of a module that is read as a whole"},
    {"computescale", "counted as element-wise work"},
    {"scale_matrix", "counted as element-wise work"},
};

bool begins(const std::string& text, const char* with) {
  return text.rfind(with, 0) == 0;
}

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
    note_left_aside();
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

  /// Says of every table that no source reads why not.
  void note_left_aside() const {
    std::map<std::string, std::string> reasons;
    std::error_code ignored;
    for (const auto& entry : fs::recursive_directory_iterator(folder_, ignored)) {
      const std::string name = entry.path().stem();
      const bool read = std::any_of(std::begin(kSources), std::end(kSources),
                                    [&name](const Source& s) { return name == s.file; });
      if (entry.path().extension() == ".parquet" && !read) {
        const auto known =
            std::find_if(std::begin(kLeftAside), std::end(kLeftAside),
                         [&name](const LeftAside& l) { return begins(name, l.name); });
        reasons[name] = known != std::end(kLeftAside) ? known->why : "not known to dyn";
      }
    }
    for (const auto& [name, why] : reasons) {
      note("left aside: " + name + ": " + why);
    }
  }

  /// The tables of an engine in the order of choice: the newest with at least half the rows of the
  /// largest, then older ones.
  std::vector<std::pair<std::string, Table>> tables_of(const Source& source,
                                                       const std::string& engine) const {
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
    while (!tables.empty() && 2 * tables.back().second.rows < largest) {
      tables.pop_back();
    }
    std::reverse(tables.begin(), tables.end());
    return tables;
  }

  /// The first table in the order of choice that has rows which dyn can use.
  void read(const Source& source, const std::string& engine) {
    // A copy of NCCL's table in an engine's folder is not what the engine's own kernels take.
    if (source.file == std::string("nccl_perf") && engine != "nccl") {
      return;
    }
    for (const auto& [version, table] : tables_of(source, engine)) {
      check_cancelled();
      OperatorFit key;
      key.engine = engine;
      key.version = version;
      key.source = std::string(kAiconfigurator) + ", " + system_ + '/' + source.folder + '/' +
                   engine + '/' + version + '/' + source.file;
      TableImporter importer(gpu_, slices_);
      const TableSummary summary = (importer.*source.read)(table, key);
      note(engine + ' ' + version + ' ' + source.file + ": " + std::to_string(summary.used) +
           " of " + std::to_string(summary.rows) + " rows used, " +
           std::to_string(summary.unknown) + " of formats, kernels or routings not modelled, " +
           std::to_string(summary.repeated) + " repeated, " + too_fast_text(summary) + summary.why);
      if (summary.used > 0) {
        return;
      }
    }
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
