#include <algorithm>
#include <filesystem>
#include <iterator>
#include <limits>

#include "dyn/core/catalogue.h"
#include "dyn/core/document.h"
#include "dyn/core/node.h"
#include "model_fields.h"
#include "model_quantization.h"
#include "model_vision.h"

// Field names and the defaults of absent fields are those of the configuration classes in Hugging
// Face transformers 4.5x (LlamaConfig, Qwen2Config, ..., GptOssConfig).

namespace dyn {
namespace {

enum class Family {
  llama,
  qwen2,
  qwen3,
  mistral,
  gemma,
  gemma2,
  gemma3,
  qwen3_moe,
  mixtral,
  deepseek,
  gpt_oss,
  minimax,
  qwen_hybrid,
  llama4
};

struct Architecture {
  std::string_view name;
  std::string_view model_type;  ///< says the same where a config has no `architectures`
  Family family;
};

constexpr Architecture kArchitectures[] = {
    {"LlamaForCausalLM", "llama", Family::llama},
    {"Qwen2ForCausalLM", "qwen2", Family::qwen2},
    {"Qwen3ForCausalLM", "qwen3", Family::qwen3},
    {"MistralForCausalLM", "mistral", Family::mistral},
    {"Mistral3ForConditionalGeneration", "mistral3", Family::mistral},
    {"GemmaForCausalLM", "gemma", Family::gemma},
    {"Gemma2ForCausalLM", "gemma2", Family::gemma2},
    {"Gemma3ForCausalLM", "gemma3_text", Family::gemma3},
    {"Gemma3ForConditionalGeneration", "gemma3", Family::gemma3},
    {"Qwen3MoeForCausalLM", "qwen3_moe", Family::qwen3_moe},
    {"Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", Family::qwen2},
    {"Qwen3VLForConditionalGeneration", "qwen3_vl", Family::qwen3},
    {"Qwen3VLMoeForConditionalGeneration", "qwen3_vl_moe", Family::qwen3_moe},
    {"MixtralForCausalLM", "mixtral", Family::mixtral},
    {"DeepseekV3ForCausalLM", "deepseek_v3", Family::deepseek},
    {"DeepseekV32ForCausalLM", "deepseek_v32", Family::deepseek},
    {"KimiK25ForConditionalGeneration", "kimi_k25", Family::deepseek},
    {"GlmMoeDsaForCausalLM", "glm_moe_dsa", Family::deepseek},
    {"GptOssForCausalLM", "gpt_oss", Family::gpt_oss},
    {"MiniMaxM2ForCausalLM", "minimax_m2", Family::minimax},
    {"Qwen3NextForCausalLM", "qwen3_next", Family::qwen_hybrid},
    {"Qwen3_5ForConditionalGeneration", "qwen3_5", Family::qwen_hybrid},
    {"Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe", Family::qwen_hybrid},
    {"Llama4ForCausalLM", "llama4_text", Family::llama4},
    {"Llama4ForConditionalGeneration", "llama4", Family::llama4},
};

std::string supported() {
  std::string list;
  for (const Architecture& architecture : kArchitectures) {
    list += (list.empty() ? "" : ", ") + std::string(architecture.name);
  }
  return "supported are " + list;
}

const Architecture* find_architecture(const Node& root, Problems& problems) {
  std::optional<Node> named;
  if (const auto list = root.find("architectures"); list && list->is_list() && list->size() > 0) {
    named = list->at(0);
  }
  const std::optional<Node> type = root.find("model_type");
  const std::optional<Node> said = named ? named : type;
  if (!said) {
    problems.add(root, "no field 'architectures': this is no config.json of a model", supported());
    return nullptr;
  }
  const std::string text = said->as_text().value_or("");
  for (const Architecture& architecture : kArchitectures) {
    if (text == (named ? architecture.name : architecture.model_type)) {
      return &architecture;
    }
  }
  problems.add(*said, "unsupported architecture " + said->quote(), supported());
  return nullptr;
}

/// Reads the fields of one config, collecting what is wrong with them.
class ConfigReader {
 public:
  ConfigReader(Node root, const Architecture& architecture, Problems& problems)
      : root_(root), config_(root), family_(architecture.family), problems_(problems) {
    if (const std::optional<Node> text = root.find("text_config"); text && text->is_object()) {
      config_ = *text;
    }
    model_.architecture = architecture.name;
  }

