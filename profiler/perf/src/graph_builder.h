#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "operators.h"

namespace dyn::perf {

/// What one of `gpus` GPUs has of `whole` indivisible units: the fullest one's.
inline double shard(double whole, double gpus) {
  return std::ceil(whole / gpus);
}

/// Builds the list of operators; one method for each part of a layer.
class GraphBuilder {
 public:
  GraphBuilder(const PerfTarget& target, const GpuSpec& gpu);

  std::vector<Operator> build();
  /// The layers alone, without embedding and head.
  std::vector<Operator> build_layers();

 private:
  static constexpr double kActivation = 2.0;  // bytes of a bf16 activation

  double hidden() const { return static_cast<double>(model_.hidden); }
  double tp() const { return layout_.tensor; }
  double heads() const { return shard(model_.attention.heads, tp()); }

  Operator& add(Operator op) { return graph_.emplace_back(std::move(op)); }
  Operator& add_gemm(const std::string& name, double count, double k, double m, Precision weights);
  Operator& add_bytes(const std::string& name, double count, double bytes, double launches);
  void add_collective(const std::string& name, OperatorKind kind, double count, int group,
                      double bytes, double factor = 1, Driver driver = Driver::tokens);
  void add_all_reduce(const std::string& name, double count, int group, double bytes);

  void add_layers();
  void add_attention();
  void add_grouped_projections();
  void add_latent_projections();
  void add_latent_kernels();
  void add_sparse_attention();
  void add_sparse_kernels(const std::string& suffix, double layers, bool indexer);
  void add_linear_attention();
  void add_linear_kernels();
  void add_grouped_kernels();
  void add_grouped_kernel(const std::string& suffix, double layers, int window);
  void add_pair(Operator prefill, Operator decode);
  Operator attention_operator(const std::string& name, double layers) const;

  void add_mlp(const std::string& name, double count, double intermediate);
  void add_experts();
  bool gathers_tokens() const;
  bool sends_tokens() const;
  void add_expert_exchange(bool combine);
  void add_pipeline();
  void add_head();
  void add_draft();

  const PerfTarget& target_;
  const ModelSpec& model_;
  const GpuSpec& gpu_;
  const ParallelLayout& layout_;
  const WeightFormats formats_;
  const double decode_rows_;  // tokens of a decoding sequence in a step
  double layers_ = 0;
  double linear_layers_ = 0;
  double attention_layers_ = 0;
  double dense_layers_ = 0;
  double expert_layers_ = 0;
  std::vector<Operator> graph_;
};

}  // namespace dyn::perf
