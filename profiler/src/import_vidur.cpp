#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "collector.h"
#include "csv_rows.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/operator_work.h"
#include "layer_samples.h"

// Vidur's tables: layers of PyTorch in FP16, and NCCL between the GPUs of a node.

namespace dyn::profiler {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSource = "Vidur's tables (microsoft/vidur 7d47513, MIT)";
constexpr double kActivation = 2;  // bytes

const TableColumn& median_of(const TableRows& rows, const std::string& layer) {
  return rows.numbers("time_stats." + layer + ".median");
}

class VidurImport {
 public:
  VidurImport(const ImportOptions& options, const GpuSpec& gpu)
      : options_(options), gpu_(gpu), plain_(std::string(kSource) + ", " + gpu.id) {
    key_.source = std::string(kSource) + ", " + gpu.id;
  }

  void layers(const std::string& file) {
    const Table table = read_csv(file);
    const TableRows rows(table);
    const TableColumn& tokens = rows.numbers("num_tokens");
    const TableColumn& shards = rows.numbers("num_tensor_parallel_workers");
    const TableColumn& heads = rows.numbers("n_head");
    const TableColumn& kv_heads = rows.numbers("n_kv_head");
    const TableColumn& hidden = rows.numbers("n_embd");
    const TableColumn& wide = rows.numbers("n_expanded_embd");
    const TableColumn& gated = rows.texts("use_gated_mlp");
    const TableColumn& qkv = median_of(rows, "attn_pre_proj");
    const TableColumn& out = median_of(rows, "attn_post_proj");
    const TableColumn& up = median_of(rows, "mlp_up_proj");
    const TableColumn& down = median_of(rows, "mlp_down_proj");
    const TableColumn& norm = median_of(rows, "input_layernorm");
    const TableColumn& rope = median_of(rows, "attn_rope");
    const TableColumn& act = median_of(rows, "mlp_act");
    Collector collector(rows, gpu_, slices_);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double n = rows.positive(tokens, i);
      const double tp = rows.positive(shards, i);
      const double h = rows.positive(hidden, i);
      const double inter = rows.positive(wide, i) / tp;
      const double head = h / rows.positive(heads, i);
      const double q = h / tp;
      const double kv = std::max(1.0, rows.positive(kv_heads, i) / tp) * head;
      const double ways = gated.dictionary[gated.codes[i]] == "True" ? 2 : 1;
      gemm(collector, i, n, q + 2 * kv, h, rows.positive(qkv, i));
      gemm(collector, i, n, h, q, rows.positive(out, i));
      gemm(collector, i, n, ways * inter, h, rows.positive(up, i));
      gemm(collector, i, n, h, inter, rows.positive(down, i));
      // Some models lack a norm or a rope of their own; their cells are empty.
      plain(collector, rows, norm, i, 4 * h * n);
      plain(collector, rows, rope, i, 2 * (q + kv) * n);
      plain(collector, rows, act, i, (ways + 1) * inter * n);
    }
    note_too_fast(options_, file, collector.finish());
  }

  void network(const std::string& file, const std::string& operation, OperatorKind kind) {
    const Table table = read_csv(file);
    const TableRows rows(table);
    const TableColumn& workers = rows.numbers("num_workers");
    const TableColumn& here = rows.numbers("devices_per_node");
    const TableColumn& size = rows.numbers("size");
    const TableColumn& time = median_of(rows, operation);
    Collector collector(rows, gpu_, slices_);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double gpus = rows.positive(workers, i);
      const double bytes = rows.positive(size, i);
      const double seconds = rows.positive(time, i) * kMilliseconds;
      if (rows.positive(here, i) != gpus) {
        collector.unknown();  // between nodes of one system
        continue;
      }
      OperatorFit key = key_;
      key.kind = kind;
      key.gpus = static_cast<int>(gpus);
      const double carried =
          kind == OperatorKind::all_reduce ? perf::all_reduce_bytes(bytes, key.gpus) : bytes;
      collector.add(i, key, {{bytes}, 0, carried, seconds});
    }
    note_too_fast(options_, file, collector.finish());
  }

  const Slices& slices() const { return slices_; }
  const PlainSamples& plain_samples() const { return plain_; }

 private:
  void gemm(Collector& collector, std::size_t row, double tokens, double n, double k,
            double milliseconds) {
    OperatorFit key = key_;
    key.kind = OperatorKind::gemm;
    key.precision = Precision::fp16;
    const perf::Work work = perf::gemm_work(tokens, n, k, key.precision);
    collector.add(row, key, {{tokens, n, k}, work.flops, work.bytes, milliseconds * kMilliseconds});
  }

  void plain(Collector& collector, const TableRows& rows, const TableColumn& time, std::size_t row,
             double values) {
    if (time.numbers[row] == time.numbers[row]) {
      const double milliseconds = rows.positive(time, row, true);
      if (milliseconds > 0) {
        plain_.elementwise(collector, row, values * kActivation, milliseconds * kMilliseconds);
      }
    }
  }

  const ImportOptions& options_;
  const GpuSpec& gpu_;
  OperatorFit key_;
  Slices slices_;
  PlainSamples plain_;
};

std::vector<std::string> tables_named(const fs::path& root, const std::string& name) {
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(root, ignored)) {
    if (entry.path().filename() == name) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Profile import_vidur(const ImportOptions& options) {
  Profile profile = options.base ? *options.base : perf::specification_profile(options.gpu);
  const fs::path root(options.path);
  const std::vector<std::string> files =
      tables_named(root / "compute" / profile.device.id, "mlp.csv");
  if (files.empty()) {
    throw Error(ErrorKind::bad_input,
                {{"no tables of " + profile.device.id,
                  Where{options.path, 0, 0, {}},
                  "name the folder that has compute/GPU/MODEL/mlp.csv and network/GPU_dgx",
                  {}}});
  }
  VidurImport import(options, profile.device);
  for (const std::string& file : files) {
    import.layers(file);
    if (options.note) {
      options.note("read " + file);
    }
  }
  const fs::path network = root / "network" / (profile.device.id + "_dgx");
  if (fs::exists(network / "all_reduce.csv")) {
    import.network(network / "all_reduce.csv", "all_reduce", OperatorKind::all_reduce);
  }
  if (fs::exists(network / "send_recv.csv")) {
    import.network(network / "send_recv.csv", "send_recv", OperatorKind::send_recv);
  }
  profile.description = profile.device.name + ": surfaces fitted to four fifths of the rows of " +
                        kSource + "; other constants of specification grade";
  return finish_import(options, "vidur", std::move(profile), import.slices(),
                       import.plain_samples());
}

}  // namespace dyn::profiler
