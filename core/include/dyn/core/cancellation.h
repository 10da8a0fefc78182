#pragma once

#include "dyn/core/quantity.h"

namespace dyn {

/// Clients that do not wait for the end of their answers. With `cv` 0 as AIPerf's
/// --request-cancellation-rate and --request-cancellation-delay.
struct CancellationSpec {
  double share = 0;   ///< of the requests whose client leaves, in [0, 1]
  Duration after{0};  ///< mean, from the send until it does; a request that ended before has ended
  bool until_first_token = false;  ///< who has its first token by then stays
  double cv = 0;  ///< coefficient of variation of it (gamma; 1: exponential), in [0, 10]
};

}  // namespace dyn
