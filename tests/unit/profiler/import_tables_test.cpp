#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "csv_rows.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/profiler/import.h"
#include "dyn/profiler/operator_scores.h"
#include "slice_fits.h"
#include "table_rows.h"

namespace dyn::profiler {
namespace {

namespace fs = std::filesystem;

const GpuSpec& h200() {
  return find_gpu("h200");
}

OperatorFit key_of(const std::string& engine) {
  OperatorFit key;
  key.engine = engine;
  return key;
}

TableSummary read_gemm(const std::string& rows, Slices& slices) {
  const Table table = parse_csv("gemm_dtype,m,n,k,latency\n" + rows, "gemm.parquet");
  return TableImporter(h200(), slices).gemm(table, key_of("sglang"));
}

/// The message of the error that `run` throws; empty if there is none.
template <typename Run>
std::string error_of(Run run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("Rows become samples by engine and precision, and what dyn has no format of is counted") {
  Slices slices;
  const TableSummary summary = read_gemm(
      "bfloat16,64,4096,4096,0.02\nfp8,64,4096,4096,0.012\nfp8,128,4096,4096,0.013\n"
      "int8_wo,64,4096,4096,0.02\n",
      slices);
  CHECK(summary.rows == 4);
  CHECK(summary.used == 3);
  CHECK(summary.unknown == 1);
  REQUIRE(slices.size() == 2);
  const Slice& fp8 = slices.at("gemm sglang fp8");
  CHECK(fp8.samples.size() == 2);
  CHECK(fp8.samples[1].at[0] == 128);
  CHECK(fp8.samples[1].flops == 2.0 * 128 * 4096 * 4096);
  CHECK(fp8.samples[1].seconds == Approx(13e-6));
}

TEST_CASE("Of two kernels at one point the faster counts") {
  Slices slices;
  const TableSummary summary =
      read_gemm("fp8,64,4096,4096,0.012\nfp8,64,4096,4096,0.010\nfp8,64,4096,4096,0.011\n", slices);
  CHECK(summary.repeated == 2);
  REQUIRE(slices.begin()->second.samples.size() == 1);
  CHECK(slices.begin()->second.samples[0].seconds == Approx(10e-6));
}

TEST_CASE("A table without a column that is needed is refused, with the nearest name") {
  const std::string error = error_of([] {
    Slices slices;
    const Table table = parse_csv("gemm_dtype,m,n,kk,latency\nfp8,1,2,3,0.1\n", "gemm.parquet");
    (void)TableImporter(h200(), slices).gemm(table, key_of("vllm"));
  });
  CHECK(contains(error, "gemm.parquet"));
  CHECK(contains(error, "no column 'k'"));
}

TEST_CASE("A column of the other type is refused with the cell that makes it so") {
  const auto refused = [](const std::string& rows) {
    return error_of([&rows] {
      Slices slices;
      (void)read_gemm(rows, slices);
    });
  };
  CHECK(contains(refused("fp8,64,8,4096,0.02\nfp8,64,many,4096,0.02\n"),
                 "row 2: n is 'many', which is not a number"));
  CHECK(contains(refused("8,64,64,4096,0.02\n"), "column 'gemm_dtype' is not of texts"));
  CHECK(contains(refused("fp8,64,64,4096,inf\n"), "latency is infinite"));
}

TEST_CASE("The last row needs no line break, but all its cells") {
  Slices slices;
  CHECK(read_gemm("fp8,64,64,4096,0.02\nfp8,128,64,4096,0.02", slices).used == 2);
  CHECK(contains(error_of([&] { (void)read_gemm("fp8,64,8,4096,0.02\nfp8,64,8,40", slices); }),
                 "row 2: has 4 cells, the header 5; is the file truncated?"));
}

TEST_CASE("A table without rows, with a column twice, or not there is refused") {
  const auto refused = [](const std::string& text) {
    return error_of([&text] { (void)parse_csv(text, "some.csv"); });
  };
  CHECK(contains(refused("m,n\n"), "some.csv"));
  CHECK(contains(refused("m,n\n"), "has no rows"));
  CHECK(contains(refused(""), "has no rows"));
  CHECK(contains(refused("m,n,m\n1,2,3\n"), "has two columns 'm'"));
  const std::string absent = error_of([] { (void)read_csv("/nonexistent.csv"); });
  CHECK(contains(absent, "/nonexistent.csv"));
  CHECK(contains(absent, "cannot be read"));
}

TEST_CASE("Numbers that a table has as texts are refused, which no cell is to blame for") {
  Table table = parse_csv("gemm_dtype,m,n,k,latency\nfp8,64,8,4096,0.02\n", "gemm.parquet");
  TableColumn& n = table.columns[2];
  n.text = true;
  n.numbers.clear();
  n.dictionary = {"8"};
  n.codes = {0};
  Slices slices;
  CHECK(contains(error_of([&] { TableImporter(h200(), slices).gemm(table, key_of("vllm")); }),
                 "column 'n' is not of numbers"));
}

TEST_CASE("A gated delta rule of neither phase is refused with its row") {
  const Table table = parse_csv(
      "kernel_source,phase,batch_size,seq_len,num_k_heads,num_v_heads,head_k_dim,head_v_dim,"
      "d_conv,latency\n"
      "causal_conv1d_fn,context,1,1024,16,32,128,128,4,0.016\n"
      "chunk_gated_delta_rule,prefill,1,1024,16,32,128,128,4,0.058\n",
      "gdn.parquet");
  Slices slices;
  CHECK(contains(error_of([&] { TableImporter(h200(), slices).linear(table, key_of("vllm")); }),
                 "row 2: phase is 'prefill', neither context nor generation"));
}

TEST_CASE("An import that is interrupted says so and makes no fits") {
  Slices slices;
  (void)read_gemm("fp8,64,4096,4096,0.02\n", slices);
  const std::atomic<bool> cancelled{true};
  CHECK(contains(error_of([&] {
                   (void)fit_slices(slices, h200(), {&cancelled, nullptr});
                 }),
                 "interrupted"));
}

TEST_CASE("A time or size that is negative, zero or no number is refused with its row") {
  for (const char* row : {"fp8,64,4096,4096,-0.02", "fp8,64,4096,4096,0", "fp8,64,4096,4096,nan",
                          "fp8,64,4096,4096,inf", "fp8,64,4096,4096,", "fp8,0,4096,4096,0.02",
                          "fp8,-64,4096,4096,0.02"}) {
    INFO(row);
    const std::string error = error_of([&] {
      Slices slices;
      (void)read_gemm("fp8,64,4096,4096,0.02\n" + std::string(row) + "\n", slices);
    });
    CHECK(contains(error, "gemm.parquet"));
    CHECK(contains(error, "row 2"));
  }
}

TEST_CASE("Times that the device cannot reach are refused as wrong units, with the first row") {
  // 2 * 8192^3 flops in 1.1 us: seconds read as milliseconds.
  const std::string error = error_of([] {
    Slices slices;
    (void)read_gemm("fp8,64,4096,4096,0.02\nfp8,8192,8192,8192,0.0011\n", slices);
  });
  CHECK(contains(error, "row 2"));
  CHECK(contains(error, "needs at least"));
}

TEST_CASE("A few rows that are too fast are left out and counted") {
  std::string rows;
  for (int m = 1; m <= 99; ++m) {
    rows += "fp8," + std::to_string(m) + ",4096,4096,0.02\n";
  }
  Slices slices;
  const TableSummary summary = read_gemm(rows + "fp8,8192,8192,8192,0.0011\n", slices);
  CHECK(summary.too_fast == 1);
  CHECK(summary.used == 99);
  CHECK(too_fast_text(summary) ==
        "1 faster than the device can be (the first: row 100 takes 1.1 us, but the NVIDIA H200 SXM "
        "needs at least 556 us)");
  CHECK(too_fast_text(read_gemm(rows, slices)) == "0 faster than the device can be");
}

TEST_CASE("The two halves of a gated delta rule make one sample") {
  const Table table = parse_csv(
      "kernel_source,phase,batch_size,seq_len,num_k_heads,num_v_heads,head_k_dim,head_v_dim,"
      "d_conv,latency\n"
      "causal_conv1d_fn,context,1,1024,16,32,128,128,4,0.016\n"
      "chunk_gated_delta_rule,context,1,1024,16,32,128,128,4,0.058\n"
      "causal_conv1d_update,generation,16,1,16,32,128,128,4,0.002\n"
      "fused_recurrent,generation,16,1,16,32,128,128,4,0.017\n"
      "fused_recurrent,generation,32,1,16,32,128,128,4,0.030\n",
      "gdn.parquet");
  Slices slices;
  const TableSummary summary = TableImporter(h200(), slices).linear(table, key_of("vllm"));
  CHECK(summary.used == 2);
  CHECK(summary.unknown == 1);
  CHECK(slices.at("linear_prefill vllm bf16").samples[0].seconds == Approx(74e-6));
  CHECK(slices.at("linear_decode vllm bf16").samples[0].seconds == Approx(19e-6));
}

TEST_CASE("A layer of sparse attention is found by its model and heads") {
  const Table table = parse_csv(
      "model,op_name,gemm_type,kv_cache_dtype,num_heads,batch_size,isl,step,latency\n"
      "deepseek-ai/DeepSeek-V3.2,dsa_context_module,bfloat16,fp8,16,1,4096,0,3.0\n"
      "zai-org/GLM-5,dsa_context_module,bfloat16,fp8,16,1,4096,0,3.0\n"
      "zai-org/GLM-5,dsa_context_module_skip_indexer,bfloat16,fp8,16,1,4096,0,3.0\n",
      "dsa.parquet");
  Slices slices;
  const TableSummary summary = TableImporter(h200(), slices).sparse_prefill(table, key_of("vllm"));
  CHECK(summary.unknown == 1);
  const std::vector<SurfaceSample>& samples = slices.at("sparse_prefill vllm bf16, KV fp8").samples;
  REQUIRE(samples.size() == 2);
  CHECK(samples[0].at[4] == 7168);
  CHECK(samples[1].at[4] == 6144);
  CHECK(samples[0].flops > 2e11);
  CHECK(samples[0].flops != samples[1].flops);
}

const char* const kMoeColumns =
    "moe_dtype,kernel_source,distribution,num_tokens,hidden_size,inter_size,topk,num_experts,"
    "moe_tp_size,moe_ep_size,latency\n";

TEST_CASE("Of MXFP4 experts with wide and narrow activations those that engines run are read") {
  const std::string wide = "w4a16_mxfp4,triton,power_law_1.2,";
  const std::string narrow = "w4a8_mxfp4_mxfp8,trtllm,power_law_1.2,";
  const auto read = [](const std::string& rows, Slices& slices) {
    const Table table = parse_csv(kMoeColumns + rows, "moe.parquet");
    return TableImporter(find_gpu("b200"), slices).moe(table, key_of("sglang"));
  };
  Slices slices;
  TableSummary summary =
      read(wide + "64,2880,2880,4,128,1,1,0.3\n" + narrow + "64,2880,2880,4,128,1,1,0.2\n" + wide +
               "64,2880,2880,4,32,1,1,0.1\n",
           slices);
  CHECK(summary.used == 2);
  CHECK(summary.unknown == 1);
  CHECK(contains(summary.why, "W4A8"));
  const std::vector<SurfaceSample>& samples = slices.at("moe sglang mxfp4").samples;
  REQUIRE(samples.size() == 2);
  CHECK(samples[0].seconds == Approx(200e-6));
  CHECK(samples[1].seconds == Approx(100e-6));
  // 8-bit arithmetic is twice as fast as MXFP4's own limit with bf16 activations, but no faster.
  const std::string large = "32768,2880,2880,4,128,1,1,";  // 6.5 TFLOP: 2.9 ms in bf16
  slices.clear();
  CHECK(read(narrow + large + "2.0\n", slices).too_fast == 0);
  CHECK_THROWS_AS(read(narrow + large + "1.0\n", slices), Error);
  CHECK_THROWS_AS(read(wide + large + "2.0\n", slices), Error);
}

TEST_CASE("Experts behind an all-to-all: decode in full, of prefill what is not launching") {
  const std::string row = "fp8_block,deepepmoe,power_law_0.6,";
  const auto table = [](const std::string& rows) {
    return parse_csv(kMoeColumns + rows, "wideep_moe.parquet");
  };
  OperatorFit key = key_of("sglang");
  key.source = "tables/0.5.10/wideep_generation_moe_perf";
  Slices slices;
  TableImporter importer(h200(), slices);
  TableSummary summary = importer.dispatched_decode(
      table(row + "4096,7168,2048,8,256,1,64,0.12\n" +
            "fp8_block,deepepmoe,power_law_1.2,4096,7168,2048,8,256,1,64,0.2\n"),
      key);
  CHECK(summary.used == 1);
  CHECK(summary.unknown == 1);
  summary = importer.dispatched_prefill(
      table(row + "8192,7168,2048,8,256,1,64,0.50\n" + row + "16384,7168,2048,8,256,1,64,0.55\n" +
            row + "65536,7168,2048,8,256,1,64,2.0\n"),
      key);
  CHECK(summary.used == 1);
  CHECK(summary.unknown == 2);
  CHECK(contains(summary.why, "launching"));
  const Slice& slice = slices.at("moe_dispatched sglang fp8_block");
  REQUIRE(slice.samples.size() == 2);
  CHECK(slice.samples[0].seconds == Approx(120e-6));
  CHECK(slice.samples[0].at[1] == 4096.0 * 8 / 256);  // rows of an expert
  CHECK(slice.samples[0].at[2] == 4);                 // experts of a GPU
  CHECK(slice.samples[1].seconds == Approx(2e-3));
  CHECK(contains(slice.key.source, "tables/0.5.10/wideep_generation_moe_perf and wideep_context"));
  CHECK(contains(error_of([&] {
                   importer.dispatched_decode(table(row + "4096,7168,2048,8,256,1,64,-0.12\n"),
                                              key);
                 }),
                 "row 1: latency is -0.12"));
}

TEST_CASE("An exchange of tokens is half of its preparation, dispatch and combine") {
  const Table table = parse_csv(
      "op_name,kernel_source,moe_dtype,num_tokens,hidden_size,topk,moe_ep_size,latency\n"
      "alltoall_prepare,two,fp8,128,7168,8,32,0.010\n"
      "alltoall_dispatch,two,fp8,128,7168,8,32,0.020\n"
      "alltoall_combine,two,fp8,128,7168,8,32,0.030\n"
      "alltoall_dispatch,one,fp8,128,7168,8,32,0.022\n"
      "alltoall_combine,one,fp8,128,7168,8,32,0.024\n"
      "alltoall_dispatch,one,fp8,256,7168,8,32,0.022\n",
      "alltoall.parquet");
  Slices slices;
  const TableSummary summary =
      TableImporter(find_gpu("gb200"), slices).expert_exchange(table, key_of("trtllm"));
  CHECK(summary.used == 1);
  CHECK(summary.repeated == 1);
  CHECK(summary.unknown == 1);  // sent, but never brought back
  const std::vector<SurfaceSample>& samples = slices.at("all_to_all trtllm bf16, GPUs 32").samples;
  REQUIRE(samples.size() == 1);
  CHECK(samples[0].seconds == Approx(23e-6));
  CHECK(samples[0].at[0] == Approx(128 * 8 * 31.0 / 32 * 7168 * 2));
}

TEST_CASE("Of DeepEP's two modes between nodes the faster counts; within one there is no need") {
  Slices slices;
  TableImporter importer(h200(), slices);
  const Table low = parse_csv(
      "node_num,hidden_size,num_token,num_topk,dispatch_avg_t_us,combine_avg_t_us\n"
      "1,7168,128,8,40,70\n2,7168,128,8,100,180\n2,7168,1024,8,900,1900\n",
      "ll.parquet");
  const Table normal = parse_csv(
      "node_num,hidden_size,num_token,num_topk,dispatch_transmit_us,dispatch_notify_us,"
      "combine_transmit_us,combine_notify_us\n"
      "2,7168,128,8,200,30,300,30\n2,7168,1024,8,300,40,500,0\n",
      "normal.parquet");
  CHECK(importer.deepep_low_latency(low, key_of("sglang")).used == 2);
  CHECK(importer.deepep_normal(normal, key_of("sglang")).repeated == 2);
  const Slice& slice = slices.at("all_to_all sglang bf16, GPUs 16");
  REQUIRE(slice.samples.size() == 2);
  CHECK(slice.samples[0].seconds == Approx(140e-6));
  CHECK(slice.samples[1].seconds == Approx(420e-6));
  CHECK(surface_input(slice, h200()).bandwidth == h200().inter_node);
}

TEST_CASE("A slice that its surfaces do not describe is left out, and its nearest answers") {
  // Two kernels of one size, eight times apart by the parity of a count that no axis tells.
  Slices slices;
  std::string rows;
  for (int i = 1; i <= 400; ++i) {
    rows += "fp8," + std::to_string(i) + ",4096,4096," + (i * 7919 % 13 < 6 ? "8" : "0.02") + "\n";
  }
  (void)read_gemm(rows, slices);
  std::string said;
  const auto fits = fit_slices(
      slices, h200(), {nullptr, [&said](const std::string& text) { said += text + "\n"; }});
  CHECK(fits.empty());
  CHECK(contains(said, "left out: gemm sglang fp8"));
}

TEST_CASE("A folder without tables and a GPU without any are errors that say so") {
  ImportOptions options;
  options.path = "/nonexistent";
  options.gpu = "h200";
  CHECK(contains(error_of([&] { (void)import_aiconfigurator(options); }), "no tables of h200_sxm"));
  options.gpu = "mi300x";
  CHECK(contains(error_of([&] { (void)import_aiconfigurator(options); }), "no tables of"));
  options.gpu = "a100";
  CHECK(contains(error_of([&] { (void)import_vidur(options); }), "no tables of a100"));
  CHECK(contains(error_of([&] { (void)import_vllm_layers(options); }), "no layer tables"));
}

TEST_CASE("A package of whose tables none can be used is an error that says so") {
  const fs::path root = fs::temp_directory_path() / "dyn_import_no_rows";
  fs::remove_all(root);
  fs::create_directories(root / "data/h200_sxm");
  ImportOptions options;
  options.path = root.string();
  options.gpu = "h200";
  const std::string error = error_of([&] { (void)import_aiconfigurator(options); });
  fs::remove_all(root);
  CHECK(contains(error, "none of its tables of the NVIDIA H200"));
  CHECK(contains(error, root.string()));
}

TEST_CASE("Scores are written in every form") {
  OperatorScores scores;
  scores.gpus = {"h200"};
  scores.slices = {{"h200", "gemm", "gemm", "vllm", "0.24.0", "fp8", 100, 20, 0.0213, 0.0718, 0.9}};
  scores.groups = {{"all", "gemm", "", "", "", "", 100, 20, 0.0213, 0.0718, 0.9}};
  CHECK(contains(to_text(scores), "2.1 %"));
  CHECK(contains(to_json(scores), "\"median\": 0.0213"));
  const std::string markdown = to_markdown(scores, "dyn profile eval");
  CHECK(contains(markdown, "| gemm | vllm 0.24.0 | fp8 | 20 | 2.1 % | 7.2 % | 90.0 % |"));
  CHECK(contains(markdown, "    dyn profile eval"));
}

}  // namespace
}  // namespace dyn::profiler
