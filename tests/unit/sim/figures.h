#pragma once

#include <catch2/catch.hpp>

#include "dyn/sim/simulation.h"

namespace dyn::sim::test {

/// The mean of a metric that the run's report has.
inline double figure(const SimulationResult& run, const char* tag) {
  const Metric* metric = run.report.find(tag);
  REQUIRE(metric != nullptr);
  return metric->avg;
}

}  // namespace dyn::sim::test
