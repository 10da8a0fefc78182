#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/perf_model.h"
#include "dyn/profiler/import.h"

namespace dyn::profiler {
namespace {

namespace fs = std::filesystem;

/// A small set of layer tables of Llama-3.1-8B. Prefill and decode take 1.3 times their sum.
class LayerFolder {
 public:
  explicit LayerFolder(const std::string& name)
      : root_(fs::temp_directory_path() / ("dyn_import_layers_" + name)) {
    fs::remove_all(root_);
    folder_ = root_ / "meta-llama/Llama-3.1-8B/bf16/tp1";
    fs::create_directories(folder_);
    std::string dense = "layer,tokens,time_us\n";
    std::string sampled = "layer,sequences,time_us\n";
    for (int n = 1; n <= 2048; n *= 2) {
      for (const char* layer : {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}) {
        dense +=
            std::string(layer) + ',' + std::to_string(n) + ',' + std::to_string(200 + 2 * n) + '\n';
      }
      dense += "layernorm," + std::to_string(n) + ',' + std::to_string(3 + 0.02 * n) + '\n';
      sampled += "sampler," + std::to_string(n) + ',' + std::to_string(25 + n) + '\n';
      sampled += "lm_head," + std::to_string(n) + ',' + std::to_string(1100 + 8 * n) + '\n';
    }
    std::string attention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n";
    const auto row = [&](int q, int prior, int n, int kv, double us) {
      for (const int part : {q, prior, n, kv}) {
        attention += std::to_string(part) + ',';
      }
      attention += std::to_string(us) + '\n';
    };
    for (int q = 16; q <= 2048; q *= 2) {
      for (const int prior : {0, 512, 4096}) {
        row(q, prior, 0, 0, prefill(q, prior));
        for (const int n : {1, 16, 128}) {
          for (const int kv : {256, 2048}) {
            row(q, prior, n, kv, 1.3 * (prefill(q, prior) + decode(n, kv)));
          }
        }
      }
    }
    for (const int n : {1, 4, 16, 64, 128}) {
      for (int kv = 64; kv <= 8192; kv *= 2) {
        row(0, 0, n, kv, decode(n, kv));
      }
    }
    write("dense.csv", dense);
    write("per_sequence.csv", sampled);
    write("attention.csv", attention);
  }
  ~LayerFolder() { fs::remove_all(root_); }

  static double prefill(double q, double prior) { return 10 + 1e-3 * q * (prior + 0.5 * q); }
  static double decode(double n, double kv) { return 9 + 5e-3 * n * kv; }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  void append(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::app) << text;
  }
  std::string root() const { return root_.string(); }

