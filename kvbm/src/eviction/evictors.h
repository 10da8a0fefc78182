#pragma once

#include <memory>

#include "dyn/kvbm/eviction.h"

namespace dyn::kvbm {

std::unique_ptr<Evictor> make_lru();
std::unique_ptr<Evictor> make_s3_fifo(std::uint64_t capacity);
std::unique_ptr<Evictor> make_tiny_lfu(std::uint64_t capacity);
std::unique_ptr<Evictor> make_cost_aware(const RecomputeCost& cost);
std::unique_ptr<Evictor> make_belady();

}  // namespace dyn::kvbm
