#include "model_quantization.h"

namespace dyn::detail {
namespace {

std::string text_of(const Node& object, std::string_view key) {
  const std::optional<Node> node = object.find(key);
  return node ? node->as_text().value_or("") : std::string();
}

/// The format of weights with 4 or 8 bits.
std::optional<Precision> of_bits(const Node& object, std::string_view key, bool floating,
                                 Problems& problems) {
  const std::optional<Node> bits = object.find(key);
  const std::int64_t value = bits ? bits->as_int().value_or(0) : 0;
  if (value == 8) {
    return floating ? Precision::fp8 : Precision::int8;
  }
  if (value == 4) {
    return floating ? Precision::fp4 : Precision::int4;
  }
  problems.add(bits.value_or(object), "expected '" + std::string(key) + "' to be 4 or 8");
  return std::nullopt;
}

/// The weights of the first of config_groups.
std::optional<Node> first_group(const Node& node) {
  const std::optional<Node> groups = node.find("config_groups");
  if (groups && groups->is_object() && groups->size() > 0) {
    return groups->at(0).find("weights");
  }
  return std::nullopt;
}

/// config_groups: { group_0: { weights: { num_bits: 8, type: float } } }
std::optional<Precision> of_compressed_tensors(const Node& node, Problems& problems) {
  const std::optional<Node> weights = first_group(node);
  if (!weights || !weights->is_object()) {
    problems.add(node, "expected 'config_groups' with the bits and type of the weights");
    return std::nullopt;
  }
  return of_bits(*weights, "num_bits", text_of(*weights, "type") == "float", problems);
}

}  // namespace

std::optional<Precision> read_quantization(const Node& node, Problems& problems) {
  const std::string method = text_of(node, "quant_method");
  const std::string algorithm = text_of(node, "quant_algo");
  if (method == "fp8") {
    const std::optional<Node> block = node.find("weight_block_size");
    return block && !block->is_null() ? Precision::fp8_block : Precision::fp8;
  }
  const bool modelopt = method == "modelopt" || method.empty();
  if (method == "fbgemm_fp8" || (modelopt && algorithm == "FP8")) {
    return Precision::fp8;
  }
  if (modelopt && algorithm == "NVFP4") {
    return Precision::fp4;
  }
  if (method == "mxfp4") {
    return Precision::mxfp4;
  }
  if (method == "awq" || method == "gptq") {
    return of_bits(node, "bits", false, problems);
  }
  if (method == "compressed-tensors") {
    return of_compressed_tensors(node, problems);
  }
  const std::string with = algorithm.empty() ? "" : " with quant_algo " + algorithm;
  problems.add(node.find("quant_method").value_or(node),
               "unsupported quantization '" + method + '\'' + with,
               "supported are fp8, fbgemm_fp8, modelopt (FP8, NVFP4), mxfp4, awq, gptq and "
               "compressed-tensors");
  return std::nullopt;
}

std::optional<FourBitScope> read_four_bit_scope(const Node& node) {
  bool named = false;
  bool attention = false;
  bool shared = false;
  for (const char* key : {"ignore", "modules_to_not_convert", "exclude_modules"}) {
    const std::optional<Node> list = node.find(key);
    if (!list || !list->is_list()) {
      continue;
    }
    for (const Node& item : list->children()) {
      const std::string name = item.as_text().value_or("");
      named = true;
      attention = attention || name.find("attn") != std::string::npos;
      shared = shared || name.find("shared_expert") != std::string::npos;
    }
  }
  if (!named) {
    return std::nullopt;
  }
  // mxfp4 is gpt-oss's, whose experts alone are quantised.
  if (shared || text_of(node, "quant_method") == "mxfp4") {
    return FourBitScope::experts;
  }
  return attention ? FourBitScope::mlp : FourBitScope::all;
}

int read_int4_group(const Node& node, Problems& problems) {
  constexpr int kUsual = 128;
  const std::optional<Node> weights = first_group(node);
  const Node& object = weights && weights->is_object() ? *weights : node;
  const std::optional<Node> size = object.find("group_size");
  if (!size || size->is_null()) {
    return kUsual;
  }
  const std::int64_t value = size->as_int().value_or(0);
  if (value == -1) {
    return 1 << 30;  // a scale per channel
  }
  if (value < 1 || value > 1 << 20) {
    problems.add(*size, "expected 'group_size' to be a whole number of at least 1, or -1");
    return kUsual;
  }
  return static_cast<int>(value);
}

}  // namespace dyn::detail
