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
  Profile out = profile;
  out.operators.clear();
  for (const OperatorFit& fit : profile.operators) {
    if (used.contains(&fit) || fit.kind == OperatorKind::attention_mixed) {
      out.operators.push_back(fit);
    }
  }
  return out;
}

}  // namespace dyn::perf
