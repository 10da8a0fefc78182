#include "cases.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dyn::kernels::test {

std::vector<Bf16> narrowed(const std::vector<float>& values) {
  std::vector<Bf16> result;
  for (const float value : values) {
    result.push_back(to_bf16(value));
  }
  return result;
}

std::vector<float> widened(const std::vector<Bf16>& values) {
  std::vector<float> result;
  for (const Bf16 value : values) {
    result.push_back(to_float(value));
  }
  return result;
}

const std::vector<std::unique_ptr<Backend>>& all_backends() {
  static const auto instances = [] {
    std::vector<std::unique_ptr<Backend>> result;
    result.push_back(open_backend({}, {.reference = true}).value());
    for (const int threads : {1, 3}) {
      result.push_back(open_backend({}, {.threads = threads, .isa = Isa::generic}).value());
      if (best_isa() != Isa::generic) {
        result.push_back(open_backend({}, {.threads = threads}).value());
      }
    }
    return result;
  }();
  return instances;
}

std::vector<Backend*> fast_backends() {
  std::vector<Backend*> result;
  for (const auto& backend : all_backends()) {
    if (backend.get() != &reference()) {
      result.push_back(backend.get());
    }
  }
  return result;
}

Backend& reference() {
  return *all_backends().front();
}

PagedCase PagedCase::make(std::uint64_t seed, std::int64_t heads, std::int64_t kv_heads,
                          std::int64_t head_dim, std::int64_t block_size,
                          const std::vector<std::int32_t>& context,
                          const std::vector<std::int32_t>& chunks) {
  PagedCase c{heads, kv_heads, head_dim, block_size, context, {0}};
  Values01 random(seed);
  std::int64_t used = 0;
  for (std::size_t s = 0; s < context.size(); ++s) {
    c.query_start.push_back(c.query_start.back() + chunks[s]);
    const std::int64_t needed = (context[s] + block_size - 1) / block_size;
    used += needed;
    c.table_stride = std::max(c.table_stride, needed + 1);
  }
  c.blocks = used + 2;
  std::vector<std::int32_t> free;
  for (std::int32_t b = 0; b < c.blocks; ++b) {
    free.push_back(b);
  }
  for (std::size_t i = free.size(); i > 1; --i) {
    std::swap(free[i - 1], free[static_cast<std::size_t>(random.below(static_cast<int>(i)))]);
  }
  const std::int64_t row = kv_heads * head_dim;
  const auto cells = static_cast<std::size_t>(c.blocks * block_size * row);
  c.keys.assign(cells, std::numeric_limits<float>::quiet_NaN());
  c.values = c.keys;
  c.table.assign(context.size() * static_cast<std::size_t>(c.table_stride), -7);
  for (std::size_t s = 0; s < context.size(); ++s) {
    for (std::int32_t t = 0; t < context[s]; ++t) {
      auto& entry = c.table[s * static_cast<std::size_t>(c.table_stride) +
                            static_cast<std::size_t>(t / block_size)];
      if (t % block_size == 0) {
        entry = free.back();
        free.pop_back();
      }
      for (std::int64_t i = 0; i < row; ++i) {
        const auto at = static_cast<std::size_t>((entry * block_size + t % block_size) * row + i);
        c.keys[at] = random.next();
        c.values[at] = random.next();
      }
    }
  }
  c.query = random.floats(c.query_start.back() * heads * head_dim);
  c.scale = 3.0f / std::sqrt(static_cast<float>(head_dim));
  return c;
}

void PagedCase::use_bf16() {
  keys_bf16 = narrowed(keys);
  values_bf16 = narrowed(values);
  keys = widened(keys_bf16);
  values = widened(values_bf16);
}

namespace {
PagedKv paged(const PagedCase& c) {
  PagedKv kv;
  kv.sequences = static_cast<std::int64_t>(c.context.size());
  kv.blocks = c.blocks;
  kv.block_size = c.block_size;
  kv.kv_heads = c.kv_heads;
  kv.head_dim = c.head_dim;
  kv.table_stride = c.table_stride;
  kv.keys = c.keys_bf16.empty() ? Values(c.keys.data()) : Values(c.keys_bf16.data());
  kv.values = c.keys_bf16.empty() ? Values(c.values.data()) : Values(c.values_bf16.data());
  kv.block_table = c.table.data();
  kv.context = c.context.data();
  return kv;
}
}  // namespace

PrefillAttention PagedCase::prefill(std::vector<float>& out) const {
  out.assign(query.size(), std::numeric_limits<float>::quiet_NaN());
  return {paged(*this), heads, query_start.back(), query.data(), query_start.data(),
          out.data(),   scale};
}

DecodeAttention PagedCase::decode(std::vector<float>& out) const {
  out.assign(query.size(), std::numeric_limits<float>::quiet_NaN());
  return {paged(*this), heads, query.data(), out.data(), scale};
}

std::string difference(const std::vector<float>& got, const std::vector<double>& expected,
                       double tolerance) {
  if (got.size() != expected.size()) {
    return "sizes " + std::to_string(got.size()) + " and " + std::to_string(expected.size());
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double allowed = tolerance * (1 + std::abs(expected[i]));
    if (!(std::abs(got[i] - expected[i]) <= allowed)) {
      return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
             std::to_string(expected[i]);
    }
  }
  return {};
}

}  // namespace dyn::kernels::test
