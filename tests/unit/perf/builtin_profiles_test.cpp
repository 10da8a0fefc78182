#include "dyn/perf/builtin_profiles.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/perf/perf_model.h"
#include "profile_archive.h"
#include "sample_models.h"

namespace dyn::perf {

TEST_CASE("Every GPU of the catalogue has a profile with sound constants and their source") {
  const std::vector<std::string> names = builtin_profile_names();
  CHECK(names.size() == gpu_catalogue().size());
  for (const std::string& name : names) {
    INFO(name);
    const Profile profile = builtin_profile(name);
    CHECK(profile.name == name);
    CHECK(profile.device.id == name);
    CHECK_FALSE(profile.engines.empty());
    for (const OperatorFit& fit : profile.operators) {
      CHECK(fit.compute_efficiency > 0);
      CHECK(fit.compute_efficiency <= 1);
      CHECK(fit.bandwidth_efficiency > 0);
      CHECK(fit.bandwidth_efficiency <= 1);
      CHECK(fit.overhead >= Duration{0});
      CHECK(fit.relative_error > 0);
      CHECK(fit.relative_error < 1);
      CHECK_FALSE(fit.source.empty());
      // A built-in constant is a fit to somebody's measurements at best.
      CHECK(fit.provenance != Provenance::measured);
    }
    for (const EngineHost& host : profile.engines) {
      CHECK(host.step_base > Duration{0});
      CHECK_FALSE(host.source.empty());
    }
  }
}

TEST_CASE("A profile that the build packed says to the bit what its file does") {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(DYN_SOURCE_DIR) + "/profiler/profiles")) {
    const Profile file = load_profile(entry.path().string());
    const Profile packed = builtin_profile(file.device.id);
    INFO(entry.path().string());
    CHECK((to_json(file) == to_json(packed)));
    ++files;
  }
  CHECK(files >= 10);
  // What no file of today has: numbers with a fraction, large ones, every optional field.
  Profile profile;
  profile.name = "odd";
  profile.operators.resize(2);
  profile.operators[1].kv_cache = Precision::fp8;
  profile.operators[1].held_out_error = 0.125;
  profile.operators[1].correction = {{1.5, 0.5}, {3, -0.0}};
  profile.operators[1].surfaces = {{{{"tokens", {0.1, 7e300}}, {"n", {-40'000, 70'000}}}, {-0.0}}};
  profile.engines.resize(2);
  profile.engines[1].serving = ServingFactors{0.5, 1.25, 2, 1, 3, "a run"};
  profile.storage.resize(1);
  profile.device.sources["power"] = "a text";
  CHECK((to_json(unpack_profile(pack_profile(profile))) == to_json(profile)));
}

TEST_CASE(
    "Kernels measured in an engine's steps have no serving factors, those measured alone do") {
  for (const char* gpu : {"rtx-4090", "rtx-pro-6000"}) {
    for (const EngineHost& host : builtin_profile(gpu).engines) {
      CHECK_FALSE(host.serving.has_value());
    }
  }
  for (const EngineHost& host : builtin_profile("h200").engines) {
    REQUIRE(host.serving.has_value());
    CHECK_FALSE(host.serving->source.empty());
  }
}

TEST_CASE("The engines' serving factors are those of docs/accuracy.md") {
  std::ifstream file(std::string(DYN_SOURCE_DIR) + "/docs/accuracy.md");
  std::string line;
  while (std::getline(file, line) && line != "## What kernels take in an engine's steps") {
  }
  std::map<std::string, ServingFactors> stated;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string bar, engine;
    ServingFactors of;
    if (words >> bar >> engine >> bar >> of.gemm >> bar >> of.attention >> bar >> of.experts >>
        bar >> of.collective >> bar >> of.elementwise) {
      stated[engine] = of;
    }
  }
  CHECK(stated.size() == 3);
  for (const EngineHost& host : builtin_profile("h200").engines) {
    INFO(host.engine << ' ' << host.version);
    ServingFactors used = host.serving.value();
    used.source.clear();
    CHECK((used == stated[host.engine]));
  }
}

