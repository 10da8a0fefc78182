#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::profiler {

/// How far a profile is from measurements of an operator that its fits have not seen.
struct OperatorScore {
  std::string gpu;
  std::string group;     ///< gemm, attention, moe or collective
  std::string what;      ///< the operator, such as attention_decode
  std::string engine;    ///< whose kernels
  std::string version;   ///< of the engine
  std::string format;    ///< precision, with that of the KV cache where it matters
  std::size_t rows = 0;  ///< of the tables
  std::size_t held_out = 0;
  double median = 0;  ///< of |modelled / measured - 1| over the rows held out
  double ninety = 0;  ///< its 90 % quantile
  double inside = 0;  ///< share of them within the fit's own interval
};

/// One for every GPU, operator, engine and precision; then, with gpu "all", one for every group.
struct OperatorScores {
  std::vector<OperatorScore> slices;
  std::vector<OperatorScore> groups;
  std::vector<std::string> gpus;
};

struct ScoreOptions {
  std::string path;               ///< the unpacked package aiconfigurator-core
  std::vector<std::string> gpus;  ///< of the catalogue; empty: all that it has tables of
  std::function<Profile(const std::string& gpu)> profile;
  std::function<void(const std::string& what)> progress;  ///< may be empty
  const std::atomic<bool>* cancelled = nullptr;
};

/// Scores profiles against the fifth of the tables' rows that `import_aiconfigurator` never fits
/// or chooses by. Slices that a profile has no fit of are left out. Throws as the import does.
OperatorScores score_operators(const ScoreOptions& options);

std::string to_text(const OperatorScores& scores);
std::string to_json(const OperatorScores& scores);
/// As docs/accuracy-operators.md, with the command that makes it.
std::string to_markdown(const OperatorScores& scores, const std::string& command);

}  // namespace dyn::profiler