  ModelSpec read() {
    read_sizes();
    if (family_ == Family::deepseek) {
      read_latent_attention();
    } else {
      read_attention();
    }
    read_linear_attention();
    read_experts();
    read_sliding_window();
    read_draft_layers();
    read_precision();
    model_.vision = detail::read_vision(root_, model_.architecture, problems_);
    return model_;
  }

 private:
  bool is(std::initializer_list<Family> families) const {
    return std::find(families.begin(), families.end(), family_) != families.end();
  }

  /// The field in the text model's config, else in the outer one; a null counts as absent.
  std::optional<Node> field(std::string_view key) const {
    for (const Node& object : {config_, root_}) {
      if (const std::optional<Node> node = object.find(key); node && !node->is_null()) {
        return node;
      }
    }
    return std::nullopt;
  }

  /// A whole number of at least `low`; where absent `fallback`, or an error if there is none.
  std::int64_t integer(std::string_view key, std::optional<std::int64_t> fallback = std::nullopt,
                       std::int64_t low = 1) {
    const std::optional<Node> node = field(key);
    if (!node) {
      if (!fallback) {
        problems_.add(config_, "missing field '" + std::string(key) +
                                   "', a whole number of at least " + std::to_string(low));
      }
      return fallback.value_or(low);
    }
    return detail::whole_number(*node, key, low, std::numeric_limits<int>::max(),
                                fallback.value_or(low), problems_);
  }

  int small(std::string_view key, std::optional<std::int64_t> fallback = std::nullopt,
            std::int64_t low = 1) {
    return static_cast<int>(integer(key, fallback, low));
  }

  bool boolean(std::string_view key, bool fallback) {
    const std::optional<Node> node = field(key);
    return node ? node->as_bool(problems_).value_or(fallback) : fallback;
  }

  template <class T>
  std::optional<T> default_for(Family family, T value) const {
    return family_ == family ? std::optional<T>(value) : std::nullopt;
  }

  void read_sizes() {
    model_.layers = small("num_hidden_layers", default_for<std::int64_t>(Family::gemma3, 26));
    model_.hidden = integer("hidden_size", default_for<std::int64_t>(Family::gemma3, 2304));
    const bool no_dense = family_ == Family::qwen_hybrid && field("num_experts");
    model_.intermediate = integer("intermediate_size",
                                  no_dense ? 1 : default_for<std::int64_t>(Family::gemma3, 9216));
    model_.vocabulary = integer("vocab_size", default_for<std::int64_t>(Family::gemma3, 262208));
    model_.max_context =
        integer("max_position_embeddings", default_for<std::int64_t>(Family::gemma3, 131072));
    model_.tied_embeddings =
        boolean("tie_word_embeddings", is({Family::gemma, Family::gemma2, Family::gemma3}));
  }

  void read_attention() {
    AttentionSpec& attention = model_.attention;
    attention.heads = small("num_attention_heads", default_for<std::int64_t>(Family::gemma3, 8));
    std::optional<std::int64_t> kv_heads = default_for<std::int64_t>(Family::gemma3, 4);
    if (family_ == Family::llama) {
      kv_heads = attention.heads;
    }
    attention.kv_heads = small("num_key_value_heads", kv_heads);
    if (attention.kv_heads > attention.heads || attention.heads % attention.kv_heads != 0) {
      problems_.add(field("num_key_value_heads").value_or(config_),
                    "expected 'num_key_value_heads' to divide num_attention_heads " +
                        std::to_string(attention.heads) + ", got " +
                        std::to_string(attention.kv_heads));
    }
    attention.head_dim = head_dim();
    attention.qkv_bias =
        family_ == Family::qwen2 || boolean("attention_bias", family_ == Family::gpt_oss);
    attention.qk_norm =
        is({Family::qwen3, Family::qwen3_moe, Family::gemma3, Family::qwen_hybrid}) ||
        (is({Family::minimax, Family::llama4}) && boolean("use_qk_norm", true));
    attention.output_gate = family_ == Family::qwen_hybrid && boolean("attn_output_gate", true);
  }

