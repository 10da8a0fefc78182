#include "output.h"

#include <fcntl.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "dyn/core/log.h"
#include "write_pieces.h"

namespace dyn::cli {
namespace {

const char* kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::failed:
      return "failed";
    case ErrorKind::usage:
      return "usage";
    case ErrorKind::bad_input:
      return "bad_input";
    case ErrorKind::infeasible:
      return "infeasible";
    case ErrorKind::bug:
      return "bug";
  }
  return "bug";
}

bool stderr_is_terminal() {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  return terminal;
}

bool g_progress_shown = false;

std::string error_document(const Error& error) {
  nlohmann::ordered_json document;
  document["schema"] = "dyn.error/1";
  document["kind"] = kind_name(error.kind());
  for (const ErrorItem& item : error.items()) {
    nlohmann::ordered_json entry;
    entry["message"] = item.message;
    if (item.where) {
      entry["file"] = item.where->file;
      entry["line"] = item.where->line;
      entry["column"] = item.where->column;
      entry["path"] = item.where->path;
    }
    if (!item.hint.empty()) {
      entry["hint"] = item.hint;
    }
    document["errors"].push_back(std::move(entry));
  }
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

[[noreturn]] void fail_to_write(const std::string& path, const std::string& temporary) {
  const std::string reason = std::strerror(errno);
  if (!temporary.empty()) {
    ::unlink(temporary.c_str());
  }
  throw Error(ErrorKind::failed, "cannot write " + path + ": " + reason);
}

void write_all(int descriptor, const std::string& path, const std::string& temporary,
               std::string_view content) {
  std::size_t written = 0;
  while (written < content.size()) {
    const ssize_t n = ::write(descriptor, content.data() + written, content.size() - written);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      const int error = errno;
      ::close(descriptor);
      errno = error;
      fail_to_write(path, temporary);
    }
    written += static_cast<std::size_t>(n);
  }
}

/// Gives a finished file its name at once, for whoever reads it. Nothing is forced to the disk,
/// which takes longer than most runs: what a power cut takes can be computed again. Old and new
/// file change places where that is possible, since ext4 begins to write a file that is renamed
/// onto another; the old one then goes.
bool put_in_place(const std::string& temporary, const std::string& path) {
  struct stat old {};
  if (::lstat(path.c_str(), &old) == 0 && S_ISREG(old.st_mode) &&
      ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    return ::unlink(temporary.c_str()) == 0;
  }
  return ::rename(temporary.c_str(), path.c_str()) == 0;
}

}  // namespace

void Context::write_out(const std::string& text) const {
  std::size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written != text.size() || std::fflush(stdout) != 0) {
    throw Error(ErrorKind::failed, std::string("cannot write to stdout: ") + std::strerror(errno));
  }
}

void Context::print(const std::string& text) const {
  if (!json) {
    progress_done();
    write_out(text.ends_with('\n') ? text : text + '\n');
  }
}

void Context::print_json(const std::string& text) const {
  if (json) {
    progress_done();
    write_out(text.ends_with('\n') ? text : text + '\n');
  }
}

void Context::note(const std::string& text) const {
  if (!quiet) {
    progress_done();
    std::fprintf(stderr, "%s\n", text.c_str());
  }
}

void Context::progress(double fraction, const std::string& what) const {
  if (quiet || !stderr_is_terminal()) {
    return;
  }
  g_progress_shown = true;
  std::fprintf(stderr, "\r\033[K[%3.0f%%] %.70s", fraction * 100, what.c_str());
  std::fflush(stderr);
}

void Context::progress_done() const {
  if (g_progress_shown) {
    g_progress_shown = false;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
  }
}

void print_error(const Context& context, const Error& error) {
  const bool plain = !error.items().empty() && !error.items().front().where;
  std::fprintf(stderr, "%s%s\n", plain ? "dyn: " : "", error.what());
  if (error.items().size() > 1) {
    const auto& where = error.items().front().where;
    std::fprintf(stderr, "%zu errors%s%s\n", error.items().size(), where ? " in " : "",
                 where ? where->file.c_str() : "");
  }
  if (context.json) {
    context.write_out(error_document(error) + '\n');
  }
}

void install_log(const Context& context) {
  const LogLevel level = [&] {
    const std::string& name = context.log_level;
    return name == "trace"   ? LogLevel::trace
           : name == "debug" ? LogLevel::debug
           : name == "info"  ? LogLevel::info
           : name == "warn"  ? LogLevel::warn
           : name == "error" ? LogLevel::error
                             : LogLevel::off;
  }();
  if (level == LogLevel::off) {
    set_log(level, {});
    return;
  }
  auto logger =
      std::make_shared<spdlog::logger>("dyn", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::trace);
  set_log(level, [logger](LogLevel at, std::string_view component, std::string_view message,
                          std::initializer_list<LogField> fields) {
    std::string line(component);
    line.append(": ").append(message);
    for (const LogField& field : fields) {
      line.append(" ").append(field.key).append("=").append(field.value);
    }
    logger->log(static_cast<spdlog::level::level_enum>(at), line);
  });
}

void write_file(const std::string& path, const std::string& content) {
  write_pieces(path, [&](const PieceSink& sink) { sink(content); });
}

void write_pieces(const std::string& path, const std::function<void(const PieceSink&)>& make) {
  const std::filesystem::path target(path);
  if (target.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(target.parent_path(), error);
    if (error) {
      throw Error(ErrorKind::failed,
                  "cannot create " + target.parent_path().string() + ": " + error.message());
    }
  }
  std::string temporary = path + ".XXXXXX";
  const int descriptor = ::mkstemp(temporary.data());
  if (descriptor < 0) {
    fail_to_write(path, {});
  }
  make([&](std::string_view piece) { write_all(descriptor, path, temporary, piece); });
  ::fchmod(descriptor, 0644);
  if (::close(descriptor) != 0 || !put_in_place(temporary, path)) {
    fail_to_write(path, temporary);
  }
}

}  // namespace dyn::cli
