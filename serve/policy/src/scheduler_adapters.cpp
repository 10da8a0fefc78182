// LoRA adapters: who may enter a batch beside those that are in it, and what it loads.
#include "dyn/core/check.h"
#include "scheduler_impl.h"

namespace dyn::policy {

Slot Scheduler::Impl::first_joinable(const RequestList& list) const {
  Slot slot = list.head;
  while (slot != kNoSlot && !adapters->may_join(requests[slot].spec.adapter)) {
    slot = requests[slot].next;
  }
  return slot;
}

/// A request enters the batch with its adapter, which the step loads if the device has not got it.
void Scheduler::Impl::use_adapter(const Request& request) {
  if (request.spec.adapter == kNoAdapter) {
    return;
  }
  ++adapter_use.uses;
  Duration time{0};
  switch (adapters->join(request.spec.adapter)) {
    case AdapterSlots::Place::device:
      return;
    case AdapterSlots::Place::host:
      ++adapter_use.host_loads;
      time = options.adapter_load.from_host;
      break;
    case AdapterSlots::Place::storage:
      ++adapter_use.storage_loads;
      time = options.adapter_load.from_storage;
      break;
  }
  adapter_load += time;
  adapter_use.load_time += time;
}

/// Takes a request out of those that run.
void Scheduler::Impl::stop_running(Slot slot) {
  running.remove(requests, slot);
  if (adapters && requests[slot].spec.adapter != kNoAdapter) {
    adapters->leave(requests[slot].spec.adapter);
    blocked = false;
  }
}

void Scheduler::Impl::check_adapters() const {
  if (!adapters) {
    return;
  }
  DYN_ASSERT(adapters->in_use() <= adapters->slots(), "more adapters run than there are slots");
  kvbm::FlatMap<std::int64_t> users;
  for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
    if (requests[slot].spec.adapter != kNoAdapter) {
      ++*users.insert(requests[slot].spec.adapter, 0).first;
    }
  }
  DYN_ASSERT(users.size() == adapters->in_use(), "an adapter is in use by nobody");
  for (Slot slot = running.head; slot != kNoSlot; slot = requests[slot].next) {
    const AdapterNumber adapter = requests[slot].spec.adapter;
    DYN_ASSERT(adapter == kNoAdapter || *users.find(adapter) == adapters->users(adapter),
               "an adapter's users are miscounted");
  }
}

Duration Scheduler::adapter_load() const {
  return impl_->adapter_load;
}

const AdapterUse& Scheduler::adapter_use() const {
  return impl_->adapter_use;
}

}  // namespace dyn::policy
