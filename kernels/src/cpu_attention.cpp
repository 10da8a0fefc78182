#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <vector>

#include "cpu_backend.h"
#include "dyn/kernels/error.h"
#include "validate.h"

// Attention with a running softmax (Milakov and Gimelshein, arXiv:1805.02867; Dao et al.,
// FlashAttention, arXiv:2205.14135, algorithm 1): the scores of a few queries against a few keys
// at a time, never the whole matrix. Prefill and decode differ only in how queries are grouped.
namespace dyn::kernels {
namespace {

/// Query rows that share the keys of one pass; a row is one head of one token.
constexpr std::int64_t kRowsAtOnce = 48;
/// Keys of a step; larger blocks are taken in parts.
constexpr std::int64_t kKeysAtOnce = 64;

/// The query rows of one key/value head: all heads of its group, for `count` tokens.
struct Tile {
  std::int64_t sequence = 0;
  std::int64_t kv_head = 0;
  std::int64_t first_row = 0;    ///< token of the query and output arrays
  std::int64_t first_group = 0;  ///< first head within the group, where a group is cut up
  std::int64_t groups = 0;       ///< heads of the group
  std::int64_t count = 0;        ///< tokens
  std::int64_t visible = 0;  ///< KV tokens that the first token sees; each later one sees one more
};

/// What one thread needs for a tile.
struct Scratch {
  float* query;    ///< [rows, head_dim], scaled
  float* sum;      ///< [rows, head_dim]
  float* score;    ///< [rows, kKeysAtOnce]
  float* keys;     ///< [kKeysAtOnce, head_dim], where they are bf16
  float* values;   ///< as `keys`
  float* largest;  ///< [rows]
  float* total;    ///< [rows]

  static std::size_t floats(std::int64_t rows, std::int64_t dim) {
    return static_cast<std::size_t>(rows * (2 * dim + kKeysAtOnce + 2) + 2 * kKeysAtOnce * dim);
  }
  Scratch(float* at, std::int64_t rows, std::int64_t dim)
      : query(at),
        sum(query + rows * dim),
        score(sum + rows * dim),
        keys(score + rows * kKeysAtOnce),
        values(keys + kKeysAtOnce * dim),
        largest(values + kKeysAtOnce * dim),
        total(largest + rows) {}
};

/// Rows of keys or values as floats: where they lie, or a widened copy.
struct FloatRows {
  const float* data;
  std::int64_t stride;
};

FloatRows float_rows(const Primitives& f, const Values& from, std::int64_t offset,
                     std::int64_t stride, int rows, std::int64_t dim, float* scratch) {
  if (from.precision == Precision::fp32) {
    return {static_cast<const float*>(from.data) + offset, stride};
  }
  const Bf16* narrow = static_cast<const Bf16*>(from.data) + offset;
  for (int i = 0; i < rows; ++i) {
    f.widen(narrow + i * stride, scratch + i * dim, dim);
  }
  return {scratch, dim};
}

struct Queries {
  const PagedKv& kv;
  std::int64_t heads;
  const float* query;
  float* out;
  float scale;

