#include "dyn/perf/layer_tables.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "dyn/core/error.h"
#include "sample_models.h"

namespace dyn::perf {

namespace {

/// A folder of tables of a two-layer model, removed at the end. Times are in microseconds:
/// a dense layer takes 10 + tokens, prefill attention chunk + prior / 10, decode attention
/// sequences * context / 100, both together 1.5 times the sum.
class TableFolder {
 public:
  TableFolder() : path_(std::filesystem::temp_directory_path() / "dyn_perf_layer_tables_test") {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
    std::string dense = "layer,tokens,time_us\n";
    for (const char* layer : {"embedding", "layernorm", "qkv_proj", "rotary_emb", "o_proj",
                              "gate_up_proj", "act_fn", "down_proj", "final_layernorm"}) {
      for (const int tokens : {1, 100, 1000}) {
        dense += std::string(layer) + "," + std::to_string(tokens) + "," +
                 std::to_string(10 + tokens) + "\n";
      }
    }
    write("dense.csv", dense);
    write("per_sequence.csv",
          "layer,sequences,time_us\nlm_head,1,100\nlm_head,101,200\nsampler,1,10\n"
          "sampler,101,110\n");
    write("attention.csv", attention());
  }
  ~TableFolder() { std::filesystem::remove_all(path_); }

