#include <cmath>

#include "table_rows.h"

namespace dyn::profiler {
namespace {

using Knots = std::vector<double>;

/// Powers of two from 2^low to 2^high, `steps` to an octave, rounded to whole numbers above 8.
Knots octaves(int low, int high, int steps = 1) {
  Knots knots;
  for (int i = low * steps; i <= high * steps; ++i) {
    const double knot = std::exp2(static_cast<double>(i) / steps);
    knots.push_back(knot > 8 ? std::round(knot) : knot);
  }
  return knots;
}

const Knots& powers_of_four(double first, double last) {
  static std::map<std::pair<double, double>, Knots> known;
  Knots& knots = known[{first, last}];
  if (knots.empty()) {
    for (double knot = first; knot <= last; knot *= 4) {
      knots.push_back(knot);
    }
  }
  return knots;
}

std::vector<Grid> gemm_grids() {
  const Knots tokens{1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 32768};
  const Knots coarse{32, 128, 512, 2048, 4096, 8192, 65536};
  const Knots fine{32, 128, 512, 1024, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 65536};
  const Knots sizes{32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
  return {{tokens, coarse, coarse}, {octaves(0, 15), sizes, coarse}, {octaves(0, 15), fine, fine}};
}

std::vector<Grid> prefill_grids() {
  const Knots queries{1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  const Knots fine{1,    16,   32,   64,   128,  256,   512,   1024, 1536,
                   2048, 3072, 4096, 6144, 8192, 10240, 16384, 32768};
  return {{queries, octaves(0, 14), {1, 8}},
          {queries, octaves(0, 14), {1, 2, 8, 16, 64}},
          {fine, octaves(0, 14), {1, 2, 8, 16, 64}}};
}

std::vector<Grid> decode_grids() {
  const Knots context{2, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072, 1048576};
  return {{context, octaves(0, 14), {1, 2, 16}},
          {context, octaves(0, 14), {1, 2, 8, 16, 64}},
          {octaves(1, 20), octaves(0, 14, 2), {1, 2, 8, 16, 64}}};
}

std::vector<Grid> moe_grids() {
  const Knots rows{1.0 / 256, 1.0 / 64, 1.0 / 16, 0.25, 1, 4, 8, 16, 32, 64, 128, 256, 1024, 16384};
  const Knots fine{1.0 / 256, 1.0 / 64, 1.0 / 32, 1.0 / 16, 0.125, 0.25, 0.5, 1,    2,
                   4,         8,        16,       32,       64,    128,  256, 1024, 16384};
  const Knots widths{64, 256, 1024, 4096, 16384};
  return {{rows, powers_of_four(1, 1024), {1, 8, 256}, {2048, 8192}, widths},
          {fine, powers_of_four(1, 1024), {1, 4, 32, 256}, {2048, 8192}, widths},
          {fine, powers_of_four(1, 1024), {1, 4, 32, 256}, {2048, 4096, 8192}, octaves(6, 14)}};
}

}  // namespace

std::vector<Grid> candidate_grids(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::gemm:
      return gemm_grids();
    case OperatorKind::attention_prefill:
      return prefill_grids();
    case OperatorKind::attention_decode:
      return decode_grids();
    case OperatorKind::latent_prefill:
      return {{octaves(0, 15), octaves(0, 15)}, {octaves(0, 15, 2), octaves(0, 15)}};
    case OperatorKind::latent_decode:
      return {{octaves(1, 17), octaves(0, 10), octaves(0, 7)}};
    case OperatorKind::moe:
      return moe_grids();
    default:
      return {{powers_of_four(64, 4294967296.0)}, {octaves(7, 32)}};
  }
}

std::vector<std::string> surface_quantities(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::gemm:
      return {"tokens", "n", "k"};
    case OperatorKind::attention_prefill:
      return {"queries", "streams", "kv_group"};
    case OperatorKind::attention_decode:
      return {"context", "streams", "kv_group"};
    case OperatorKind::latent_prefill:
      return {"queries", "streams"};
    case OperatorKind::latent_decode:
      return {"context", "sequences", "heads"};
    case OperatorKind::moe:
      return {"rows", "local_experts", "ranks", "hidden", "width"};
    default:
      return {"bytes"};
  }
}

}  // namespace dyn::profiler