TEST_CASE("A plan's profile lacks operators only") {
  Profile profile = builtin_profile("h200");
  Profile needed = profile_for(profile, {});
  CHECK(needed.operators.size() < profile.operators.size());
  profile.operators.clear();
  needed.operators.clear();
  CHECK((to_json(needed) == to_json(profile)));
}

TEST_CASE("An unknown profile is an error") {
  CHECK_THROWS_AS(builtin_profile("h10"), Error);
}

TEST_CASE("A device with fits of its own has a narrower interval than one without") {
  PerfTarget target;
  target.model = test::llama_8b();
  StepBatch batch;
  for (int i = 0; i < 32; ++i) {
    batch.add_decode(1000);
  }
  const auto width = [&](const std::string& gpu) {
    const Estimate e = PerfModel::compile(target, builtin_profile(gpu))->estimate(batch);
    return (e.high - e.low) / e.value;
  };
  for (const char* const measured : {"a100", "h100", "h200", "b200", "b300", "gb200", "gb300",
                                     "l40s", "rtx-pro-6000", "rtx-4090"}) {
    INFO(measured);
    CHECK(width(measured) < width("mi300x"));
  }
  // Than the H100 PCIe's, whose constants are the H100's own, those of Blackwell are not narrower
  // (0.51 against 0.48 of a decode step here).
  for (const char* const measured : {"a100", "h100", "h200"}) {
    INFO(measured);
    CHECK(width(measured) < width("h100-pcie"));
  }
}

TEST_CASE("What tables lack is answered from the nearest, marked, and with a wider interval") {
  const Profile profile = builtin_profile("h200");
  StepBatch batch;
  for (int i = 0; i < 32; ++i) {
    batch.add_decode(1000);
  }
  const auto operator_of = [&](const PerfTarget& target, const std::string& name) {
    for (OperatorTime& time : PerfModel::compile(target, profile)->explain(batch)) {
      if (time.name == name) {
        return time;
      }
    }
    FAIL("no " + name);
    return OperatorTime{};
  };
  const auto check_graded = [](const OperatorTime& known, const OperatorTime& graded) {
    CHECK(known.provenance == Provenance::interpolated);
    CHECK(graded.provenance >= Provenance::extrapolated);
    CHECK(graded.relative_error > known.relative_error);
    CHECK(graded.source.find("nearest fit") != std::string::npos);
    CHECK(graded.time > Duration{0});
  };
  PerfTarget dense;
  dense.model = test::llama_8b();
  const OperatorTime known = operator_of(dense, "mlp_up_gemm");
  const OperatorTime known_qkv = operator_of(dense, "qkv_gemm");
  for (const Precision weights : {Precision::fp4, Precision::int4, Precision::mxfp4}) {
    dense.weights = weights;
    INFO(static_cast<int>(weights));
    check_graded(known_qkv, operator_of(dense, "qkv_gemm"));
    check_graded(known, operator_of(dense, "mlp_up_gemm"));
  }
  PerfTarget experts;
  experts.model = test::deepseek_v3();
  experts.weights = Precision::fp8_block;
  experts.layout = {1, 1, 8, 8};
  experts.engine = "sglang";
  const OperatorTime usual = operator_of(experts, "experts");
  experts.model.moe->experts = 4096;  // the tables end at 512
  check_graded(usual, operator_of(experts, "experts"));
  // Kernels behind DeepEP were measured with SGLang and blocks of FP8.
  experts.model = test::deepseek_v3();
  experts.layout = {1, 1, 64, 64};
  const OperatorTime wide = operator_of(experts, "experts");
  experts.engine = "vllm";
  check_graded(wide, operator_of(experts, "experts"));
  experts.engine = "sglang";
  experts.weights = Precision::bf16;
  check_graded(wide, operator_of(experts, "experts"));
  CHECK(operator_of(experts, "experts").source.find("another exchange") != std::string::npos);
}

