#include "dyn/core/kv_tiers.h"

namespace dyn {

std::vector<KvTiers::Named> KvTiers::levels() const {
  std::vector<Named> all;
  for (const auto& [name, tier] :
       {std::pair{"host", &host}, std::pair{"disk", &disk}, std::pair{"object", &object}}) {
    if (*tier) {
      all.push_back({name, &**tier});
    }
  }
  return all;
}

}  // namespace dyn
