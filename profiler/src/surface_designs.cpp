#include <cmath>

#include "table_rows.h"

// Which surfaces are tried for an operator. A coarse one over all that matters carries the shape;
// fine ones over two quantities carry the steps of tiles, waves and kernel choices.

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

Knots powers_of_four(double first, double last) {
  Knots knots;
  for (double knot = first; knot <= last; knot *= 4) {
    knots.push_back(knot);
  }
  return knots;
}

const Knots kMeasured{};

std::vector<SurfaceDesign> gemm_designs() {
  constexpr std::size_t m = 0;
  constexpr std::size_t n = 1;
  constexpr std::size_t k = 2;
  const Knots tokens{1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 32768};
  const Knots edges{1,   8,   16,  17,  32,  33,  48,  64,   65,   80,   96,   112,  128,  129,
                    160, 192, 224, 256, 257, 512, 513, 1024, 1025, 2048, 4096, 8192, 32768};
  const Knots coarse{32, 128, 512, 2048, 4096, 8192, 65536};
  const Knots fine{32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536};
  const std::vector<DesignAxis> shape{{m, tokens}, {n, coarse}, {k, coarse}};
  return {{shape},
          {shape, {{m, edges}, {n, fine}}, {{m, edges}, {k, fine}}, {{n, fine}, {k, fine}}},
          {shape,
           {{m, kMeasured}, {n, kMeasured}},
           {{m, kMeasured}, {k, fine}},
           {{n, kMeasured}, {k, kMeasured}}},
          {{{m, tokens}, {n, fine}, {k, fine}},
           {{m, kMeasured}, {n, kMeasured}},
           {{m, kMeasured}, {k, fine}},
           {{n, kMeasured}, {k, kMeasured}}}};
}

/// `first` is queries or context: a few knots of it, and more.
std::vector<SurfaceDesign> attention_designs(const Knots& few, const Knots& more) {
  constexpr std::size_t x = 0;
  constexpr std::size_t sequences = 1;
  constexpr std::size_t heads = 2;
  constexpr std::size_t kv_heads = 3;
  constexpr std::size_t streams = 4;
  constexpr std::size_t group = 5;
  const Knots fours = powers_of_four(1, 65536);
  const Knots groups{1, 2, 4, 5, 8, 12, 16, 32, 64};
  const std::vector<DesignAxis> shape{{x, few}, {streams, fours}, {group, {1, 4, 16, 64}}};
  const std::vector<DesignAxis> wide{
      {x, few}, {sequences, fours}, {kv_heads, powers_of_four(1, 128)}};
  const std::vector<DesignAxis> by_kv_heads{{sequences, kMeasured}, {kv_heads, octaves(0, 7)}};
  const std::vector<DesignAxis> by_heads{{sequences, kMeasured}, {heads, octaves(0, 7)}};
  const std::vector<DesignAxis> by_group{{x, kMeasured}, {group, groups}};
  const Knots one = octaves(0, 16);
  const Knots half = octaves(0, 16, 2);
  return {
      {shape},
      {shape, {{x, kMeasured}, {streams, one}}, {{x, few}, {group, groups}}},
      {shape,
       {{x, kMeasured}, {streams, one}},
       by_group,
       {{streams, one}, {group, groups}},
       by_kv_heads,
       by_heads},
      {shape,
       wide,
       {{x, kMeasured}, {streams, one}},
       by_group,
       {{streams, one}, {group, groups}},
       by_kv_heads,
       by_heads},
      {{{x, more}, {streams, one}, {group, {1, 2, 8, 16, 64}}},
       {{x, kMeasured}, {streams, half}},
       by_group,
       {{streams, half}, {group, groups}},
       by_kv_heads},
  };
}

std::vector<SurfaceDesign> prefill_designs() {
  constexpr std::size_t x = 0;
  constexpr std::size_t prior = 6;
  std::vector<SurfaceDesign> designs =
      attention_designs({1, 16, 64, 256, 1024, 4096, 16384},
                        {1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768});
  for (SurfaceDesign& design : designs) {
    design.push_back({{prior, octaves(0, 20)}, {x, kMeasured}});
  }
  return designs;
}

