#include "dyn/profiler/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <utility>

#include "dyn/core/catalogue.h"
#include "dyn/core/describe.h"
#include "dyn/core/error.h"
#include "dyn/core/json_writer.h"
#include "dyn/core/quantity_text.h"
#include "dyn/core/schemas.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/operator_work.h"

namespace dyn::profiler {
namespace {

/// A number of three or four digits with the prefix that fits.
std::string scaled(double value, const char* unit) {
  static constexpr std::array<const char*, 6> kPrefixes{"", "k", "M", "G", "T", "P"};
  std::size_t prefix = 0;
  while (value >= 1000 && prefix + 1 < kPrefixes.size()) {
    value /= 1000;
    ++prefix;
  }
  return fmt::format("{:.4g} {}{}", value, kPrefixes[prefix], unit);
}

std::string text_of(Duration d) {
  const double ns = static_cast<double>(d.count());
  if (d < std::chrono::microseconds(1)) {
    return fmt::format("{} ns", d.count());
  }
  return d < std::chrono::milliseconds(1) ? fmt::format("{:.4g} us", ns * 1e-3)
                                          : fmt::format("{:.4g} ms", ns * 1e-6);
}

std::string memory_of(Bytes bytes) {
  return fmt::format("{:.4g} GiB", static_cast<double>(bytes.count()) / (1 << 30));
}

std::string percent(double fraction) {
  return fmt::format("{:.3g} %", fraction * 100);
}

/// A table whose columns are as wide as their widest cell; the last one is not padded.
class Table {
 public:
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() <= 1; }

  std::string text(const std::string& indent) const {
    std::vector<std::size_t> widths;
    for (const auto& cells : rows_) {
      widths.resize(std::max(widths.size(), cells.size()));
      for (std::size_t i = 0; i < cells.size(); ++i) {
        widths[i] = std::max(widths[i], cells[i].size());
      }
    }
    std::string result;
    for (const auto& cells : rows_) {
      std::string line = indent;
      for (std::size_t i = 0; i < cells.size(); ++i) {
        line += i + 1 == cells.size() ? cells[i] : fmt::format("{:<{}}  ", cells[i], widths[i]);
      }
      result += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    }
    return result;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// Sources, each listed once below the tables and named there by its number.
class Notes {
 public:
  std::string mark(const std::string& source) {
    if (source.empty()) {
      return {};
    }
    const auto found = std::find(sources_.begin(), sources_.end(), source);
    if (found != sources_.end()) {
      return fmt::format("[{}]", found - sources_.begin() + 1);
    }
    sources_.push_back(source);
    return fmt::format("[{}]", sources_.size());
  }
  std::string text() const {
    std::string result = sources_.empty() ? "" : "\nSources\n";
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      result += fmt::format("  [{}] {}\n", i + 1, sources_[i]);
    }
    return result;
  }

 private:
  std::vector<std::string> sources_;
};

std::string device_text(const GpuSpec& d, Notes& notes) {
  const auto source = [&](const char* field) {
    const auto found = d.sources.find(field);
    return found == d.sources.end() ? std::string() : notes.mark(found->second);
  };
  Table table;
  table.row({"memory", memory_of(d.memory), source("memory")});
  table.row(
      {"memory bandwidth", scaled(d.memory_bandwidth.count(), "B/s"), source("memory_bandwidth")});
  for (const auto& [precision, rate] : d.peak) {
    table.row({fmt::format("peak {}", enum_text(precision)), scaled(rate.count(), "FLOP/s"),
               source("peak")});
  }
  if (d.power.count() > 0) {
    table.row({"power", fmt::format("{:.4g} W", d.power.count()), source("power")});
  }
  table.row({"devices per node", std::to_string(d.gpus_per_node), source("gpus_per_node")});
  const auto link = [&](const char* label, BytesPerSec rate, const char* field) {
    if (rate.count() > 0) {
      table.row({label, scaled(rate.count(), "B/s"), source(field)});
    }
  };
  link("within the node", d.intra_node, "intra_node");
  link("between nodes", d.inter_node, "inter_node");
  link("to the host", d.host_link, "host_link");
  return table.text("  ");
}

/// What a fit is of beyond its operator: the devices of a collective; of attention head size, KV
/// precision and window.
std::string part_of(const OperatorFit& f) {
  if (perf::is_collective(f.kind)) {
    return std::to_string(f.gpus);
  }
  std::string text = f.head_dim > 0 ? std::to_string(f.head_dim) : "";
  if (f.kv_cache) {
    text += (text.empty() ? "" : " ") + enum_text(*f.kv_cache);
  }
  return f.window > 0 ? text + (text.empty() ? "w" : " w") + std::to_string(f.window) : text;
}

std::string operators_text(const std::vector<OperatorFit>& operators, Notes& notes) {
  Table table;
  table.row({"operator", "engine", "precision", "devices or head", "compute", "bandwidth",
             "overhead", "error", "provenance", "source"});
  for (const OperatorFit& f : operators) {
    const bool collective = perf::is_collective(f.kind);
    table.row({enum_text(f.kind), f.engine, collective ? "" : enum_text(f.precision), part_of(f),
               collective ? "" : percent(f.compute_efficiency), percent(f.bandwidth_efficiency),
               text_of(f.overhead), "+-" + percent(f.relative_error), enum_text(f.provenance),
               notes.mark(f.source)});
  }
  return table.empty() ? std::string()
                       : "\nOperators (efficiency as a part of the device's figure; head: its "
                         "size, KV precision, window)\n" +
                             table.text("  ");
}

/// Such as "experts 1.32"; those that are not 1.
std::string serving_text(const std::optional<ServingFactors>& of) {
  std::string text;
  const auto add = [&text](const char* what, double factor) {
    if (factor != 1) {
      text += (text.empty() ? "" : ", ") + (std::string(what) + ' ' + shortest(factor));
    }
  };
  if (of) {
    add("gemm", of->gemm);
    add("attention", of->attention);
    add("experts", of->experts);
    add("collective", of->collective);
    add("elementwise", of->elementwise);
  }
  return text.empty() ? "as measured" : text;
}

std::string engines_text(const std::vector<EngineHost>& engines, Notes& notes) {
  Table table;
  table.row({"engine", "version", "per step", "per sequence", "overlapped", "per request", "error",
             "provenance", "source", "kernels in its steps"});
  for (const EngineHost& e : engines) {
    table.row({e.engine, e.version, text_of(e.step_base), text_of(e.step_per_sequence),
               e.overlapped ? "yes" : "no", text_of(e.frontend_per_request),
               "+-" + percent(e.relative_error), enum_text(e.provenance), notes.mark(e.source),
               serving_text(e.serving)});
  }
  return table.empty() ? std::string() : "\nHost time of engines\n" + table.text("  ");
}

std::string storage_text(const std::vector<StorageFit>& storage, Notes& notes) {
  Table table;
  table.row({"storage", "read", "write", "latency", "provenance", "source"});
  for (const StorageFit& s : storage) {
    table.row({s.name, scaled(s.read.count(), "B/s"), scaled(s.write.count(), "B/s"),
               text_of(s.latency), enum_text(s.provenance), notes.mark(s.source)});
  }
  return table.empty() ? std::string() : "\nStorage\n" + table.text("  ");
}

}  // namespace

Profile open_profile(const std::string& name_or_path) {
  std::error_code ignored;
  if (name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".json") ||
      std::filesystem::exists(name_or_path, ignored)) {
    return load_profile(name_or_path);
  }
  return perf::builtin_profile(name_or_path);
}

