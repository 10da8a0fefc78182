#include "dyn/perf/model_spread.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#include "dyn/perf/builtin_profiles.h"
#include "paths.h"

namespace dyn::perf {
namespace {

TEST_CASE("an interval is widened by a spread as by an independent error") {
  const Estimate exact{10, 10, 10, Provenance::measured};
  const Estimate spread = widened(exact, {0.8, 1.5});
  CHECK(spread.value == 10);
  CHECK(spread.low == Approx(8));
  CHECK(spread.high == Approx(15));
  CHECK(spread.provenance == Provenance::measured);
  // Two that are as wide: by the root of two, of the logarithm.
  const Estimate twice = widened({10, 8, 15, Provenance::measured}, {0.8, 1.5});
  CHECK(twice.low == Approx(10 * std::pow(0.8, std::sqrt(2.0))));
  CHECK(twice.high == Approx(10 * std::pow(1.5, std::sqrt(2.0))));
  const Estimate same = widened({10, 9, 12, Provenance::measured}, {});
  CHECK(same.low == Approx(9));
  CHECK(same.high == Approx(12));
  // No end at all, and no time.
  CHECK(widened({10, 0, 12, Provenance::measured}, {0.5, 1}).low > 0);
  CHECK(widened({}, {0.5, 2}).high == 0);
}

TEST_CASE("engines that were never measured have the spread of all, calibrated ones none") {
  Profile profile = builtin_profile("h200");
  const ModelSpread all = model_spread(profile, "an engine");
  CHECK(all.step.low < 0.8);
  CHECK(all.step.high > 1.2);
  CHECK(model_spread(profile, "vllm").step.low > all.step.low);
  REQUIRE(!profile.engines.empty());
  for (EngineHost& host : profile.engines) {
    host.provenance = host.engine == "vllm" ? Provenance::measured : host.provenance;
  }
  const ModelSpread calibrated = model_spread(profile, "vllm");
  CHECK(calibrated.ttft.high == 1);
  CHECK(calibrated.step.low == 1);
  CHECK(model_spread(profile, "sglang").step.high > 1);
}

TEST_CASE("the spreads are those of docs/accuracy.md") {
  std::ifstream file(test::source_path("docs/accuracy.md"));
  std::string line;
  while (std::getline(file, line) && line != "## What the model alone leaves") {
  }
  int found = 0;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string bar, engine, to;
    int rows = 0;
    ModelSpread stated;
    if (words >> bar >> engine >> bar >> rows >> bar >> stated.ttft.low >> to >> stated.ttft.high >>
        bar >> stated.step.low >> to >> stated.step.high) {
      INFO(line);
      const ModelSpread used = model_spread({}, engine);
      CHECK(used.ttft.low == Approx(stated.ttft.low).margin(0.011));
      CHECK(used.ttft.high == Approx(stated.ttft.high).margin(0.011));
      CHECK(used.step.low == Approx(stated.step.low).margin(0.011));
      CHECK(used.step.high == Approx(stated.step.high).margin(0.011));
      ++found;
    }
  }
  CHECK(found == 4);  // three engines and all
}

}  // namespace
}  // namespace dyn::perf