  int head_dim() {
    if (is({Family::gemma, Family::gemma2, Family::gemma3})) {
      return small("head_dim", 256);
    }
    if (family_ == Family::qwen3) {
      return small("head_dim", 128);
    }
    if (family_ == Family::gpt_oss) {
      return small("head_dim", 64);
    }
    const std::int64_t heads = model_.attention.heads;
    if (!field("head_dim") && model_.hidden % heads != 0) {
      problems_.add(field("num_attention_heads").value_or(config_),
                    "without 'head_dim', num_attention_heads has to divide hidden_size " +
                        std::to_string(model_.hidden));
      return 1;
    }
    return small("head_dim", std::max<std::int64_t>(1, model_.hidden / heads));
  }

  void read_latent_attention() {
    AttentionSpec& attention = model_.attention;
    attention.kind = AttentionKind::latent;
    attention.heads = small("num_attention_heads");
    attention.kv_heads = attention.heads;
    attention.q_lora_rank = small("q_lora_rank", 0, 0);
    attention.kv_lora_rank = small("kv_lora_rank");
    attention.qk_rope_head_dim = small("qk_rope_head_dim");
    attention.qk_nope_head_dim = small("qk_nope_head_dim");
    attention.v_head_dim = small("v_head_dim");
    attention.head_dim = attention.qk_nope_head_dim + attention.qk_rope_head_dim;
    attention.index_topk = small("index_topk", 0, 0);
    if (attention.index_topk > 0) {
      attention.index_heads = small("index_n_heads");
      attention.index_head_dim = small("index_head_dim");
      const std::optional<Node> types = field("indexer_types");
      attention.index_layers =
          types && types->is_list() ? listed_layers(*types, "full", {"shared"}) : model_.layers;
    }
  }

  void read_linear_attention() {
    if (family_ != Family::qwen_hybrid) {
      return;
    }
    LinearAttentionSpec linear;
    if (const std::optional<Node> types = field("layer_types"); types && types->is_list()) {
      linear.layers = listed_layers(*types, "linear_attention", {"full_attention"});
    } else {
      linear.layers = model_.layers - model_.layers / small("full_attention_interval", 4);
    }
    linear.key_heads = small("linear_num_key_heads");
    linear.value_heads = small("linear_num_value_heads");
    linear.key_head_dim = small("linear_key_head_dim", 128);
    linear.value_head_dim = small("linear_value_head_dim", 128);
    linear.conv_kernel = small("linear_conv_kernel_dim", 4);
    if (linear.layers > 0) {
      model_.linear = linear;
    }
  }

  void read_draft_layers() {
    if (family_ == Family::deepseek) {
      model_.draft_layers = small("num_nextn_predict_layers", 0, 0);
    } else if (family_ == Family::qwen_hybrid) {
      model_.draft_layers = small("mtp_num_hidden_layers", 0, 0);
    } else if (family_ == Family::minimax && boolean("use_mtp", false)) {
      const std::int64_t modules = small("num_mtp_modules", 0, 0);
      model_.draft_layers = static_cast<int>(
          std::min<std::int64_t>(modules * small("mtp_transformer_layers", 1), model_.layers));
    }
  }

  void read_experts() {
    MoeSpec moe;
    switch (family_) {
      case Family::mixtral:
        moe.experts = small("num_local_experts");
        moe.expert_intermediate = model_.intermediate;
        break;
      case Family::gpt_oss:
        moe.experts = small(field("num_local_experts") ? "num_local_experts" : "num_experts");
        moe.expert_intermediate = model_.intermediate;
        break;
      case Family::qwen3_moe:
        moe.experts = small("num_experts");
        moe.expert_intermediate = integer("moe_intermediate_size");
        moe.dense_layers = qwen_dense_layers();
        break;
      case Family::minimax:
        moe.experts = small("num_local_experts");
        moe.expert_intermediate = model_.intermediate;
        moe.shared_intermediate = integer("shared_intermediate_size", 0, 0);
        moe.shared_experts = moe.shared_intermediate > 0 ? 1 : 0;
        break;
      case Family::qwen_hybrid:
        if (!field("num_experts")) {
          return;
        }
        moe.experts = small("num_experts");
        moe.expert_intermediate = integer("moe_intermediate_size");
        moe.shared_intermediate = integer("shared_expert_intermediate_size", 0, 0);
        moe.shared_experts = moe.shared_intermediate > 0 ? 1 : 0;
        moe.dense_layers = qwen_dense_layers();
        break;
      case Family::llama4:
        read_llama4_experts(moe);
        break;
      case Family::deepseek:
        moe.experts = small("n_routed_experts");
        moe.expert_intermediate = integer("moe_intermediate_size");
        moe.shared_experts = small("n_shared_experts", 0, 0);
        moe.shared_intermediate = moe.shared_experts * moe.expert_intermediate;
        moe.dense_layers = deepseek_dense_layers();
        break;
      default:
        return;
    }
    const bool short_name = field("experts_per_token") && !field("num_experts_per_tok");
    moe.experts_per_token = small(short_name ? "experts_per_token" : "num_experts_per_tok");
    if (moe.experts_per_token > moe.experts) {
      problems_.add(field("num_experts_per_tok").value_or(config_),
                    "expected 'num_experts_per_tok' to be at most the " +
                        std::to_string(moe.experts) + " experts, got " +
                        std::to_string(moe.experts_per_token));
    }
    if (moe.dense_layers == 0) {
      model_.intermediate = 0;
    }
    model_.moe = moe;
  }

