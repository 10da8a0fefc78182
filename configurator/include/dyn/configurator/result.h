#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dyn/configurator/explore.h"

namespace dyn::configurator {

/// What a result was made from. Everything that can change the figures is in the digest.
struct ResultSource {
  std::string recipe_name;  ///< file name of the recipe, without its folder
  std::string recipe_text;
  std::vector<std::string> overrides;  ///< the --set of the command line
  std::vector<std::string> files;      ///< paths of what the recipe names: trace, profile, model
  std::string sha256;                  ///< input_sha256() of this, where it is known already
};

/// SHA-256 in hex of the recipe, the overrides, the seed and the content of the files.
/// Throws Error(bad_input) for a file that cannot be read.
std::string input_sha256(const ResultSource& source, std::uint64_t seed);

/// The files that a recipe names, as seen from it.
std::vector<std::string> input_files(const Recipe& recipe, const std::string& recipe_path);

/// result.json (schema dyn.result/1): header, recipe, load, counts, and every ranked candidate
/// with its figures (value, low, high, provenance), its plan and its report. Equal input gives
/// equal bytes.
std::string to_json(const ExploreResult& result, const Recipe& recipe, const ResultSource& source);

/// A result.json that was read back.
struct StoredResult {
  std::string path;
  std::uint64_t seed = 0;
  std::string objective;
  bool higher_is_better = true;
  std::vector<Plan> plans;  ///< by rank; each carries its predicted figures
  std::vector<bool> meets_slo;
};

/// Throws Error(bad_input) for a missing, truncated or foreign file, or another schema.
StoredResult load_result(const std::string& path);

/// A figure that differs between two results.
struct FigureChange {
  std::string name;
  std::string unit;
  double before = 0;
  double after = 0;
  double change = 0;   ///< (after - before) / before; of a figure that was 0, infinite
  bool worse = false;  ///< beyond the tolerance, in the wrong direction
};

/// Compares the winners: the metrics that the SLOs name, throughput per GPU and goodput. Where
/// neither has SLOs, TTFT and ITL p99. `tolerance` is a fraction >= 0.
std::vector<FigureChange> compare(const StoredResult& baseline, const ExploreResult& result,
                                  double tolerance);

}  // namespace dyn::configurator