 private:
  fs::path root_;
  fs::path folder_;
};

Profile import(const std::string& path, const std::string& gpu = "rtx-4090") {
  ImportOptions options;
  options.path = path;
  options.gpu = gpu;
  return import_vllm_layers(options);
}

std::string error_of(const std::string& path) {
  try {
    (void)import(path);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

const OperatorFit* find(const Profile& profile, OperatorKind kind) {
  for (const OperatorFit& fit : profile.operators) {
    if (fit.kind == kind && !fit.surfaces.empty()) {
      return &fit;
    }
  }
  return nullptr;
}

TEST_CASE("Layer tables make a profile with GEMMs, attention and its interaction") {
  const LayerFolder tables("whole");
  const Profile profile = import(tables.root());
  CHECK(profile.device.id == "rtx-4090");
  for (const OperatorKind kind : {OperatorKind::gemm, OperatorKind::attention_prefill,
                                  OperatorKind::attention_decode, OperatorKind::attention_mixed}) {
    const OperatorFit* fit = find(profile, kind);
    REQUIRE(fit != nullptr);
    CHECK(fit->engine == "vllm");
    CHECK(fit->version == "0.19.0");
    CHECK(fit->held_out_error.has_value());
    CHECK(fit->source.find("Llama-3.1-8B/bf16/tp1") != std::string::npos);
  }
  CHECK(*find(profile, OperatorKind::attention_mixed)->held_out_error < 0.05);
}

TEST_CASE("A mixed step has its attention times the measured interaction, and says so") {
  const LayerFolder tables("mixed");
  Profile profile = import(tables.root());
  perf::PerfTarget target;
  target.model = find_model("meta-llama/Llama-3.1-8B");
  perf::StepBatch prefill;
  prefill.add_prefill(512, 512, true);
  perf::StepBatch decode;
  for (int i = 0; i < 16; ++i) {
    decode.add_decode(2048);
  }
  perf::StepBatch both = prefill;
  for (int i = 0; i < 16; ++i) {
    both.add_decode(2048);
  }
  const auto attention = [&](const perf::StepBatch& batch) {
    double seconds = 0;
    for (const auto& op : perf::PerfModel::compile(target, profile)->explain(batch)) {
      seconds += op.name.starts_with("attention_") && op.name.find("reduce") == std::string::npos
                     ? to_seconds(op.time)
                     : 0;
    }
    return seconds;
  };
  const double measured = attention(both) / (attention(prefill) + attention(decode));
  CHECK(measured == Approx(1.3).epsilon(0.05));
  const auto model = perf::PerfModel::compile(target, profile);
  bool told = false;
  double sum = 0;
  for (const auto& op : model->explain(both)) {
    told = told || op.source.find("beside each other") != std::string::npos;
    sum += to_seconds(op.time);
  }
  CHECK(told);
  CHECK(sum == Approx(to_seconds(model->step_time(both))).epsilon(1e-5));
  // Without the measurement the factor is 1 and the answer extrapolated.
  std::erase_if(profile.operators,
                [](const auto& f) { return f.kind == OperatorKind::attention_mixed; });
  CHECK(attention(both) == Approx(attention(prefill) + attention(decode)).epsilon(1e-3));
  CHECK(perf::PerfModel::compile(target, profile)->estimate(both).provenance >=
        Provenance::extrapolated);
}

TEST_CASE("A layer that is not known, a ragged row and a negative time are refused by row") {
  const LayerFolder tables("bad");
  tables.write("dense.csv", "layer,tokens,time_us\nqkv_proj,1,3\nkv_proj,1,3\n");
  CHECK(error_of(tables.root()).find("row 2: unknown layer 'kv_proj'") != std::string::npos);
  tables.write("dense.csv", "layer,tokens,time_us\nqkv_proj,1\n");
  CHECK(error_of(tables.root()).find("row 1: has 2 cells") != std::string::npos);
  tables.write("dense.csv", "layer,tokens,time_us\nqkv_proj,1,3\nqkv_proj,2,-3\n");
  CHECK(error_of(tables.root()).find("row 2: time_us is -3") != std::string::npos);
  tables.write("dense.csv", "layer,tokens\nqkv_proj,1\n");
  CHECK(error_of(tables.root()).find("no column 'time_us'") != std::string::npos);
}

/// What an import of layer tables of which one row of `file` is `row` says of too fast rows.
std::string too_fast_note(const LayerFolder& tables, const std::string& file,
                          const std::string& row) {
  tables.append(file, row);
  std::string notes;
  ImportOptions options;
  options.path = tables.root();
  options.gpu = "rtx-4090";
  options.note = [&](const std::string& note) {
    notes += note.find("faster") != std::string::npos ? note : "";
  };
  (void)import_vllm_layers(options);
  return notes;
}

TEST_CASE("A row that is faster than the device is left out of layer tables, and named") {
  const std::string of = "meta-llama/Llama-3.1-8B/bf16/tp1/";
  const LayerFolder gemm("fast_gemm");
  CHECK(too_fast_note(gemm, "dense.csv", "qkv_proj,300,0.00001\n") ==
        of + "dense.csv: left out 1 faster than the device can be (the first: row 61 takes "
             "0.00001 us, but the NVIDIA GeForce RTX 4090 needs at least 91.4 us)");
  const LayerFolder norm("fast_norm");
  CHECK(
      too_fast_note(norm, "dense.csv", "layernorm,300,0.00001\n")
          .starts_with(
              of + "dense.csv: left out 1 faster than the device can be (the first: row 61 takes"));
  const LayerFolder mixed("fast_mixed");
  CHECK(
      too_fast_note(mixed, "attention.csv", "1024,512,16,2048,0.00001\n")
          .starts_with(
              of +
              "attention.csv: left out 1 faster than the device can be (the first: row 209 takes"));
  const LayerFolder none("fast_none");
  CHECK(too_fast_note(none, "dense.csv", "").empty());
}

TEST_CASE("What is computed for each sequence, and attention of nothing, are refused by row") {
  const LayerFolder tables("bad_sequences");
  tables.write("per_sequence.csv", "layer,sequences,time_us\nsampler,1,26\nhead,1,3\n");
  CHECK(error_of(tables.root()).find("per_sequence.csv") != std::string::npos);
  CHECK(error_of(tables.root()).find("row 2: unknown layer 'head'") != std::string::npos);
  const LayerFolder attention("bad_attention");
  attention.write("attention.csv",
                  "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n16,0,0,0,9\n0,64,4,0,9\n");
  CHECK(error_of(attention.root())
            .find("row 2: has neither a prefill chunk nor decoding sequences") !=
        std::string::npos);
}

TEST_CASE("A folder of layer tables that is not named by model, precision and shards is refused") {
  for (const char* name : {"meta-llama/Llama-3.1-8B/int3/tp1", "meta-llama/Llama-3.1-8B/bf16/two",
                           "meta-llama/Llama-3.1-8B/bf16/tp0"}) {
    INFO(name);
    const fs::path root = fs::temp_directory_path() / "dyn_import_layers_unnamed";
    fs::remove_all(root);
    fs::create_directories(root / name);
    std::ofstream(root / name / "dense.csv") << "layer,tokens,time_us\nqkv_proj,1,3\n";
    const std::string error = error_of(root.string());
    fs::remove_all(root);
    CHECK(error.find(name) != std::string::npos);
    CHECK(error.find("is not MODEL/PRECISION/tpN") != std::string::npos);
  }
}

TEST_CASE("Vidur's tables make FP16 fits of GEMMs and collectives within a node") {
  const fs::path root = fs::temp_directory_path() / "dyn_import_vidur";
  fs::remove_all(root);
  fs::create_directories(root / "compute/a100/some/model");
  fs::create_directories(root / "network/a100_dgx");
  std::string layers =
      "num_tokens,num_tensor_parallel_workers,n_head,n_kv_head,n_embd,"
      "n_expanded_embd,use_gated_mlp";
  for (const char* layer : {"attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj",
                            "input_layernorm", "attn_rope", "mlp_act"}) {
    layers += std::string(",time_stats.") + layer + ".median";
  }
  layers += '\n';
  for (int tokens = 1; tokens <= 4096; tokens *= 2) {
    for (const int tp : {1, 2, 4}) {
      layers += std::to_string(tokens) + ',' + std::to_string(tp) + ",32,8,4096,14336,True";
      for (int layer = 0; layer < 4; ++layer) {
        layers += ',' + std::to_string(0.2 / tp + 0.002 * tokens / tp);
      }
      layers += ",0.02,,0.03\n";
    }
  }
  std::string reduce = "time_stats.all_reduce.median,num_workers,size,devices_per_node\n";
  for (int size = 1024; size <= 64 << 20; size *= 2) {
    reduce += std::to_string(0.03 + size * 2e-8) + ",4," + std::to_string(size) + ",4\n";
    reduce += std::to_string(0.06 + size * 4e-8) + ",8," + std::to_string(size) + ",8\n";
    reduce += std::to_string(9.0) + ",8," + std::to_string(size) + ",4\n";  // between nodes
  }
  for (int size = 1536; size <= 64 << 20; size *= 2) {
    reduce += std::to_string(0.03 + size * 2e-8) + ",4," + std::to_string(size) + ",4\n";
  }
  std::ofstream(root / "compute/a100/some/model/mlp.csv") << layers;
  reduce += "0.000001,4,33554432,4\n";
  std::ofstream(root / "network/a100_dgx/all_reduce.csv") << reduce;
  ImportOptions options;
  options.path = root.string();
  options.gpu = "a100";
  std::string notes;
  options.note = [&notes](const std::string& note) { notes += note + '\n'; };
  const Profile profile = import_vidur(options);
  fs::remove_all(root);
  const OperatorFit* gemm = find(profile, OperatorKind::gemm);
  REQUIRE(gemm != nullptr);
  CHECK(gemm->precision == Precision::fp16);
  CHECK(gemm->samples > 100);
  CHECK(notes.find(
            "all_reduce.csv: left out 1 faster than the device can be (the first: row 68 takes "
            "0.001 us") != std::string::npos);
  const OperatorFit* all_reduce = find(profile, OperatorKind::all_reduce);
  REQUIRE(all_reduce != nullptr);
  CHECK(all_reduce->gpus == 4);
  CHECK(all_reduce->samples == 33);
  CHECK(*all_reduce->held_out_error < 0.08);
}

}  // namespace
}  // namespace dyn::profiler
