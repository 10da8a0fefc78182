#include "session_start.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "dyn/core/check.h"
#include "dyn/core/random.h"

namespace dyn::sim {
namespace {

constexpr std::uint32_t kNone = static_cast<std::uint32_t>(-1);

/// By request: the first request of those that follow each other, directly or not.
std::vector<std::uint32_t> first_of_each(const Workload& workload) {
  std::vector<std::uint32_t> first(workload.requests.size());
  std::iota(first.begin(), first.end(), 0U);
  const auto find = [&](std::uint32_t request) {
    while (first[request] != request) {
      first[request] = first[first[request]];
      request = first[request];
    }
    return request;
  };
  for (const FollowUp& follow : workload.follow_ups) {
    const std::uint32_t a = find(follow.before);
    const std::uint32_t b = find(follow.after);
    first[std::max(a, b)] = std::min(a, b);
  }
  for (std::uint32_t request = 0; request < first.size(); ++request) {
    first[request] = find(request);
  }
  return first;
}

/// The values of the kept requests in their new order; nothing where there are none.
template <class T>
void take(const std::vector<std::uint32_t>& kept, std::vector<T>& values) {
  if (values.empty()) {
    return;
  }
  std::vector<T> out;
  out.reserve(kept.size());
  for (const std::uint32_t request : kept) {
    out.push_back(values[request]);
  }
  values = std::move(out);
}

}  // namespace

void number_sessions(std::vector<std::uint32_t>& sessions) {
  const std::uint32_t most = sessions.empty() ? 0 : std::ranges::max(sessions);
  std::vector<std::uint32_t> numbers(std::size_t{most} + 1, kNone);
  std::uint32_t next = 0;
  for (std::uint32_t& session : sessions) {
    std::uint32_t& number = numbers[session];
    number = number == kNone ? next++ : number;
    session = number;
  }
}

void begin_under_way(double low, double high, std::uint64_t seed, Workload& workload) {
  DYN_ASSERT(0 <= low && low <= high && high < 1, "shares of a session");
  const std::vector<std::uint32_t> first = first_of_each(workload);
  std::vector<std::uint32_t> left(first.size(), 0);  // by first request: how many are left out
  for (const std::uint32_t request : first) {
    ++left[request];
  }
  RandomStream places(seed, "session_start");
  for (std::uint32_t& count : left) {
    if (count > 0) {
      const double place = low + (high - low) * places.uniform();
      count = std::min(count - 1, static_cast<std::uint32_t>(place * count));
    }
  }
  // Sessions in the order in which they began, each from its place on. A request has a higher
  // number than those that it follows, so that what is left out follows nothing that is kept.
  std::vector<std::uint32_t> kept;
  for (std::uint32_t request = 0; request < first.size(); ++request) {
    if (left[first[request]] > 0) {
      --left[first[request]];
    } else {
      kept.push_back(request);
    }
  }
  std::stable_sort(kept.begin(), kept.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return first[a] < first[b]; });
  std::vector<std::uint32_t> number(first.size(), kNone);
  for (std::uint32_t i = 0; i < kept.size(); ++i) {
    number[kept[i]] = i;
  }
  std::vector<FollowUp> follow_ups;
  std::vector<bool> follows(kept.size(), false);
  for (const FollowUp& follow : workload.follow_ups) {
    if (number[follow.before] != kNone) {
      follow_ups.push_back({number[follow.before], number[follow.after], follow.delay});
      follows[number[follow.after]] = true;
    }
  }
  std::vector<SimTime> begun(kept.size());
  for (std::uint32_t i = 0; i < kept.size(); ++i) {
    begun[i] = workload.requests[first[kept[i]]].arrival;
  }
  std::uint32_t opening = 0;  // of the session at hand
  for (std::uint32_t i = 0; i < kept.size(); ++i) {
    opening = i == 0 || first[kept[i]] != first[kept[i - 1]] ? i : opening;
    if (i != opening && !follows[i]) {
      follow_ups.push_back({opening, i, Duration{0}});
    }
  }
  std::stable_sort(follow_ups.begin(), follow_ups.end(),
                   [](const FollowUp& a, const FollowUp& b) { return a.before < b.before; });
  take(kept, workload.requests);
  take(kept, workload.sessions);
  number_sessions(workload.sessions);
  take(kept, workload.class_of);
  take(kept, workload.priorities);
  take(kept, workload.adapters);
  take(kept, workload.request_images);
  for (std::uint32_t i = 0; i < kept.size(); ++i) {
    workload.requests[i].arrival = begun[i];
  }
  workload.follow_ups = std::move(follow_ups);
}

}  // namespace dyn::sim