  static std::string attention() {
    std::string text = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n";
    const auto add = [&](double q, double kv, double n, double c, double time) {
      text += std::to_string(q) + "," + std::to_string(kv) + "," + std::to_string(n) + "," +
              std::to_string(c) + "," + std::to_string(time) + "\n";
    };
    for (const double q : {0, 100, 200}) {
      for (const double kv : {0, 1000}) {
        for (const double n : {0, 1, 10}) {
          for (const double c : {100, 1000}) {
            if ((q == 0 && kv > 0) || (n == 0 && c > 100) || (q == 0 && n == 0)) {
              continue;
            }
            const double prefill = q > 0 ? q + kv / 10 : 0;
            const double decode = n * c / 100;
            const double factor = q > 0 && n > 0 ? 1.5 : 1;
            add(q, kv, n, n > 0 ? c : 0, factor * (prefill + decode));
          }
        }
      }
    }
    return text;
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

ModelSpec two_layers() {
  ModelSpec model = test::llama_8b();
  model.layers = 2;
  return model;
}

double microseconds(Duration d) {
  return to_seconds(d) * 1e6;
}

/// Dense layers of the two-layer model: embedding and final norm once; per layer two norms and
/// six others.
double dense_us(double tokens) {
  return (2 + 2 * (2 + 6)) * (10 + tokens);
}

void check_error(const TableFolder& folder, const std::string& expected) {
  try {
    (void)load_layer_tables(folder.path(), two_layers(), {});
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    CHECK_THAT(error.what(), Catch::Contains(expected));
    return;
  }
  FAIL("no error: " << expected);
}

}  // namespace

TEST_CASE("Layers run once a model or once a layer, and times are linear between points") {
  const TableFolder folder;
  const auto timer = load_layer_tables(folder.path(), two_layers(), {});
  StepBatch prefill;
  prefill.add_prefill(150, 500, true);
  CHECK(microseconds(timer->step_time(prefill)) ==
        Approx(dense_us(150) + 110 + 2 * (150 + 50)).epsilon(1e-6));
  StepBatch decode;
  decode.add_decode(300);
  decode.add_decode(500);
  CHECK(microseconds(timer->step_time(decode)) ==
        Approx(dense_us(2) + 112 + 2 * (2 * 400 / 100.0)).epsilon(1e-6));
}

TEST_CASE("The measured interaction of prefill and decode counts in mixed steps") {
  const TableFolder folder;
  const auto timer = load_layer_tables(folder.path(), two_layers(), {});
  StepBatch mixed;
  mixed.add_prefill(150, 500, false);
  for (int i = 0; i < 5; ++i) {
    mixed.add_decode(500);
  }
  CHECK(microseconds(timer->step_time(mixed)) ==
        Approx(dense_us(155) + 118 - 2 * 0.0 - 2 * 0.0 + 2 * 1.5 * (200 + 25) - 0).epsilon(0.001));
}

TEST_CASE("Beyond the grid attention grows with its work and keeps the interaction") {
  const TableFolder folder;
  const auto timer = load_layer_tables(folder.path(), two_layers(), {});
  StepBatch decode;
  StepBatch mixed;
  mixed.add_prefill(100, 0, false);
  for (int i = 0; i < 20; ++i) {
    decode.add_decode(2000);
    mixed.add_decode(2000);
  }
  const double sampled = 100 + 19 + 10 + 19;
  CHECK(microseconds(timer->step_time(decode)) ==
        Approx(dense_us(20) + sampled + 2 * 400).epsilon(0.001));
  CHECK(microseconds(timer->step_time(mixed)) ==
        Approx(dense_us(120) + sampled + 2 * 1.5 * (100 + 400)).epsilon(0.001));
}

TEST_CASE("Beyond the measured tokens dense layers grow in proportion") {
  const TableFolder folder;
  const auto timer = load_layer_tables(folder.path(), two_layers(), {});
  StepBatch large;
  large.add_prefill(2000, 0, false);
  // 2000 tokens of prefill are 20 * 20 / (2 * 2) = 100 times the pairs of the largest chunk, 200.
  CHECK(microseconds(timer->step_time(large)) ==
        Approx(2 * dense_us(1000) + 2 * 200 * 100).epsilon(0.001));
}

TEST_CASE("Host time is added to the step, or overlaps it") {
  const TableFolder folder;
  StepBatch decode;
  decode.add_decode(300);
  EngineHost host;
  const Duration bare = load_layer_tables(folder.path(), two_layers(), host)->step_time(decode);
  host.step_base = std::chrono::microseconds(300);
  host.step_per_sequence = std::chrono::microseconds(10);
  host.frontend_per_request = std::chrono::milliseconds(3);
  const auto timer = load_layer_tables(folder.path(), two_layers(), host);
  CHECK(timer->step_time(decode) - bare == std::chrono::microseconds(310));
  CHECK(timer->frontend_time() == std::chrono::milliseconds(3));
  host.overlapped = true;
  CHECK(load_layer_tables(folder.path(), two_layers(), host)->step_time(decode) == bare);
  CHECK(timer->step_time(StepBatch{}) == Duration{0});
}

TEST_CASE("Experts are read at the number that so many tokens are expected to use") {
  const TableFolder folder;
  folder.write("moe.csv",
               "tokens,activated_experts,time_us\n1,8,50\n100,8,60\n100,128,1000\n1000,8,100\n"
               "1000,128,1100\n");
  folder.write("dense.csv", [] {
    std::string dense = "layer,tokens,time_us\n";
    for (const char* layer : {"embedding", "layernorm", "qkv_proj", "rotary_emb", "qk_norm",
                              "o_proj", "final_layernorm"}) {
      dense += std::string(layer) + ",1,0\n" + layer + ",1000,0\n";
    }
    return dense;
  }());
  ModelSpec model = test::qwen3_30b_a3b();
  model.layers = 2;
  const auto timer = load_layer_tables(folder.path(), model, {});
  StepBatch one;
  one.add_decode(100);
  CHECK(microseconds(timer->step_time(one)) == Approx(2 * 50 + 110 + 2 * 1).epsilon(1e-6));
  StepBatch many;
  many.add_prefill(1000, 0, false);
  // All 128 experts are in use; attention beyond the grid is 25 times that of 200 tokens.
  CHECK(microseconds(timer->step_time(many)) == Approx(2 * 1100 + 2 * 200 * 25).epsilon(1e-3));
}

TEST_CASE("Errors of layer tables name the file and the row") {
  TableFolder folder;
  folder.write("per_sequence.csv", "layer,sequences,time_us\nlm_head,1,-5\nsampler,1,3\n");
  check_error(folder, "per_sequence.csv:2: error: /time_us: expected a finite number >= 0");
  folder.write("per_sequence.csv", "layer,sequences,time_us\nlm_head,1,nan\n");
  check_error(folder, "per_sequence.csv:2");
  folder.write("per_sequence.csv", "layer,sequences,time_us\nlm_head,1\n");
  check_error(folder, "expected 3 cells");
  folder.write("per_sequence.csv", "layer,sequences,time_us\nlm_head,1,5\n");
  check_error(folder, "no row of layer 'sampler'");
  folder.write("per_sequence.csv", "layer,sequences,time_us\nlm_haed,1,5\n");
  check_error(folder, "unknown layer 'lm_haed'");
  folder.write("per_sequence.csv", "layer,sequences,time_us\nlm_head,1.5,5\n");
  check_error(folder, "whole number");
  folder.write("per_sequence.csv", "layer,time_us\nlm_head,5\n");
  check_error(folder, "no column 'sequences'");
  folder.write("per_sequence.csv", "layer,sequences,time_us\n");
  check_error(folder, "has no rows");
  std::filesystem::remove(folder.path() + "/per_sequence.csv");
  check_error(folder, "cannot be read");
}

TEST_CASE("Attention tables need points of prefill alone and of decode alone") {
  TableFolder folder;
  folder.write("attention.csv",
               "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n16,0,0,0,5\n");
  check_error(folder, "no point with decoding sequences alone");
  folder.write("attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,0,0,5\n");
  check_error(folder, "neither");
}

TEST_CASE("A folder that is not there is an error") {
  CHECK_THROWS_AS(load_layer_tables("/nonexistent/tables", two_layers(), {}), Error);
}

}  // namespace dyn::perf