/// By how long prefill and decode take alone, in microseconds, and how many sequences decode: what
/// grows when a step does, whatever the model's heads.
std::vector<SurfaceDesign> mixed_designs() {
  constexpr std::size_t prefill = 0;
  constexpr std::size_t decode = 1;
  constexpr std::size_t sequences = 2;
  const Knots times = octaves(2, 17);
  const Knots few = powers_of_four(4, 131072);
  const std::vector<DesignAxis> both{{prefill, times}, {decode, times}};
  const std::vector<DesignAxis> counted{{decode, times}, {sequences, octaves(0, 8)}};
  return {{both},
          {both, counted},
          {both, counted, {{prefill, times}, {sequences, octaves(0, 8)}}},
          {{{prefill, few}, {decode, few}, {sequences, powers_of_four(1, 256)}},
           both,
           counted,
           {{prefill, times}, {sequences, octaves(0, 8)}}}};
}

std::vector<SurfaceDesign> decode_designs() {
  return attention_designs(
      {2, 64, 512, 2048, 8192, 32768, 131072, 1048576},
      {2, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072, 1048576});
}

const Knots kQueries{1, 16, 64, 256, 1024, 4096, 16384};
const Knots kContexts{2, 64, 512, 2048, 8192, 32768, 131072, 1048576};

/// Attention whose heads share one latent, and the gated delta rule: no KV heads to count.
std::vector<SurfaceDesign> latent_designs(const Knots& few) {
  constexpr std::size_t x = 0;
  constexpr std::size_t sequences = 1;
  constexpr std::size_t heads = 2;
  constexpr std::size_t streams = 3;
  return {{{{x, few}, {streams, powers_of_four(1, 262144)}}},
          {{{x, few}, {sequences, powers_of_four(1, 4096)}, {heads, {1, 16, 32, 64, 128}}},
           {{x, kMeasured}, {streams, octaves(0, 18)}}},
          {{{x, few}, {sequences, powers_of_four(1, 4096)}, {heads, {1, 16, 32, 64, 128}}},
           {{x, kMeasured}, {streams, octaves(0, 18)}},
           {{x, kMeasured}, {sequences, kMeasured}},
           {{x, kMeasured}, {heads, kMeasured}},
           {{sequences, kMeasured}, {heads, kMeasured}}}};
}

/// What tells layers of other sizes apart, and the chunk's prior context, come on top.
std::vector<SurfaceDesign> sparse_designs(const Knots& few, bool prefill) {
  constexpr std::size_t x = 0;
  constexpr std::size_t heads = 2;
  constexpr std::size_t hidden = 4;
  constexpr std::size_t prior = 5;
  std::vector<SurfaceDesign> designs = latent_designs(few);
  for (SurfaceDesign& design : designs) {
    design.push_back({{x, few}, {hidden, kMeasured}});
    if (prefill) {
      design.push_back({{x, few}, {prior, octaves(0, 20)}});
    }
  }
  if (prefill) {
    SurfaceDesign fine = designs.back();
    fine.back() = {{x, kMeasured}, {prior, octaves(0, 20, 2)}};
    fine.push_back({{x, few}, {prior, powers_of_four(1, 1048576)}, {heads, {1, 8, 32, 128}}});
    designs.push_back(std::move(fine));
  }
  return designs;
}

std::vector<SurfaceDesign> linear_designs() {
  constexpr std::size_t heads = 2;
  constexpr std::size_t group = 4;
  std::vector<SurfaceDesign> designs = latent_designs(kQueries);
  for (SurfaceDesign& design : designs) {
    design.push_back({{heads, kMeasured}, {group, kMeasured}});
  }
  return designs;
}

