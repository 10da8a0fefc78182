#include "dyn/sim/timeline.h"

#include <algorithm>

#include "dyn/core/json_writer.h"

namespace dyn::sim {
namespace {

/// Spreads amounts evenly over times, as tokens a second of each interval.
class Spreader {
 public:
  Spreader(Duration interval, std::size_t count)
      : interval_(static_cast<double>(interval.count())), whole_(count + 1), part_(count) {}

  void add(SimTime from, SimTime to, std::int64_t amount) {
    const double begin = at(from);
    const double end = std::max(at(to), begin);
    const auto first = index(begin);
    const auto last = index(end);
    const auto tokens = static_cast<double>(amount);
    if (first == last || end <= begin) {
      part_[first] += tokens;
      return;
    }
    const double rate = tokens / (end - begin);  // per interval
    part_[first] += rate * (static_cast<double>(first) + 1 - begin);
    part_[last] += rate * (end - static_cast<double>(last));
    whole_[first + 1] += rate;
    whole_[last] -= rate;
  }

  /// Per second.
  std::vector<double> rates() const {
    std::vector<double> out(part_.size());
    double level = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      level += whole_[i];
      out[i] = std::max(0.0, level + part_[i]) / (interval_ * 1e-9);
    }
    return out;
  }

 private:
  double at(SimTime time) const {
    return std::max(0.0, static_cast<double>(time.time_since_epoch().count()) / interval_);
  }
  std::size_t index(double position) const {
    return std::min(static_cast<std::size_t>(position), part_.size() - 1);
  }

  double interval_;
  std::vector<double> whole_;  ///< changes of the level
  std::vector<double> part_;   ///< of intervals that are covered in part
};

void write_list(JsonWriter& writer, const char* name, const std::vector<TimelinePoint>& points,
                double TimelinePoint::*figure) {
  writer.key(name);
  writer.begin_list();
  for (const TimelinePoint& point : points) {
    writer.number(point.*figure);
  }
  writer.end_list();
}

void write_counts(JsonWriter& writer, const char* name, const std::vector<TimelinePoint>& points,
                  std::int32_t TimelinePoint::*figure) {
  writer.key(name);
  writer.begin_list();
  for (const TimelinePoint& point : points) {
    writer.integer(point.*figure);
  }
  writer.end_list();
}

}  // namespace

void add_tokens(std::span<const RequestRecord> records, std::size_t prefill, std::size_t decode,
                Timeline& timeline) {
  if (timeline.points.empty() || timeline.points[0].empty()) {
    return;
  }
  const std::size_t count = timeline.points[0].size();
  Spreader prompts(timeline.interval, count);
  Spreader answers(timeline.interval, count);
  for (const RequestRecord& record : records) {
    if (record.status != RequestStatus::completed) {
      continue;
    }
    prompts.add(record.first_scheduled, record.first_token,
                record.input_tokens - record.cached_tokens);
    answers.add(record.first_token, record.finished, record.output_tokens);
  }
  const std::vector<double> in = prompts.rates();
  const std::vector<double> out = answers.rates();
  for (std::size_t i = 0; i < count; ++i) {
    timeline.points[prefill][i].prompt_tokens = in[i];
    timeline.points[decode][i].output_tokens = out[i];
  }
}

std::string to_json(const Timeline& timeline) {
  JsonWriter writer;
  writer.begin_object();
  writer.member("schema", "dyn.timeline/1");
  writer.key("interval_ns");
  writer.integer(timeline.interval.count());
  writer.key("pools");
  writer.begin_list();
  for (std::size_t i = 0; i < timeline.pools.size(); ++i) {
    const std::vector<TimelinePoint>& points = timeline.points[i];
    writer.begin_object();
    writer.member("role", timeline.pools[i]);
    write_counts(writer, "running", points, &TimelinePoint::running);
    write_counts(writer, "waiting", points, &TimelinePoint::waiting);
    write_list(writer, "kv_use", points, &TimelinePoint::kv_use);
    write_list(writer, "prompt_tokens_per_s", points, &TimelinePoint::prompt_tokens);
    write_list(writer, "output_tokens_per_s", points, &TimelinePoint::output_tokens);
    writer.end_object();
  }
  writer.end_list();
  writer.end_object();
  return writer.finish() + '\n';
}

}  // namespace dyn::sim