  std::int64_t offset(const Tile& tile, std::int64_t row) const {
    const std::int64_t token = tile.first_row + row / tile.groups;
    const std::int64_t group = heads / kv.kv_heads;
    const std::int64_t head = tile.kv_head * group + tile.first_group + row % tile.groups;
    return (token * heads + head) * kv.head_dim;
  }
};

/// Turns the scores of one row into weights, and what was summed before to the new maximum.
void soften(const Primitives& f, const Scratch& s, std::int64_t row, int keys, int seen,
            std::int64_t dim) {
  float* score = s.score + row * kKeysAtOnce;
  if (seen > 0) {
    const float largest = std::max(s.largest[row], *std::max_element(score, score + seen));
    const float shrink = std::exp(s.largest[row] - largest);
    if (shrink != 1.0f) {
      f.scale(s.sum + row * dim, shrink, dim);
      s.total[row] *= shrink;
    }
    s.largest[row] = largest;
    s.total[row] += f.exponentials(score, seen, largest);
  }
  std::fill(score + std::max(seen, 0), score + keys, 0.0f);
}

/// Adds `keys` keys from position `from` on, all of one block, to every row of the tile.
void add_keys(const Primitives& f, const Queries& q, const Tile& tile, const Scratch& s,
              std::int64_t from, int keys) {
  const PagedKv& kv = q.kv;
  const std::int64_t block = kv.block_table[tile.sequence * kv.table_stride + from / kv.block_size];
  const std::int64_t stride = kv.kv_heads * kv.head_dim;
  const std::int64_t offset =
      (block * kv.block_size + from % kv.block_size) * stride + tile.kv_head * kv.head_dim;
  const int rows = static_cast<int>(tile.groups * tile.count);
  const FloatRows k = float_rows(f, kv.keys, offset, stride, keys, kv.head_dim, s.keys);
  const FloatRows v = float_rows(f, kv.values, offset, stride, keys, kv.head_dim, s.values);
  f.dot_tile(s.query, kv.head_dim, k.data, k.stride, rows, keys, kv.head_dim, s.score, kKeysAtOnce,
             false);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t visible = tile.visible + row / tile.groups - from;
    soften(f, s, row, keys, static_cast<int>(std::clamp<std::int64_t>(visible, 0, keys)),
           kv.head_dim);
  }
  f.weighted_sum(s.score, kKeysAtOnce, v.data, v.stride, rows, keys, kv.head_dim, s.sum);
}

void attend(const Primitives& f, const Queries& q, const Tile& tile, float* memory) {
  const std::int64_t dim = q.kv.head_dim;
  const std::int64_t rows = tile.groups * tile.count;
  const Scratch s(memory, rows, dim);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(q.query + q.offset(tile, row), dim, s.query + row * dim);
    f.scale(s.query + row * dim, q.scale, dim);
  }
  std::fill_n(s.sum, rows * dim, 0.0f);
  std::fill_n(s.largest, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(s.total, rows, 0.0f);
  const std::int64_t end = tile.visible + tile.count - 1;
  for (std::int64_t from = 0; from < end;) {
    const std::int64_t left_in_block = q.kv.block_size - from % q.kv.block_size;
    const std::int64_t keys = std::min({left_in_block, kKeysAtOnce, end - from});
    add_keys(f, q, tile, s, from, static_cast<int>(keys));
    from += keys;
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    f.scale(s.sum + row * dim, end > 0 ? 1.0f / s.total[row] : 0.0f, dim);
    std::copy_n(s.sum + row * dim, dim, q.out + q.offset(tile, row));
  }
}

/// Cuts `tokens` query tokens of a sequence, the first of which sees `visible` keys, into tiles.
void add_tiles(std::vector<Tile>& tiles, std::int64_t sequence, std::int64_t first_row,
               std::int64_t tokens, std::int64_t visible, std::int64_t kv_heads,
               std::int64_t group) {
  const std::int64_t heads_at_once = std::min(group, kRowsAtOnce);
  const std::int64_t tokens_at_once = kRowsAtOnce / heads_at_once;
  for (std::int64_t head = 0; head < kv_heads; ++head) {
    for (std::int64_t g = 0; g < group; g += heads_at_once) {
      for (std::int64_t t = 0; t < tokens; t += tokens_at_once) {
        tiles.push_back({sequence, head, first_row + t, g, std::min(heads_at_once, group - g),
                         std::min(tokens_at_once, tokens - t), visible + t});
      }
    }
  }
}

/// Multiply-adds of all tiles, to decide whether threads are worth waking.
double work_of(const std::vector<Tile>& tiles, std::int64_t dim) {
  double work = 0;
  for (const Tile& tile : tiles) {
    work += 2.0 * static_cast<double>(tile.groups * tile.count * dim) *
            static_cast<double>(tile.visible + tile.count);
  }
  return work;
}

}  // namespace

Result<void> CpuBackend::run(const PrefillAttention& launch) {
  const std::lock_guard lock(mutex_);
  if (const Result<void> valid = check_sequences(launch); !valid) {
    return valid;
  }
  const PagedKv& kv = launch.kv;
  std::vector<Tile> tiles;
  try {
    for (std::int64_t s = 0; s < kv.sequences; ++s) {
      const std::int64_t first = launch.query_start[s];
      const std::int64_t chunk = launch.query_start[s + 1] - first;
      add_tiles(tiles, s, first, chunk, kv.context[s] - chunk + 1, kv.kv_heads,
                launch.heads / kv.kv_heads);
    }
  } catch (const std::bad_alloc&) {
    return errc::out_of_memory;
  }
  // The last tiles of a chunk see most keys: beginning with them leaves the threads less to wait.
  std::reverse(tiles.begin(), tiles.end());
  const Queries queries{kv, launch.heads, launch.query, launch.out, launch.scale};
  return share(static_cast<std::int64_t>(tiles.size()), work_of(tiles, kv.head_dim),
               Scratch::floats(kRowsAtOnce, kv.head_dim), [&](std::int64_t i, float* scratch) {
                 attend(primitives_, queries, tiles[static_cast<std::size_t>(i)], scratch);
               });
}

Result<void> CpuBackend::run(const DecodeAttention& launch) {
  const std::lock_guard lock(mutex_);
  if (const Result<void> valid = check_contexts(launch.kv); !valid) {
    return valid;
  }
  const PagedKv& kv = launch.kv;
  std::vector<Tile> tiles;
  try {
    for (std::int64_t s = 0; s < kv.sequences; ++s) {
      add_tiles(tiles, s, s, 1, kv.context[s], kv.kv_heads, launch.heads / kv.kv_heads);
    }
  } catch (const std::bad_alloc&) {
    return errc::out_of_memory;
  }
  const Queries queries{kv, launch.heads, launch.query, launch.out, launch.scale};
  return share(static_cast<std::int64_t>(tiles.size()), work_of(tiles, kv.head_dim),
               Scratch::floats(kRowsAtOnce, kv.head_dim), [&](std::int64_t i, float* scratch) {
                 attend(primitives_, queries, tiles[static_cast<std::size_t>(i)], scratch);
               });
}

}  // namespace dyn::kernels
