#include <catch2/catch.hpp>
#include <set>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"

using dyn::find_gpu;
using dyn::Precision;

TEST_CASE("the catalogue has every GPU that it promises, once") {
  std::set<std::string> ids;
  for (const dyn::GpuSpec& gpu : dyn::gpu_catalogue()) {
    CHECK(ids.insert(gpu.id).second);
  }
  CHECK(ids == std::set<std::string>{"a100", "a40", "b200", "b300", "gb200", "gb300", "h100",
                                     "h100-pcie", "h200", "l40s", "mi300x", "mi325x", "mi355x",
                                     "rtx-4090", "rtx-pro-6000"});
}

TEST_CASE("each figure of each GPU is plausible and has its source") {
  for (const dyn::GpuSpec& gpu : dyn::gpu_catalogue()) {
    INFO(gpu.id);
    CHECK(gpu.memory.count() > 20'000'000'000);
    CHECK(gpu.memory.count() < 320'000'000'000);
    CHECK(gpu.memory_bandwidth.count() > 0.6e12);
    CHECK(gpu.memory_bandwidth.count() <= 8e12);
    CHECK(gpu.power.count() >= 300);
    CHECK(gpu.gpus_per_node >= 8);
    CHECK(gpu.intra_node.count() >= gpu.host_link.count());
    CHECK(gpu.inter_node.count() >= 12e9);
    CHECK(gpu.inter_node.count() <= gpu.intra_node.count());
    for (const char* field : {"memory", "memory_bandwidth", "peak", "power", "gpus_per_node",
                              "intra_node", "inter_node", "host_link"}) {
      INFO(field);
      REQUIRE(gpu.sources.count(field) == 1);
      CHECK_FALSE(gpu.sources.at(field).empty());
    }
    // A narrower format is never slower.
    const double bf16 = gpu.peak_for(Precision::bf16).count();
    CHECK(gpu.peak_for(Precision::fp32).count() < bf16);
    CHECK(gpu.peak_for(Precision::fp8).count() >= bf16);
    CHECK(gpu.peak_for(Precision::fp4) >= gpu.peak_for(Precision::fp8));
  }
}

TEST_CASE("peaks are dense, and formats that are not native run in the next wider one") {
  const dyn::GpuSpec& h200 = find_gpu("h200");
  CHECK(h200.peak_for(Precision::bf16).count() == Approx(989.4e12));
  CHECK(h200.peak_for(Precision::fp8_block).count() == Approx(1978.9e12));
  CHECK(h200.peak_for(Precision::fp4) == h200.peak_for(Precision::fp8));
  CHECK(h200.peak_for(Precision::int4) == h200.peak_for(Precision::bf16));
  const dyn::GpuSpec& a100 = find_gpu("a100");
  CHECK(a100.peak_for(Precision::fp8) == a100.peak_for(Precision::bf16));
  CHECK(a100.peak_for(Precision::int8).count() == Approx(624e12));
  CHECK(find_gpu("b200").peak_for(Precision::fp4).count() == Approx(9e15));
  CHECK(find_gpu("b300").peak_for(Precision::int8) == find_gpu("b300").peak_for(Precision::bf16));
  dyn::GpuSpec cpu;
  cpu.id = "cpu";
  CHECK_THROWS_AS(cpu.peak_for(Precision::bf16), dyn::Error);
  cpu.peak[Precision::fp32] = dyn::FlopsPerSec(1e11);
  CHECK(cpu.peak_for(Precision::fp4).count() == 1e11);
}

TEST_CASE("a GPU is found by id and by its other names in any spelling") {
  CHECK(find_gpu("H200-SXM").id == "h200");
  CHECK(find_gpu("h100_sxm").id == "h100");
  CHECK(find_gpu("NVIDIA H100 80GB HBM3").id == "h100");
  CHECK(find_gpu("H100-PCIe").id == "h100-pcie");
  CHECK(find_gpu("b200_sxm").id == "b200");
  CHECK(find_gpu("rtx4090").id == "rtx-4090");
  CHECK(find_gpu("rtx_pro_6000_server").id == "rtx-pro-6000");
  CHECK(find_gpu("AMD Instinct MI300X").id == "mi300x");
}

TEST_CASE("an unknown GPU is an error that names the nearest and all others") {
  try {
    find_gpu("h20o");
    FAIL("found a GPU that is none");
  } catch (const dyn::Error& error) {
    CHECK(error.kind() == dyn::ErrorKind::bad_input);
    CHECK_THAT(error.what(), Catch::Contains("did you mean 'h200'?"));
    CHECK_THAT(error.what(), Catch::Contains("mi355x"));
  }
}