  /// Every `interleave_moe_layer_step`-th layer has experts and a shared one of their size.
  void read_llama4_experts(MoeSpec& moe) {
    const int step = small("interleave_moe_layer_step", 1);
    moe.experts = small("num_local_experts");
    moe.expert_intermediate = model_.intermediate;
    moe.shared_experts = 1;
    moe.shared_intermediate = model_.intermediate;
    moe.dense_layers = model_.layers - model_.layers / step;
    moe.dense_spread = moe.dense_layers > 0;
    model_.intermediate = integer("intermediate_size_mlp", model_.intermediate);
  }

  /// Layer i has experts unless it is in mlp_only_layers or (i + 1) % decoder_sparse_step != 0.
  int qwen_dense_layers() {
    const int step = small("decoder_sparse_step", 1);
    std::vector<std::int64_t> dense;
    if (const std::optional<Node> list = field("mlp_only_layers")) {
      for (const Node& item : list->children()) {
        dense.push_back(item.as_int(problems_).value_or(-1));
      }
    }
    int count = 0;
    for (int i = 0; i < model_.layers; ++i) {
      const bool listed = std::find(dense.begin(), dense.end(), i) != dense.end();
      count += listed || (i + 1) % step != 0 ? 1 : 0;
    }
    return count;
  }

  /// Layer i has experts from first_k_dense_replace on, where i % moe_layer_freq == 0.
  int deepseek_dense_layers() {
    const int first = small("first_k_dense_replace", 3, 0);
    const int every = small("moe_layer_freq", 1);
    int count = 0;
    for (int i = 0; i < model_.layers; ++i) {
      count += i < first || i % every != 0 ? 1 : 0;
    }
    return count;
  }

  void read_sliding_window() {
    const bool qwen = is({Family::qwen2, Family::qwen3, Family::qwen3_moe});
    if (family_ == Family::llama4) {
      model_.attention.sliding_window = small("attention_chunk_size", 8192);
      model_.attention.sliding_layers =
          model_.layers - model_.layers / small("no_rope_layer_interval", 4);
      return;
    }
    if (is({Family::llama, Family::gemma, Family::deepseek, Family::minimax,
            Family::qwen_hybrid}) ||
        (qwen && !boolean("use_sliding_window", false))) {
      return;
    }
    std::int64_t fallback = 0;
    if (is({Family::gemma2, Family::gemma3})) {
      fallback = 4096;
    } else if (family_ == Family::gpt_oss) {
      fallback = 128;
    }
    const int window = small("sliding_window", fallback, 0);
    const int layers = window > 0 ? sliding_layers() : 0;
    if (layers > 0) {
      model_.attention.sliding_window = window;
      model_.attention.sliding_layers = layers;
    }
  }

  int sliding_layers() {
    if (const std::optional<Node> types = field("layer_types"); types && types->is_list()) {
      return listed_layers(*types, "sliding_attention", {"full_attention"});
    }
    switch (family_) {
      case Family::qwen2:
      case Family::qwen3:
      case Family::qwen3_moe:
        return std::max(0, model_.layers - small("max_window_layers", 28, 0));
      case Family::gemma2:
      case Family::gpt_oss:
        return (model_.layers + 1) / 2;  // every other one, from the first
      case Family::gemma3: {
        const bool underscore = field("_sliding_window_pattern").has_value();
        const int pattern =
            small(underscore ? "_sliding_window_pattern" : "sliding_window_pattern", 6);
        return model_.layers - model_.layers / pattern;
      }
      default:
        return model_.layers;
    }
  }

