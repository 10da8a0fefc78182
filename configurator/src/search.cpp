#include "search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "dyn/core/math.h"

namespace dyn::configurator {
namespace {

/// Objectives within half a percent share a step.
std::int64_t objective_step(double value) {
  if (value == 0) {
    return 0;
  }
  const auto step = static_cast<std::int64_t>(std::floor(portable_log(std::fabs(value)) / 0.005));
  // Shifted so that the sign decides before the size does.
  constexpr std::int64_t kShift = 1'000'000;
  return value > 0 ? step + kShift : -(step + kShift);
}

double log_ratio(double measured, double predicted) {
  if (measured <= 0 || predicted <= 0) {
    return 0;
  }
  return portable_log(std::clamp(measured / predicted, 0.05, 20.0));
}

}  // namespace

bool Merit::before(const Merit& other) const {
  if (feasible != other.feasible) {
    return feasible;
  }
  if (!feasible && worst != other.worst) {
    return worst < other.worst;
  }
  const std::int64_t mine = objective_step(objective);
  const std::int64_t theirs = objective_step(other.objective);
  if (mine != theirs) {
    return mine > theirs;
  }
  if (worst != other.worst) {
    return worst < other.worst;
  }
  if (gpus != other.gpus) {
    return gpus < other.gpus;
  }
  if (latency != other.latency) {
    return latency < other.latency;
  }
  return index < other.index;
}

double signed_objective(Objective objective, double value) {
  return higher_is_better(objective) ? value : -value;
}

Search::Search(const Problem& problem, const Space& space, Scorer& scorer)
    : problem_(problem),
      space_(space),
      targets_(problem.recipe->slo.targets()),
      taken_(space.topologies.size(), false) {
  scores_.reserve(space.topologies.size());
  for (const Topology& topology : space.topologies) {
    scores_.push_back(scorer.score(topology));
  }
}

bool Search::same_layouts(const Topology& a, const Topology& b) const {
  return a.disaggregated() == b.disaggregated() &&
         space_.shapes[a.first].layout == space_.shapes[b.first].layout &&
         (!a.disaggregated() || space_.shapes[a.second].layout == space_.shapes[b.second].layout);
}

bool Search::same_scores(std::size_t a, std::size_t b) const {
  const AnalyticScore& x = scores_[a];
  const AnalyticScore& y = scores_[b];
  const auto near = [](double p, double q) { return std::fabs(p - q) <= 0.005 * std::max(p, q); };
  return near(x.ttft_mean, y.ttft_mean) && near(x.ttft_p99, y.ttft_p99) &&
         near(x.itl_mean, y.itl_mean) && near(x.itl_p99, y.itl_p99) &&
         near(x.request_rate, y.request_rate);
}

double Search::distance(const Topology& a, const Topology& b) const {
  double sum = same_layouts(a, b) ? 0 : 8;
  sum += std::fabs(portable_log(double(a.first_replicas) / b.first_replicas));
  if (a.disaggregated()) {
    sum += std::fabs(portable_log(double(a.second_replicas) / b.second_replicas));
  }
  sum += a.first == b.first ? 0 : 0.1;
  sum += a.second == b.second ? 0 : 0.1;
  return sum;
}

Search::Bias Search::expected_bias(const Topology& topology) const {
  Bias mean{};
  const Seen* nearest = nullptr;
  double least = 0;
  int count = 0;
  for (const Seen& seen : seen_) {
    const Topology& other = space_.topologies[seen.topology];
    if (other.disaggregated() != topology.disaggregated()) {
      continue;
    }
    ++count;
    for (std::size_t i = 0; i < mean.size(); ++i) {
      mean[i] += seen.bias[i];
    }
    const double d = distance(topology, other);
    if (nearest == nullptr || d < least) {
      nearest = &seen;
      least = d;
    }
  }
  if (nearest == nullptr) {
    return {};
  }
  const double trust = 1 / (1 + least / 2);
  Bias bias{};
  for (std::size_t i = 0; i < mean.size(); ++i) {
    bias[i] = trust * nearest->bias[i] + (1 - trust) * mean[i] / count;
  }
  return bias;
}

AnalyticScore Search::corrected(std::size_t index) const {
  AnalyticScore score = scores_[index];
  const Bias bias = expected_bias(space_.topologies[index]);
  double* const values[] = {&score.ttft_mean, &score.ttft_p99, &score.itl_mean, &score.itl_p99,
                            &score.request_rate};
  for (std::size_t i = 0; i < bias.size(); ++i) {
    *values[i] *= portable_exp(bias[i]);
  }
  return score;
}

Merit Search::merit(std::size_t index) const {
  const AnalyticScore score = corrected(index);
  const double output = problem_.stats.summary.mean_output;
  const Objective objective = problem_.recipe->objective;
  Merit merit;
  merit.worst = worst_ratio(score, targets_, output);
  merit.feasible = merit.worst <= headroom_;
  merit.gpus = space_.gpus(space_.topologies[index]);
  merit.objective = signed_objective(
      objective, objective_of(objective, score, merit.gpus, merit.feasible, output));
  merit.latency = score.ttft_mean + output * score.itl_mean;
  merit.index = index;
  return merit;
}

bool Search::too_alike(std::size_t index, const std::vector<std::size_t>& chosen,
                       Variety variety) const {
  const Topology& topology = space_.topologies[index];
  const auto alike = [&](std::size_t other_index) {
    const Topology& other = space_.topologies[other_index];
    return same_layouts(topology, other) && topology.first_replicas == other.first_replicas &&
           topology.second_replicas == other.second_replicas;
  };
  const auto same = [&](std::size_t other_index) {
    return same_layouts(topology, space_.topologies[other_index]);
  };
  const auto indifferent = [&](std::size_t other) {
    return alike(other) && same_scores(index, other);
  };
  const auto among = [&](const auto& rule) {
    return std::any_of(chosen.begin(), chosen.end(), rule) ||
           std::any_of(returned_.begin(), returned_.end(), rule);
  };
  switch (variety) {
    case Variety::spread:
      return std::any_of(chosen.begin(), chosen.end(), same);
    case Variety::distinct:
      return among(alike);
    case Variety::any:
      return among(indifferent);
  }
  return false;
}

std::vector<std::size_t> Search::next(std::size_t count, Variety variety) {
  std::vector<Merit> order;
  order.reserve(scores_.size());
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (!taken_[i]) {
      order.push_back(merit(i));
    }
  }
  std::sort(order.begin(), order.end(), [](const Merit& a, const Merit& b) { return a.before(b); });
  std::vector<std::size_t> chosen;
  const auto take = [&](std::optional<Variety> wanted, std::size_t most, std::optional<bool> mode) {
    for (const Merit& merit : order) {
      if (chosen.size() >= most) {
        return;
      }
      const bool fits_mode = !mode || space_.topologies[merit.index].disaggregated() == *mode;
      const bool alike = wanted && too_alike(merit.index, chosen, *wanted);
      if (!taken_[merit.index] && fits_mode && !alike) {
        taken_[merit.index] = true;
        chosen.push_back(merit.index);
      }
    }
  };
  if (variety == Variety::spread) {
    take(variety, (count + 1) / 2, false);
    take(variety, count, true);
    take(variety, count, std::nullopt);
  }
  // Where variety cannot be had, the next best will do.
  if (variety != Variety::any) {
    take(Variety::distinct, count, std::nullopt);
  }
  take(Variety::any, count, std::nullopt);
  take(std::nullopt, count, std::nullopt);
  returned_.insert(returned_.end(), chosen.begin(), chosen.end());
  return chosen;
}

void Search::learn(std::size_t topology, const AnalyticScore& measured) {
  const AnalyticScore& said = scores_[topology];
  seen_.push_back(
      {topology,
       {log_ratio(measured.ttft_mean, said.ttft_mean), log_ratio(measured.ttft_p99, said.ttft_p99),
        log_ratio(measured.itl_mean, said.itl_mean), log_ratio(measured.itl_p99, said.itl_p99),
        log_ratio(measured.request_rate, said.request_rate)}});
}

}  // namespace dyn::configurator
