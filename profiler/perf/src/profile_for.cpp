#include <set>

#include "dyn/perf/perf_model.h"
#include "fit_choice.h"
#include "operators.h"

namespace dyn::perf {

Profile profile_for(const Profile& profile, const std::vector<PerfTarget>& targets) {
  std::set<const OperatorFit*> used;
  for (const PerfTarget& target : targets) {
    for (const Operator& op : operator_graph(target, profile.device)) {
      used.insert(choose_fit(op, target.engine, profile).fit);
    }
  }
  Profile out;  // all but the operators, which are most of it
  out.name = profile.name;
  out.created_by = profile.created_by;
  out.description = profile.description;
  out.device = profile.device;
  out.engines = profile.engines;
  out.storage = profile.storage;
  out.intra_node_latency = profile.intra_node_latency;
  out.inter_node_latency = profile.inter_node_latency;
  for (const OperatorFit& fit : profile.operators) {
    if (used.contains(&fit) || fit.kind == OperatorKind::attention_mixed) {
      out.operators.push_back(fit);
    }
  }
  return out;
}

}  // namespace dyn::perf
