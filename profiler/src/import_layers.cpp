#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "collector.h"
#include "csv_rows.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/operator_work.h"
#include "layer_samples.h"

// Layer times measured inside vLLM, as casys-kaist/LLMServingSim publishes them.

namespace dyn::profiler {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSource =
    "layer times inside vLLM 0.19 (casys-kaist/LLMServingSim 5daddb2, MIT)";
constexpr double kMicroseconds = 1e-6;
constexpr double kActivation = 2;  // bytes

/// One folder of tables.
struct LayerFolder {
  fs::path path;
  std::string name;  ///< MODEL/PRECISION/tpN
  ModelSpec model;
  Precision precision = Precision::bf16;
  double tp = 1;
};

[[noreturn]] void refuse_folder(const fs::path& path, const std::string& why,
                                const std::string& hint) {
  throw Error(ErrorKind::bad_input, {{why, Where{path.string(), 0, 0, {}}, hint, {}}});
}

/// Every folder below `root` that has a dense.csv, in order of their names.
std::vector<LayerFolder> layer_folders(const fs::path& root) {
  std::vector<LayerFolder> folders;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(root, ignored)) {
    if (entry.path().filename() != "dense.csv") {
      continue;
    }
    LayerFolder folder;
    folder.path = entry.path().parent_path();
    folder.name = fs::relative(folder.path, root).generic_string();
    const fs::path precision = folder.path.parent_path();
    const std::string shards = folder.path.filename();
    const std::string model = fs::relative(precision.parent_path(), root).generic_string();
    const auto format =
        table_precision(precision.filename() == "bf16" ? "bfloat16" : precision.filename());
    if (!format || !shards.starts_with("tp") || std::atoi(shards.c_str() + 2) < 1) {
      refuse_folder(folder.path, "is not MODEL/PRECISION/tpN", "such as Qwen/Qwen3-32B/bf16/tp2");
    }
    folder.precision = *format;
    folder.tp = std::atoi(shards.c_str() + 2);
    folder.model = find_model(model);
    folders.push_back(std::move(folder));
  }
  std::sort(folders.begin(), folders.end(),
            [](const LayerFolder& a, const LayerFolder& b) { return a.name < b.name; });
  if (folders.empty()) {
    refuse_folder(root, "has no layer tables",
                  "name the folder with MODEL/PRECISION/tpN/dense.csv");
  }
  return folders;
}

class LayerImport {
 public:
  LayerImport(const ImportOptions& options, const GpuSpec& gpu)
      : options_(options), gpu_(gpu), plain_(kSource) {}

  void read(const LayerFolder& folder) {
    key_ = OperatorFit{};
    key_.engine = "vllm";
    key_.version = "0.19.0";
    key_.precision = folder.precision;
    key_.source = std::string(kSource) + ", " + gpu_.id + ", " + folder.name;
    dense(folder);
    sampled(folder);
    attention(folder);
    if (folder.model.moe && fs::exists(folder.path / "moe.csv")) {
      experts(folder);
    }
    if (options_.note) {
      options_.note("read " + folder.name);
    }
  }

  const Slices& slices() const { return slices_; }
  const PlainSamples& plain() const { return plain_; }

 private:
  /// A slice's source names every folder that it is from. False where the row is left out.
  bool add_to(Collector& collector, std::size_t row, const OperatorFit& key,
              const SurfaceSample& sample) {
    if (!collector.add(row, key, sample)) {
      return false;
    }
    std::string& source = slices_[key_text(key)].key.source;
    if (source.find(key_.source.substr(key_.source.rfind(',') + 2)) == std::string::npos) {
      source += key_.source.substr(key_.source.rfind(','));
    }
    return true;
  }

  void gemm(Collector& collector, std::size_t row, double tokens, double n, double k,
            double seconds) {
    OperatorFit key = key_;
    key.kind = OperatorKind::gemm;
    const perf::Work work = perf::gemm_work(tokens, n, k, key.precision);
    add_to(collector, row, key, {{tokens, n, k}, work.flops, work.bytes, seconds});
  }

