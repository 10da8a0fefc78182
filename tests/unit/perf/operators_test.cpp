#include "operators.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/speculation.h"

namespace dyn::perf {

namespace {

PerfTarget target_of(const char* model, ParallelLayout layout = {},
                     std::optional<Precision> weights = std::nullopt) {
  PerfTarget target;
  target.model = find_model(model);
  target.layout = layout;
  target.weights = weights.value_or(target.model.native_weights);
  return target;
}

std::vector<Operator> graph_of(const PerfTarget& target, const char* gpu = "b200") {
  return operator_graph(target, find_gpu(gpu));
}

const Operator* find(const std::vector<Operator>& graph, const std::string& name) {
  const auto at =
      std::find_if(graph.begin(), graph.end(), [&](const Operator& op) { return op.name == name; });
  return at == graph.end() ? nullptr : &*at;
}

const Operator& get(const std::vector<Operator>& graph, const std::string& name) {
  INFO(name);
  const Operator* op = find(graph, name);
  REQUIRE(op != nullptr);
  return *op;
}

bool has_kind(const std::vector<Operator>& graph, OperatorKind kind) {
  return std::any_of(graph.begin(), graph.end(),
                     [&](const Operator& op) { return op.kind == kind; });
}

/// Flops of one token that is computed and sampled; attention to context and the update of
/// linear states, which have no parameters, left out.
double token_flops(const PerfTarget& target) {
  double flops = 0;
  for (const Operator& op : graph_of(target)) {
    if (op.kind == OperatorKind::moe) {
      flops += op.count * op.flops * op.experts->per_token;
    } else if (op.kind == OperatorKind::gemm) {
      flops += op.count * op.flops;
    } else if (op.kind == OperatorKind::sparse_decode) {
      flops += op.count * op.row_flops;
    }
  }
  return flops;
}

}  // namespace

TEST_CASE("Multiplications are two per active parameter, whatever the architecture") {
  for (const char* name :
       {"Llama-3.1-8B", "Qwen3-32B", "gemma-3-27b-it", "Mixtral-8x7B-v0.1", "MiniMax-M2.5",
        "gpt-oss-120b", "Llama-4-Maverick-17B-128E-Instruct", "DeepSeek-V3", "Kimi-K2.5",
        "DeepSeek-V3.2", "GLM-5", "Qwen3.5-397B-A17B", "Qwen3.5-27B"}) {
    INFO(name);
    const PerfTarget target = target_of(name);
    const ModelSpec& model = target.model;
    const std::int64_t embedding = model.tied_embeddings ? 0 : model.vocabulary * model.hidden;
    const double active = static_cast<double>(model.active_parameters() - embedding);
    CHECK(token_flops(target) == Approx(2 * active).epsilon(0.01));
  }
}

TEST_CASE("Every kind of attention has its own operators") {
  using Kind = OperatorKind;
  const auto latent = graph_of(target_of("DeepSeek-R1"));
  CHECK(get(latent, "attention_prefill").kind == Kind::latent_prefill);
  CHECK(get(latent, "attention_decode").kind == Kind::latent_decode);
  CHECK(get(latent, "attention_decode").bytes == 576 * 2);
  const auto sparse = graph_of(target_of("DeepSeek-V3.2"));
  CHECK(get(sparse, "attention_prefill").kind == Kind::sparse_prefill);
  CHECK(get(sparse, "attention_decode").kind == Kind::sparse_decode);
  CHECK(get(sparse, "attention_decode").window == 2048);
  CHECK(get(sparse, "attention_decode").count == 61);
  const auto hybrid = graph_of(target_of("Qwen3.5-397B-A17B"));
  CHECK(get(hybrid, "linear_prefill").kind == Kind::linear_prefill);
  CHECK(get(hybrid, "linear_decode").count == 45);
  CHECK(get(hybrid, "linear_decode").bytes == 0);
  CHECK(get(hybrid, "attention_decode").count == 15);
  CHECK(get(hybrid, "qkv_gemm").shape.n == (2 * 32 + 2 * 2) * 256);
  const auto windows = graph_of(target_of("gpt-oss-120b"));
  CHECK(get(windows, "attention_decode").count == 18);
  CHECK(get(windows, "attention_decode_sliding").window == 128);
  const auto local = graph_of(target_of("Llama-4-Scout-17B-16E-Instruct"));
  CHECK(get(local, "attention_decode").count == 12);
  CHECK(get(local, "attention_decode_sliding").count == 36);
}

TEST_CASE("Sparse attention is one operator with its projections; what is sparse stays bounded") {
  const auto graph = graph_of(target_of("GLM-5", {8, 1, 1, 8}, Precision::fp8_block));
  for (const Operator& op : graph) {
    CHECK(op.name.find("q_up") == std::string::npos);
    CHECK(op.name != "o_gemm");
  }
  const Operator& decode = get(graph, "attention_decode");
  const double projections = 6144 * (2048 + 576) + 2048 * 8 * 256 + 512 * 8 * (192 + 256) +
                             8 * 256 * 6144 + 2048 * 32 * 128 + 6144 * (128 + 32);
  CHECK(decode.fixed_bytes ==
        Approx(projections * bytes_per_value(Precision::fp8_block)).epsilon(1e-12));
  CHECK(decode.row_flops == Approx(2 * projections).epsilon(1e-12));
  CHECK(decode.index_flops == 2 * 32 * 128);  // not sharded
  CHECK(decode.index_bytes == 132);
  const auto shared = graph_of(target_of("GLM-5.2"));
  CHECK(get(shared, "attention_decode").count == 21);
  CHECK(get(shared, "attention_decode_shared_index").count == 57);
  CHECK(get(shared, "attention_decode_shared_index").index_flops == 0);
}

TEST_CASE("Four-bit checkpoints leave attention, and some of them shared experts, in bf16") {
  const auto precision = [](const PerfTarget& target, const char* name) {
    return get(graph_of(target), name).precision;
  };
  const PerfTarget deepseek = target_of("DeepSeek-R1", {8, 1, 1, 8}, Precision::fp4);
  CHECK(precision(deepseek, "qkv_down_gemm") == Precision::bf16);
  CHECK(precision(deepseek, "experts") == Precision::fp4);
  CHECK(precision(deepseek, "shared_expert_up_gemm") == Precision::fp4);
  CHECK(precision(deepseek, "mlp_up_gemm") == Precision::fp4);
  CHECK(precision(deepseek, "lm_head") == Precision::bf16);
  CHECK(precision(deepseek, "expert_router") == Precision::bf16);
  const PerfTarget kimi = target_of("Kimi-K2.5");
  CHECK(precision(kimi, "experts") == Precision::int4);
  CHECK(precision(kimi, "shared_expert_up_gemm") == Precision::bf16);
  const PerfTarget gpt_oss = target_of("gpt-oss-120b");
  CHECK(precision(gpt_oss, "qkv_gemm") == Precision::bf16);
  CHECK(precision(gpt_oss, "experts") == Precision::mxfp4);
  CHECK(precision(target_of("Qwen3-32B", {}, Precision::fp4), "qkv_gemm") == Precision::fp4);
  CHECK(precision(target_of("DeepSeek-R1"), "o_gemm") == Precision::fp8_block);
  PerfTarget chosen = deepseek;
  chosen.attention_weights = Precision::fp8;
  chosen.expert_weights = Precision::mxfp4;
  CHECK(precision(chosen, "o_gemm") == Precision::fp8);
  CHECK(precision(chosen, "experts") == Precision::mxfp4);
}

TEST_CASE("Experts meet their tokens by gather and scatter in a node, all to all beyond") {
  const auto near = graph_of(target_of("DeepSeek-R1", {1, 1, 8, 8}));
  const Operator& dispatch = get(near, "expert_dispatch");
  CHECK(dispatch.kind == OperatorKind::all_gather);
  CHECK(dispatch.group == 8);
  CHECK(dispatch.shape.message == 8 * 7168 * 2);
  CHECK(dispatch.bytes == 7 * 7168 * 2);
  CHECK(get(near, "expert_combine").kind == OperatorKind::reduce_scatter);
  const auto wide = graph_of(target_of("DeepSeek-R1", {1, 1, 32, 32}), "gb200");
  CHECK(get(wide, "expert_dispatch").kind == OperatorKind::all_to_all);
  CHECK_FALSE(get(wide, "expert_dispatch").between_nodes);
  PerfTarget quantised = target_of("DeepSeek-R1", {1, 1, 8, 8}, Precision::fp4);
  quantised.engine = "trtllm";
  CHECK(get(graph_of(quantised), "expert_dispatch").shape.message ==
        8 * 7168 * bytes_per_value(Precision::fp4));
  const auto tensor = graph_of(target_of("DeepSeek-R1", {8, 1, 1, 8}));
  CHECK(find(tensor, "expert_dispatch") == nullptr);
  CHECK(get(tensor, "expert_all_reduce").kind == OperatorKind::all_reduce);
}

TEST_CASE(
    "Experts compute their own tokens alone where an all-to-all brings them, not within a node") {
  const auto kinds = [](const char* engine, ParallelLayout layout, const char* gpu = "gb200") {
    PerfTarget target = target_of("DeepSeek-R1", layout);
    target.engine = engine;
    const auto graph = graph_of(target, gpu);
    return std::pair(get(graph, "experts").kind, get(graph, "expert_dispatch").kind);
  };
  const std::pair gathered(OperatorKind::moe, OperatorKind::all_gather);
  const std::pair sent(OperatorKind::moe_dispatched, OperatorKind::all_to_all);
  for (const char* const engine : {"sglang", "vllm"}) {
    CHECK((kinds(engine, {1, 1, 8, 8}) == gathered));
    CHECK((kinds(engine, {1, 1, 8, 1}) == gathered));
    CHECK((kinds(engine, {1, 1, 32, 32}) == sent));
    CHECK((kinds(engine, {1, 1, 16, 16}, "h200") == sent));
    CHECK((kinds(engine, {2, 1, 8, 8}).first == OperatorKind::moe));  // two GPUs share experts
  }
  CHECK(kinds("trtllm", {1, 1, 32, 32}).first == OperatorKind::moe);
}

TEST_CASE("What a layout does not divide is padded, not refused") {
  const auto shape = [](const PerfTarget& target, const char* name) {
    return get(graph_of(target, "gb200"), name).shape;
  };
  CHECK(shape(target_of("gpt-oss-120b", {16, 1, 1, 1}), "experts").width == 180);
  CHECK(shape(target_of("DeepSeek-R1", {72, 1, 1, 1}), "experts").width == 29);
  CHECK(shape(target_of("DeepSeek-R1", {36, 1, 1, 1}), "attention_decode").heads == 4);
  CHECK(shape(target_of("Qwen3-235B-A22B", {2, 1, 2, 1}), "experts").width == 1536 / 4);
  CHECK(shape(target_of("Qwen3.5-397B-A17B", {4, 1, 1, 2}), "experts").width == 1024 / 2);
  CHECK_NOTHROW(graph_of(target_of("DeepSeek-R1", {1, 1, 72, 72}), "gb200"));
  CHECK_THROWS_AS(graph_of(target_of("DeepSeek-R1", {256, 1, 1, 1})), Error);
  CHECK_THROWS_AS(graph_of(target_of("DeepSeek-R1", {1, 1, 512, 512})), Error);
  CHECK_THROWS_AS(graph_of(target_of("gpt-oss-120b", {3, 1, 1, 1})), Error);
}

TEST_CASE("Drafts are more rows for a sequence, and a layer run once for each of them") {
  PerfTarget target = target_of("DeepSeek-R1", {8, 1, 1, 8});
  const auto plain = graph_of(target);
  target.speculation = Speculation{SpeculationKind::mtp, 3, 2.49};
  CHECK(target.tokens_per_decode() == 4);
  const auto graph = graph_of(target);
  CHECK(get(graph, "attention_decode").flops == 4 * get(plain, "attention_decode").flops);
  CHECK(get(graph, "attention_decode").bytes == get(plain, "attention_decode").bytes);
  CHECK(get(graph, "lm_head").flops == 4 * get(plain, "lm_head").flops);
  CHECK(get(graph, "lm_head").fixed_bytes == get(plain, "lm_head").fixed_bytes);
  CHECK(get(graph, "qkv_down_gemm").flops == get(plain, "qkv_down_gemm").flops);
  CHECK(get(graph, "draft_experts").count == 1);
  CHECK(get(graph, "draft_experts_again").count == 2);
  CHECK(get(graph, "draft_experts_again").driver == Driver::sampled);
  CHECK(get(graph, "draft_attention_decode").count == 3);
  CHECK(get(graph, "draft_head").count == 3);
  CHECK(find(graph, "draft_mlp_up_gemm") == nullptr);
  target.speculation = Speculation{SpeculationKind::eagle, 1, 1.8};
  const auto eagle = graph_of(target);
  CHECK(get(eagle, "draft_mlp_up_gemm").precision == Precision::bf16);
  CHECK(find(eagle, "draft_experts") == nullptr);
  CHECK(find(eagle, "draft_mlp_up_gemm_again") == nullptr);
}

TEST_CASE("Acceptance lengths grow from one draft to two and stay below all drafts accepted") {
  for (const AcceptanceLengths& row : acceptance_lengths()) {
    INFO(row.model);
    CHECK(row.lengths[1] > row.lengths[0]);
    for (std::size_t i = 0; i < row.lengths.size(); ++i) {
      CHECK(row.lengths[i] > 1);
      CHECK(row.lengths[i] < static_cast<double>(i + 2));
    }
  }
  const auto kimi = measured_speculation(find_model("Kimi-K2.5"), 3);
  REQUIRE(kimi);
  CHECK(kimi->kind == SpeculationKind::eagle);
  CHECK(kimi->acceptance_length == 2.88);
  const auto glm = measured_speculation(find_model("GLM-5"), 1);
  REQUIRE(glm);
  CHECK(glm->kind == SpeculationKind::mtp);
  CHECK(glm->acceptance_length == 1.84);
  CHECK_FALSE(measured_speculation(find_model("Llama-3.1-8B"), 3));
  CHECK_FALSE(measured_speculation(find_model("GLM-5"), 9));
}

TEST_CASE("Shapes say what one GPU has") {
  const auto graph = graph_of(target_of("Qwen3-32B", {8, 1, 1, 1}));
  const OperatorShape& attention = get(graph, "attention_decode").shape;
  CHECK(attention.heads == 8);
  CHECK(attention.head_dim == 128);
  CHECK(attention.kv_group == 8);
  CHECK(get(graph, "qkv_gemm").shape.n == 10 * 128);
  CHECK(get(graph, "qkv_gemm").shape.k == 5120);
  CHECK(get(graph, "attention_all_reduce").shape.message == 5120 * 2);
  PerfTarget narrow = target_of("Qwen3-32B");
  narrow.kv_cache = Precision::fp8;
  CHECK(get(graph_of(narrow), "attention_prefill").kv_cache == Precision::fp8);
  CHECK_FALSE(has_kind(graph_of(narrow), OperatorKind::all_reduce));
}

}  // namespace dyn::perf
