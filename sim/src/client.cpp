#include "client.h"

namespace dyn::sim {

Client::Client(const Workload& workload) : workload_(workload), closed_(workload.concurrency > 0) {
  DYN_ASSERT(workload.warmup == 0 || closed_, "a warm-up needs slots");
  DYN_ASSERT(workload.warmup <= workload.requests.size(), "a warm-up is part of the requests");
  if (workload.follow_ups.empty()) {
    return;
  }
  waits_.resize(count());
  first_follow_up_.resize(std::size_t{count()} + 1);
  std::uint32_t last = 0;
  for (const FollowUp& follow : workload.follow_ups) {
    DYN_ASSERT(last <= follow.before && follow.before < follow.after && follow.after < count(),
               "follow-ups are in order and lead forward");
    last = follow.before;
    ++waits_[follow.after].pending;
    waits_[follow.after].initial = true;
    ++first_follow_up_[follow.before + 1];
  }
  for (std::uint32_t i = 0; i < count(); ++i) {
    first_follow_up_[i + 1] += first_follow_up_[i];
  }
  if (closed_) {
    DYN_ASSERT(workload.sessions.size() == count(), "requests that follow others have a session");
    left_.resize(count());
    for (const std::uint32_t session : workload.sessions) {
      ++left_[session];
    }
  }
}

}  // namespace dyn::sim