TEST_CASE("A profile cut to what a target uses prices it the same") {
  for (const char* const gpu : {"h200", "a100"}) {
    const Profile whole = builtin_profile(gpu);
    PerfTarget target;
    target.model = test::llama_8b();
    target.weights = Precision::fp8;
    target.layout.tensor = 2;
    PerfTarget other = target;
    other.layout.tensor = 4;
    const Profile cut = profile_for(whole, {target, other});
    CHECK(cut.operators.size() < whole.operators.size());
    CHECK(cut.engines.size() == whole.engines.size());
    StepBatch batch;
    batch.add_prefill(1000, 24, true);
    for (int i = 0; i < 32; ++i) {
      batch.add_decode(1500 + i);
    }
    for (const PerfTarget& t : {target, other}) {
      const Estimate a = PerfModel::compile(t, whole)->estimate(batch);
      const Estimate b = PerfModel::compile(t, cut)->estimate(batch);
      CHECK(a.value == b.value);
      CHECK(a.high == b.high);
      CHECK(a.provenance == b.provenance);
    }
  }
}

TEST_CASE("A faster device is predicted to be faster") {
  PerfTarget target;
  target.model = test::llama_8b();
  StepBatch batch;
  batch.add_prefill(4096, 0, true);
  for (int i = 0; i < 64; ++i) {
    batch.add_decode(2000);
  }
  const auto time = [&](const std::string& gpu) {
    return PerfModel::compile(target, builtin_profile(gpu))->step_time(batch);
  };
  CHECK(time("b200") < time("h200"));
  CHECK(time("h200") < time("h100"));
  CHECK(time("h100") < time("a100"));
  CHECK(time("a100") < time("l40s"));
}

TEST_CASE("Weight-only GEMMs where only bf16 was measured have the interval of such answers") {
  StepBatch batch;
  batch.add_decode(1000);
  for (const char* gpu : {"rtx-4090", "h100"}) {
    for (const Precision weights : {Precision::bf16, Precision::int4}) {
      PerfTarget target;
      target.model = test::llama_8b();
      target.weights = weights;
      for (const OperatorTime& time :
           PerfModel::compile(target, builtin_profile(gpu))->explain(batch)) {
        if (time.name == "mlp_up_gemm") {
          INFO(gpu);
          const bool measured = weights == Precision::bf16;
          CHECK((time.provenance == Provenance::interpolated) == measured);
          CHECK((time.relative_error < 0.2) == measured);
          CHECK((time.relative_error >= 0.5) == !measured);
        }
      }
    }
  }
}

TEST_CASE("A number of experts that was not measured is marked, and its interval wider") {
  StepBatch batch;
  for (int i = 0; i < 32; ++i) {
    batch.add_decode(1000);
  }
  const auto experts_of = [&](int experts, Precision weights, const std::string& engine) {
    PerfTarget target;
    target.model = test::deepseek_v3();
    target.model.moe->experts = experts;
    target.weights = weights;
    target.engine = engine;
    for (OperatorTime& time : PerfModel::compile(target, builtin_profile("h200"))->explain(batch)) {
      if (time.name == "experts") {
        return time;
      }
    }
    FAIL("no experts");
    return OperatorTime{};
  };
  const Precision blocks = Precision::fp8_block;
  for (const char* engine : {"vllm", "sglang"}) {
    const OperatorTime known = experts_of(128, blocks, engine);
    CHECK(known.provenance == Provenance::interpolated);
    CHECK(experts_of(256, blocks, engine).provenance == Provenance::interpolated);
    for (const int experts : {96, 100, 136}) {
      INFO(experts);
      const OperatorTime graded = experts_of(experts, blocks, engine);
      CHECK(graded.provenance == Provenance::extrapolated);
      CHECK(graded.relative_error == Approx(1.3 * known.relative_error));
      CHECK(graded.source.find("(nearest fit: another number of experts)") != std::string::npos);
    }
  }
  // Experts of int4 were measured at one number alone.
  CHECK(experts_of(384, Precision::int4, "vllm").provenance == Provenance::interpolated);
  CHECK(experts_of(128, Precision::int4, "vllm").provenance == Provenance::extrapolated);
}

}  // namespace dyn::perf