  void dense(const LayerFolder& folder) {
    const Table table = read_csv(folder.path / "dense.csv");
    const TableRows rows(table);
    const TableColumn& layer = rows.texts("layer");
    const TableColumn& tokens = rows.numbers("tokens");
    const TableColumn& time = rows.numbers("time_us");
    const AttentionSpec& a = folder.model.attention;
    const double hidden = static_cast<double>(folder.model.hidden);
    const double inter = static_cast<double>(folder.model.intermediate) / folder.tp;
    const double q = a.heads / folder.tp * a.head_dim;
    const double kv = std::max(1.0, a.kv_heads / folder.tp) * a.head_dim;
    Collector collector(rows, gpu_, slices_);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::string& name = layer.dictionary[layer.codes[i]];
      const double n = rows.positive(tokens, i);
      const double seconds = rows.positive(time, i) * kMicroseconds;
      if (name == "qkv_proj") {
        gemm(collector, i, n, q + 2 * kv, hidden, seconds);
      } else if (name == "o_proj") {
        gemm(collector, i, n, hidden, q, seconds);
      } else if (name == "gate_up_proj") {
        gemm(collector, i, n, 2 * inter, hidden, seconds);
      } else if (name == "down_proj") {
        gemm(collector, i, n, hidden, inter, seconds);
      } else if (name == "layernorm" || name == "final_layernorm") {
        plain_.elementwise(collector, i, 4 * hidden * kActivation * n, seconds);
      } else if (name == "embedding") {
        plain_.elementwise(collector, i, 2 * hidden * kActivation * n, seconds);
      } else if (name == "rotary_emb" || name == "qk_norm") {
        plain_.elementwise(collector, i, 2 * (q + kv) * kActivation * n, seconds);
      } else if (name == "act_fn") {
        plain_.elementwise(collector, i, 3 * inter * kActivation * n, seconds);
      } else {
        rows.refuse(i, "unknown layer '" + name + "'");
      }
    }
    note_too_fast(options_, folder.name + "/dense.csv", collector.finish());
  }

  void sampled(const LayerFolder& folder) {
    const Table table = read_csv(folder.path / "per_sequence.csv");
    const TableRows rows(table);
    const TableColumn& layer = rows.texts("layer");
    const TableColumn& sequences = rows.numbers("sequences");
    const TableColumn& time = rows.numbers("time_us");
    const double vocabulary = static_cast<double>(folder.model.vocabulary);
    const double hidden = static_cast<double>(folder.model.hidden);
    Collector collector(rows, gpu_, slices_);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::string& name = layer.dictionary[layer.codes[i]];
      const double n = rows.positive(sequences, i);
      const double seconds = rows.positive(time, i) * kMicroseconds;
      if (name == "lm_head") {
        gemm(collector, i, n, std::ceil(vocabulary / folder.tp), hidden, seconds);
      } else if (name == "sampler") {
        plain_.sampling(collector, i, n * vocabulary * 8,
                        seconds);  // fp32 logits, read and written once
      } else {
        rows.refuse(i, "unknown layer '" + name + "'");
      }
    }
    note_too_fast(options_, folder.name + "/per_sequence.csv", collector.finish());
  }

  void attention(const LayerFolder& folder) {
    const Table table = read_csv(folder.path / "attention.csv");
    const TableRows rows(table);
    const TableColumn& chunk = rows.numbers("prefill_chunk");
    const TableColumn& prior = rows.numbers("kv_prefill");
    const TableColumn& count = rows.numbers("n_decode");
    const TableColumn& context = rows.numbers("kv_decode");
    const TableColumn& time = rows.numbers("time_us");
    const AttentionSpec& a = folder.model.attention;
    perf::AttentionShape shape;
    shape.heads = a.heads / folder.tp;
    shape.kv_heads = std::max(1.0, a.kv_heads / folder.tp);
    shape.head_dim = a.head_dim;
    shape.kv_cache = folder.precision;
    Collector collector(rows, gpu_, slices_);
    OperatorFit key = key_;
    key.kv_cache = folder.precision;
    key.head_dim = a.head_dim;
    std::map<std::array<double, 2>, double> prefills;
    std::map<std::array<double, 2>, double> decodes;
    std::vector<std::size_t> mixed;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double q = rows.positive(chunk, i, true);
      const double before = rows.positive(prior, i, true);
      const double n = rows.positive(count, i, true);
      const double kv = rows.positive(context, i, true);
      const double seconds = rows.positive(time, i) * kMicroseconds;
      const perf::AttentionShape chunked = shape_of(shape, 1, q, before);
      const perf::AttentionShape decoding = shape_of(shape, n, 1, kv);
      const perf::Work first = perf::prefill_work(chunked);
      const perf::Work next = perf::decode_work(decoding);
      if (q > 0 && n > 0) {
        if (collector.possible(i, key.precision, first.flops + next.flops, first.bytes + next.bytes,
                               seconds)) {
          mixed.push_back(i);
        }
      } else if (q > 0) {
        key.kind = OperatorKind::attention_prefill;
        if (add_to(collector, i, key,
                   {attention_point(q, chunked, std::max(1.0, before)), first.flops, first.bytes,
                    seconds})) {
          prefills[{q, before}] = seconds;
        }
      } else if (n > 0 && kv > 0) {
        key.kind = OperatorKind::attention_decode;
        if (add_to(collector, i, key,
                   {attention_point(kv, decoding, 0), next.flops, next.bytes, seconds})) {
          decodes[{n, kv}] = seconds;
        }
      } else {
        rows.refuse(i, "has neither a prefill chunk nor decoding sequences");
      }
    }
    note_too_fast(options_, folder.name + "/attention.csv", collector.finish());
    add_mixed(rows, mixed, prefills, decodes, {&chunk, &prior, &count, &context, &time});
  }

  static perf::AttentionShape shape_of(perf::AttentionShape heads, double sequences, double queries,
                                       double context) {
    heads.sequences = sequences;
    heads.queries = queries;
    heads.context = context;
    return heads;
  }

  /// Mixed rows whose prefill and decode were measured alone as well.
  void add_mixed(const TableRows& rows, const std::vector<std::size_t>& mixed,
                 const std::map<std::array<double, 2>, double>& prefills,
                 const std::map<std::array<double, 2>, double>& decodes,
                 const std::array<const TableColumn*, 5>& columns) {
    OperatorFit key = key_;
    key.kind = OperatorKind::attention_mixed;
    Slice& slice = slices_[key_text(key)];
    if (slice.samples.empty()) {
      slice.key = key;
      slice.quantities = surface_quantities(key.kind);
    } else {
      slice.key.source += key.source.substr(key.source.rfind(','));
    }
    for (const std::size_t i : mixed) {
      std::array<double, 5> v{};
      for (std::size_t c = 0; c < v.size(); ++c) {
        v[c] = rows.positive(*columns[c], i, true);
      }
      const auto prefill = prefills.find({v[0], v[1]});
      const auto decode = decodes.find({v[2], v[3]});
      if (prefill == prefills.end() || decode == decodes.end()) {
        continue;
      }
      SurfaceSample s;
      s.at = {prefill->second / kMicroseconds, decode->second / kMicroseconds, v[2]};
      s.bytes = (prefill->second + decode->second) * gpu_.intra_node.count();
      s.seconds = v[4] * kMicroseconds;
      slice.samples.push_back(s);
    }
  }

  /// Of the measured counts of active experts, those that routing by chance would use.
  void experts(const LayerFolder& folder) {
    const Table table = read_csv(folder.path / "moe.csv");
    const TableRows rows(table);
    const TableColumn& tokens = rows.numbers("tokens");
    const TableColumn& active = rows.numbers("activated_experts");
    const TableColumn& time = rows.numbers("time_us");
    const MoeSpec& moe = *folder.model.moe;
    perf::ExpertShape shape;
    shape.experts = moe.experts;
    shape.per_token = moe.experts_per_token;
    shape.hidden = static_cast<double>(folder.model.hidden);
    shape.width = static_cast<double>(moe.expert_intermediate) / folder.tp;
    shape.weights = folder.precision;
    std::map<double, std::size_t> nearest;
    const auto off = [&](std::size_t i) {
      const double n = rows.positive(tokens, i);
      return std::abs(rows.positive(active, i) -
                      perf::busiest_load(n, shape.per_token, shape.experts, 1).experts);
    };
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto [at, fresh] = nearest.try_emplace(rows.positive(tokens, i), i);
      if (!fresh && off(i) < off(at->second)) {
        at->second = i;
      }
    }
    OperatorFit key = key_;
    key.kind = OperatorKind::moe;
    Collector collector(rows, gpu_, slices_);
    for (const auto& [n, i] : nearest) {
      shape.tokens = n;
      add_to(collector, i, key, expert_sample(shape, rows.positive(time, i) * kMicroseconds));
    }
    note_too_fast(options_, folder.name + "/moe.csv", collector.finish());
  }

  const ImportOptions& options_;
  const GpuSpec& gpu_;
  OperatorFit key_;
  Slices slices_;
  PlainSamples plain_;
};

/// The folder of a GPU, where its parent was named.
fs::path gpu_folder(const std::string& path, const std::string& gpu) {
  std::string name = gpu;
  name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  const fs::path below = fs::path(path) / name;
  std::error_code ignored;
  return fs::is_directory(below, ignored) ? below : fs::path(path);
}

}  // namespace

Profile import_vllm_layers(const ImportOptions& options) {
  Profile profile = options.base ? *options.base : perf::specification_profile(options.gpu);
  LayerImport import(options, profile.device);
  for (const LayerFolder& folder : layer_folders(gpu_folder(options.path, profile.device.id))) {
    import.read(folder);
  }
  const std::string made = std::string("surfaces fitted to four fifths of the ") + kSource;
  profile.description =
      options.base
          ? profile.description + "; element-wise kernels, sampling and mixed attention: " + made
          : profile.device.name + ": " + made +
                "; constants of specification grade where there are none, collectives "
                "and 8-bit formats among them";
  for (EngineHost& host : profile.engines) {
    host.serving.reset();  // these are times inside an engine's steps
  }
  return finish_import(options, "vllm-layers", std::move(profile), import.slices(), import.plain());
}

}  // namespace dyn::profiler
