#include "dyn/core/log.h"

#include <atomic>
#include <utility>

namespace dyn {
namespace {
std::atomic<LogLevel> g_level{LogLevel::off};
LogSink& sink() {
  static LogSink instance;
  return instance;
}
}  // namespace

void set_log(LogLevel level, LogSink new_sink) {
  sink() = std::move(new_sink);
  g_level.store(sink() ? level : LogLevel::off);
}

bool log_enabled(LogLevel level) {
  return level >= g_level.load(std::memory_order_relaxed) && level != LogLevel::off;
}

void log(LogLevel level, std::string_view component, std::string_view message,
         std::initializer_list<LogField> fields) {
  if (log_enabled(level)) {
    sink()(level, component, message, fields);
  }
}

}  // namespace dyn