void refuse_device(const std::string& gpu) {
  std::string id;
  try {
    id = find_gpu(gpu).id;
  } catch (const Error& error) {
    if (nearest(gpu, {"cpu"})) {
      throw Error(error.kind(), error.items().front().message + " and cpu", "did you mean 'cpu'?");
    }
    throw;
  }
  const auto names = perf::builtin_profile_names();
  const bool builtin = std::find(names.begin(), names.end(), id) != names.end();
  std::error_code ignored;
  const bool driver = std::filesystem::exists("/proc/driver/nvidia/version", ignored) ||
                      std::filesystem::exists("/dev/kfd", ignored);
  throw Error(
      ErrorKind::failed,
      driver ? "this version of dyn has no kernels for GPUs: '" + id + "' cannot be measured here"
             : "there is no GPU on this machine: '" + id + "' cannot be measured here",
      builtin ? "the built-in profile '" + id + "' is there, see `dyn profile show " + id +
                    "`; `--gpu cpu` measures this machine's processors"
              : "`--gpu cpu` measures this machine's processors");
}

std::string provenance_summary(const Profile& profile) {
  std::array<int, 4> counts{};
  for (const OperatorFit& fit : profile.operators) {
    ++counts[static_cast<std::size_t>(fit.provenance)];
  }
  std::string result;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) {
      result += fmt::format("{}{} {}", result.empty() ? "" : ", ", counts[i],
                            enum_text(static_cast<Provenance>(i)));
    }
  }
  return result.empty() ? "no operators" : result;
}

std::string profile_text(const Profile& profile) {
  std::string result = fmt::format("{}: {}\n", profile.name, profile.device.name);
  if (!profile.description.empty()) {
    result += "  " + profile.description + '\n';
  }
  if (!profile.created_by.empty()) {
    result += "  made by: " + profile.created_by + '\n';
  }
  Notes notes;
  result += "\nDevice\n" + device_text(profile.device, notes);
  result += operators_text(profile.operators, notes);
  result += engines_text(profile.engines, notes);
  result += storage_text(profile.storage, notes);
  return result + notes.text();
}

std::string builtin_list_text() {
  Table table;
  table.row({"name", "device", "memory", "operators"});
  for (const std::string& name : perf::builtin_profile_names()) {
    const Profile profile = perf::builtin_profile(name);
    table.row(
        {name, profile.device.name, memory_of(profile.device.memory), provenance_summary(profile)});
  }
  return table.text("");
}

std::string builtin_list_json() {
  JsonWriter json;
  json.begin_object();
  json.member("schema", "dyn.profile-list/1");
  json.key("profiles");
  json.begin_list();
  for (const std::string& name : perf::builtin_profile_names()) {
    const Profile profile = perf::builtin_profile(name);
    std::array<std::int64_t, 4> counts{};
    for (const OperatorFit& fit : profile.operators) {
      ++counts[static_cast<std::size_t>(fit.provenance)];
    }
    json.begin_object();
    json.member("name", name);
    json.member("device", profile.device.name);
    json.key("memory_bytes");
    json.integer(profile.device.memory.count());
    json.key("operators");
    json.begin_object();
    for (std::size_t i = 0; i < counts.size(); ++i) {
      json.key(enum_text(static_cast<Provenance>(i)));
      json.integer(counts[i]);
    }
    json.end_object();
    json.end_object();
  }
  json.end_list();
  json.end_object();
  return json.finish();
}

}  // namespace dyn::profiler
