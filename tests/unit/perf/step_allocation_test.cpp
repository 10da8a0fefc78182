#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>

#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/perf_model.h"
#include "sample_models.h"

namespace {
std::atomic<long> allocations{0};

void* counted(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) {
    return memory;
  }
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) {
  return counted(size);
}
void* operator new[](std::size_t size) {
  return counted(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace dyn::perf {

TEST_CASE("A step's time is found without allocating memory") {
  PerfTarget target;
  target.model = test::deepseek_v3();
  target.layout = {1, 1, 8, 8};
  const auto model = PerfModel::compile(target, builtin_profile("h200"));
  const auto slower = scaled(model, 1.5);
  StepBatch batch;
  batch.add_prefill(2048, 1000, true);
  for (int i = 0; i < 64; ++i) {
    batch.add_decode(3000 + i);
  }
  const long before = allocations;
  Duration sum{0};
  for (int i = 0; i < 100; ++i) {
    batch.add_decode(100);
    sum += model->step_time(batch) + slower->step_time(batch);
  }
  CHECK(allocations == before);
  CHECK(sum > Duration{0});
}

}  // namespace dyn::perf
