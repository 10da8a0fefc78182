#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "dyn/configurator/explore.h"
#include "score.h"
#include "space.h"

namespace dyn::configurator {

/// Whether a comes before b: those within the targets first, by objective (figures within half a
/// percent count as equal, then the one with more headroom to its targets); then those outside,
/// nearest to their targets first.
struct Merit {
  double worst = 0;      ///< largest value / limit of the targets
  bool feasible = true;  ///< targets met, no failures
  double objective = 0;  ///< already so that more is better
  double latency = 0;    ///< seconds; decides where there are no targets
  int gpus = 0;
  std::size_t index = 0;  ///< of the topology; makes the order total

  bool before(const Merit& other) const;
};

/// More is better, whatever the objective.
double signed_objective(Objective objective, double value);

/// Chooses which topologies to replay next. Scores every topology once; what replays show corrects
/// the scores of the same mode: near a replayed topology (in layout and replicas) as that one was
/// off, far from all of them as they were on average. So later rounds close in on where the targets
/// begin to hold.
class Search {
 public:
  Search(const Problem& problem, const Space& space, Scorer& scorer);

  /// The next topologies, best first; each is returned once. `spread` asks for different layouts
  /// and both modes, `distinct` for different layouts or replicas, `any` leaves out only those that
  /// differ from one before in knobs which the score says make no difference.
  enum class Variety { spread, distinct, any };
  std::vector<std::size_t> next(std::size_t count, Variety variety);

  /// What the replay of a topology measured.
  void learn(std::size_t topology, const AnalyticScore& measured);
  /// From now on, counts a topology as within the targets only if its corrected score is below
  /// `share` of every one: for when those taken for good turned out not to be.
  void demand_headroom(double share) { headroom_ = share; }

  const AnalyticScore& score(std::size_t topology) const { return scores_[topology]; }

 private:
  /// Logarithms of measured / predicted: TTFT mean and p99, ITL mean and p99, request rate.
  using Bias = std::array<double, 5>;
  struct Seen {
    std::size_t topology;
    Bias bias;
  };
  Bias expected_bias(const Topology& topology) const;
  AnalyticScore corrected(std::size_t topology) const;
  Merit merit(std::size_t topology) const;
  double distance(const Topology& a, const Topology& b) const;
  bool same_layouts(const Topology& a, const Topology& b) const;
  bool same_scores(std::size_t a, std::size_t b) const;
  bool too_alike(std::size_t topology, const std::vector<std::size_t>& chosen,
                 Variety variety) const;

  const Problem& problem_;
  const Space& space_;
  std::vector<Slo::Target> targets_;
  std::vector<AnalyticScore> scores_;
  std::vector<bool> taken_;
  std::vector<std::size_t> returned_;
  std::vector<Seen> seen_;
  double headroom_ = 1;
};

}  // namespace dyn::configurator