std::vector<SurfaceDesign> moe_designs() {
  constexpr std::size_t tokens = 0;
  constexpr std::size_t rows = 1;
  constexpr std::size_t local = 2;
  constexpr std::size_t ranks = 3;
  constexpr std::size_t hidden = 4;
  constexpr std::size_t width = 5;
  constexpr std::size_t experts = 6;
  constexpr std::size_t per_token = 7;
  const Knots some{1.0 / 256, 1.0 / 64, 1.0 / 32, 1.0 / 16, 0.125, 0.25, 0.5, 1,    2,
                   4,         8,        16,       32,       64,    128,  256, 1024, 16384};
  const Knots widths = powers_of_four(64, 16384);
  const Knots sixteens = powers_of_four(1, 1024);
  const Knots more = octaves(-8, 14, 2);
  const Knots sizes = octaves(6, 14);
  const std::vector<DesignAxis> shape{{rows, some}, {local, sixteens}, {width, widths}};
  const std::vector<DesignAxis> by_hidden{{rows, some}, {hidden, kMeasured}};
  const std::vector<DesignAxis> by_ranks{{rows, more}, {ranks, octaves(0, 8)}};
  const std::vector<DesignAxis> matrices{{local, octaves(0, 10)}, {width, sizes}};
  std::vector<SurfaceDesign> designs{
      {{{rows, {1.0 / 256, 1.0 / 16, 1, 4, 16, 64, 256, 16384}},
        {local, sixteens},
        {width, widths}}},
      {shape, by_hidden, by_ranks, matrices},
      {shape,
       {{rows, some}, {hidden, kMeasured}, {width, widths}},
       {{rows, more}, {ranks, octaves(0, 8)}, {local, powers_of_four(4, 1024)}},
       matrices,
       {{tokens, kMeasured}, {per_token, kMeasured}}},
      {{{rows, some}, {local, octaves(0, 10)}, {width, widths}},
       {{rows, some}, {hidden, kMeasured}, {width, sizes}},
       {{rows, more}, {ranks, octaves(0, 8)}, {local, sixteens}},
       matrices,
       {{tokens, kMeasured}, {per_token, kMeasured}},
       {{tokens, kMeasured}, {experts, kMeasured}},
       {{tokens, kMeasured}, {local, octaves(0, 10)}},
       {{tokens, kMeasured}, {width, sizes}},
       {{tokens, kMeasured}, {hidden, kMeasured}}},
  };
  // Whichever is chosen tells models with more experts than any measured one.
  for (SurfaceDesign& design : designs) {
    design.push_back({{experts, kMeasured}});
  }
  return designs;
}

}  // namespace

std::vector<SurfaceDesign> surface_designs(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::gemm:
      return gemm_designs();
    case OperatorKind::attention_prefill:
      return prefill_designs();
    case OperatorKind::attention_decode:
      return decode_designs();
    case OperatorKind::attention_mixed:
      return mixed_designs();
    case OperatorKind::latent_prefill:
      return latent_designs(kQueries);
    case OperatorKind::latent_decode:
      return latent_designs(kContexts);
    case OperatorKind::sparse_prefill:
      return sparse_designs(kQueries, true);
    case OperatorKind::sparse_decode:
      return sparse_designs(kContexts, false);
    case OperatorKind::linear_prefill:
    case OperatorKind::linear_decode:
      return linear_designs();
    case OperatorKind::moe:
    case OperatorKind::moe_dispatched:
      return moe_designs();
    default:
      return {{{{0, octaves(7, 32)}}}, {{{0, kMeasured}}}};
  }
}

std::vector<std::string> surface_quantities(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::gemm:
      return {"tokens", "n", "k"};
    case OperatorKind::attention_prefill:
      return {"queries", "sequences", "heads", "kv_heads", "streams", "kv_group", "context"};
    case OperatorKind::attention_decode:
      return {"context", "sequences", "heads", "kv_heads", "streams", "kv_group"};
    case OperatorKind::attention_mixed:
      return {"prefill_time", "decode_time", "sequences"};
    case OperatorKind::latent_prefill:
      return {"queries", "sequences", "heads", "streams"};
    case OperatorKind::latent_decode:
      return {"context", "sequences", "heads", "streams"};
    case OperatorKind::sparse_prefill:
      return {"queries", "sequences", "heads", "streams", "hidden", "context"};
    case OperatorKind::sparse_decode:
      return {"context", "sequences", "heads", "streams", "hidden"};
    case OperatorKind::linear_prefill:
    case OperatorKind::linear_decode:
      return {"queries", "sequences", "heads", "streams", "kv_group"};
    case OperatorKind::moe:
    case OperatorKind::moe_dispatched:
      return {"tokens", "rows",  "local_experts", "ranks",
              "hidden", "width", "experts",       "per_token"};
    default:
      return {"bytes"};
  }
}

}  // namespace dyn::profiler
