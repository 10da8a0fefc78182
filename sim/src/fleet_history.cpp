#include "dyn/sim/fleet_history.h"

#include "dyn/core/json_writer.h"
#include "dyn/core/schemas.h"

namespace dyn::sim {
namespace {

double millis(SimTime time) {
  return to_millis(time.time_since_epoch());
}

void number(Writer& writer, const char* key, double value) {
  writer.key(key);
  writer.number(value);
}

void whole(Writer& writer, const char* key, std::int64_t value) {
  writer.key(key);
  writer.integer(value);
}

void write(Writer& writer, const PoolHistory& pool) {
  writer.begin_object();
  writer.member("role", enum_text(pool.role));
  number(writer, "gpu_hours", pool.gpu_hours);
  whole(writer, "most_workers", pool.most_workers);
  whole(writer, "growths", pool.growths);
  whole(writer, "shrinkings", pool.shrinkings);
  whole(writer, "direction_changes", pool.direction_changes);
  writer.end_object();
}

void write(Writer& writer, const ReplicaCount& count) {
  writer.begin_object();
  number(writer, "at_ms", millis(count.at));
  whole(writer, "pool", count.pool);
  whole(writer, "ready", count.ready);
  whole(writer, "starting", count.starting);
  whole(writer, "draining", count.draining);
  whole(writer, "down", count.down);
  writer.end_object();
}

void write(Writer& writer, const FaultImpact& fault) {
  writer.begin_object();
  writer.member("kind", enum_text(fault.kind));
  writer.member("role", fault.encode ? "encode" : enum_text(fault.role));
  whole(writer, "worker", fault.worker);
  number(writer, "at_ms", millis(fault.at));
  writer.key("until_ms");
  fault.until == SimTime::max() ? writer.null() : writer.number(millis(fault.until));
  whole(writer, "requests", fault.requests);
  whole(writer, "migrated", fault.migrated);
  whole(writer, "failed", fault.failed);
  whole(writer, "lost_tokens", fault.lost_tokens);
  number(writer, "goodput_before", fault.goodput_before);
  number(writer, "goodput_during", fault.goodput_during);
  writer.end_object();
}

template <class T>
void write_list(Writer& writer, const char* key, const std::vector<T>& items) {
  writer.key(key);
  writer.begin_list();
  for (const T& item : items) {
    write(writer, item);
  }
  writer.end_list();
}

}  // namespace

std::string to_json(const FleetHistory& history) {
  JsonWriter writer;
  writer.begin_object();
  writer.member("schema", "dyn.fleet_history/1");
  whole(writer, "migrations", history.migrations);
  whole(writer, "retries", history.retries);
  whole(writer, "lost_tokens", history.lost_tokens);
  whole(writer, "cancellations", history.cancellations);
  whole(writer, "abandoned_tokens", history.abandoned_tokens);
  whole(writer, "held", history.held);
  whole(writer, "local_prefills", history.local_prefills);
  write_list(writer, "pools", history.pools);
  write_list(writer, "faults", history.faults);
  write_list(writer, "replicas", history.replicas);
  writer.end_object();
  return writer.finish() + '\n';
}

}  // namespace dyn::sim
