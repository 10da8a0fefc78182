#include "dyn/policy/adapters.h"

#include <algorithm>

#include "dyn/core/check.h"

namespace dyn::policy {

AdapterSlots::AdapterSlots(const LoraConfig& config)
    : slots_(static_cast<std::size_t>(config.slots)),
      host_slots_(static_cast<std::size_t>(config.hosted())) {
  DYN_ASSERT(slots_ > 0 && host_slots_ >= slots_, "adapters in the device are in host memory too");
}

AdapterSlots::Place AdapterSlots::join(AdapterNumber adapter) {
  DYN_ASSERT(adapter != kNoAdapter, "a request without an adapter uses none");
  if (std::int64_t* users = used_.find(adapter)) {
    ++*users;
    return Place::device;
  }
  const auto idle = std::find(idle_.begin(), idle_.end(), adapter);
  Place place = Place::storage;
  if (idle != idle_.end()) {
    const auto position = static_cast<std::size_t>(idle - idle_.begin());
    place = position < idle_in_device() ? Place::device : Place::host;
    idle_.erase(idle);
  }
  used_.insert(adapter, 1);
  trim();
  return place;
}

void AdapterSlots::leave(AdapterNumber adapter) {
  std::int64_t* users = used_.find(adapter);
  DYN_ASSERT(users != nullptr, "an adapter is left that nobody uses");
  if (--*users == 0) {
    used_.erase(adapter);
    idle_.insert(idle_.begin(), adapter);
    trim();
  }
}

/// Host memory has no room for more.
void AdapterSlots::trim() {
  const std::size_t room = used_.size() < host_slots_ ? host_slots_ - used_.size() : 0;
  if (idle_.size() > room) {
    idle_.resize(room);
  }
}

double AdapterSlots::distance(AdapterNumber adapter) const {
  if (adapter == kNoAdapter) {
    return 0;
  }
  if (used_.find(adapter) != nullptr) {
    return used_.size() <= slots_ ? 0 : 0.4;
  }
  if (used_.size() >= slots_) {
    return 1;
  }
  const std::size_t there = std::min(idle_in_device(), idle_.size());
  const auto end = idle_.begin() + static_cast<std::ptrdiff_t>(there);
  return std::find(idle_.begin(), end, adapter) != end ? 0 : 0.2;
}

std::int64_t AdapterSlots::users(AdapterNumber adapter) const {
  const std::int64_t* users = used_.find(adapter);
  return users != nullptr ? *users : 0;
}

AdapterUse& AdapterUse::operator+=(const AdapterUse& other) {
  uses += other.uses;
  host_loads += other.host_loads;
  storage_loads += other.storage_loads;
  load_time += other.load_time;
  return *this;
}

}  // namespace dyn::policy
