#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

namespace dyn {

enum class LogLevel { trace, debug, info, warn, error, off };

/// A key and its value in a log line.
struct LogField {
  std::string_view key;
  std::string value;
};

using LogSink = std::function<void(LogLevel, std::string_view component, std::string_view message,
                                   std::initializer_list<LogField>)>;

/// Where log lines go and from which level on. The default drops everything; `cli` installs a
/// sink on stderr at start-up. Set once before threads start; logging itself is thread-safe as
/// far as the sink is.
void set_log(LogLevel level, LogSink sink);
bool log_enabled(LogLevel level);
void log(LogLevel level, std::string_view component, std::string_view message,
         std::initializer_list<LogField> fields = {});

}  // namespace dyn