  /// How many entries of a list with one per layer are `counted`; all are that or in `others`.
  int listed_layers(const Node& types, const std::string& counted,
                    std::initializer_list<const char*> others) {
    int count = 0;
    for (const Node& item : types.children()) {
      const std::string type = item.as_text().value_or("");
      if (type != counted && std::find(others.begin(), others.end(), type) == others.end()) {
        problems_.add(item,
                      "expected " + counted + " or " + *others.begin() + ", got " + item.quote());
      }
      count += type == counted ? 1 : 0;
    }
    if (types.size() != static_cast<std::size_t>(model_.layers)) {
      problems_.add(types, "expected an entry for each of the " + std::to_string(model_.layers) +
                               " layers, got " + std::to_string(types.size()));
    }
    return count;
  }

  FourBitScope usual_four_bit() const {
    switch (family_) {
      case Family::gpt_oss:
        return FourBitScope::experts;
      case Family::qwen_hybrid:
        return model_.moe ? FourBitScope::experts : FourBitScope::mlp;
      case Family::deepseek:
      case Family::minimax:
      case Family::llama4:
        return FourBitScope::mlp;
      default:
        return FourBitScope::all;
    }
  }

  void read_precision() {
    model_.four_bit = usual_four_bit();
    if (const std::optional<Node> quantization = field("quantization_config")) {
      model_.native_weights =
          detail::read_quantization(*quantization, problems_).value_or(Precision::bf16);
      model_.int4_group = detail::read_int4_group(*quantization, problems_);
      if (bytes_per_value(model_.native_weights) < 1) {
        model_.four_bit = detail::read_four_bit_scope(*quantization).value_or(model_.four_bit);
      }
      return;
    }
    const std::optional<Node> type = field(field("torch_dtype") ? "torch_dtype" : "dtype");
    const std::string text = type ? type->as_text().value_or("") : "bfloat16";
    if (text == "bfloat16") {
      model_.native_weights = Precision::bf16;
    } else if (text == "float16") {
      model_.native_weights = Precision::fp16;
    } else if (text == "float32") {
      model_.native_weights = Precision::fp32;
    } else {
      problems_.add(*type, "expected bfloat16, float16 or float32, got " + type->quote());
    }
  }

  Node root_;
  Node config_;
  Family family_;
  Problems& problems_;
  ModelSpec model_;
};

/// `Qwen3-32B` for both Qwen3-32B.json and Qwen3-32B/config.json.
std::string name_of(const std::string& file) {
  const std::filesystem::path path(file);
  const std::string stem = path.stem().string();
  const std::string folder = path.parent_path().filename().string();
  return stem == "config" && !folder.empty() ? folder : stem;
}

/// NVIDIA's older checkpoints say how they are quantised in a file of its own.
void read_modelopt(const Document& document, ModelSpec& model) {
  Problems problems;
  const Node quantization = document.root().find("quantization").value_or(document.root());
  const std::optional<Precision> weights = detail::read_quantization(quantization, problems);
  problems.throw_if_any();
  model.native_weights = weights.value_or(model.native_weights);
  if (bytes_per_value(model.native_weights) < 1) {
    model.four_bit = detail::read_four_bit_scope(quantization).value_or(model.four_bit);
  }
}

}  // namespace

ModelSpec parse_model_config(const Document& document) {
  Problems problems;
  const Node root = document.root();
  const Architecture* architecture = find_architecture(root, problems);
  ModelSpec model;
  if (architecture != nullptr) {
    model = ConfigReader(root, *architecture, problems).read();
  }
  problems.throw_if_any();
  model.name = name_of(document.name());
  return model;
}

ModelSpec read_model_config(const std::string& path) {
  const Document document = Document::read_file(path);
  ModelSpec model = parse_model_config(document);
  const std::filesystem::path beside =
      std::filesystem::path(path).replace_filename("hf_quant_config.json");
  std::error_code ignored;
  if (!document.root().find("quantization_config") && std::filesystem::exists(beside, ignored)) {
    read_modelopt(Document::read_file(beside.string()), model);
  }
  return model;
}

}  // namespace dyn
