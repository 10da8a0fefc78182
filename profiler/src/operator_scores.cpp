#include "dyn/profiler/operator_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "aiconfigurator_tables.h"
#include "dyn/core/error.h"
#include "dyn/core/json_writer.h"
#include "dyn/core/schemas.h"
#include "slice_fits.h"

namespace dyn::profiler {
namespace {

/// What is asked of a group, as docs/accuracy-operators.md states it.
struct Group {
  const char* name;
  double wanted;
};
constexpr Group kGroups[] = {
    {"gemm", 0.04}, {"attention", 0.03}, {"moe", 0.08}, {"collective", 0.08}};

const char* group_of(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::gemm:
      return "gemm";
    case OperatorKind::moe:
    case OperatorKind::moe_dispatched:
      return "moe";
    case OperatorKind::all_reduce:
    case OperatorKind::all_gather:
    case OperatorKind::reduce_scatter:
    case OperatorKind::all_to_all:
    case OperatorKind::send_recv:
      return "collective";
    default:
      return "attention";
  }
}

std::string format_of(const OperatorFit& key) {
  std::string text(enum_text(key.precision));
  if (key.kv_cache) {
    text += ", KV " + enum_text(*key.kv_cache);
  }
  return text;
}

/// Errors that are summed up together.
struct Pool {
  OperatorScore score;
  std::vector<double> errors;
  std::size_t inside = 0;

  void add(const Pool& other) {
    errors.insert(errors.end(), other.errors.begin(), other.errors.end());
    inside += other.inside;
    score.rows += other.score.rows;
  }

  OperatorScore finish() {
    score.held_out = errors.size();
    if (!errors.empty()) {
      std::sort(errors.begin(), errors.end());
      const auto at = [this](double q) {
        return errors[static_cast<std::size_t>(q * static_cast<double>(errors.size() - 1) + 0.5)];
      };
      score.median = at(0.5);
      score.ninety = at(0.9);
      score.inside = static_cast<double>(inside) / static_cast<double>(errors.size());
    }
    return score;
  }
};

const OperatorFit* find_fit(const Profile& profile, const OperatorFit& key) {
  const std::string text = key_text(key);
  const auto found = std::find_if(
      profile.operators.begin(), profile.operators.end(),
      [&](const auto& fit) { return fit.version == key.version && key_text(fit) == text; });
  return found == profile.operators.end() ? nullptr : &*found;
}

Pool score_slice(const Slice& slice, const OperatorFit& fit, const GpuSpec& gpu) {
  Pool pool;
  pool.score.gpu = gpu.id;
  pool.score.group = group_of(fit.kind);
  pool.score.what = enum_text(fit.kind);
  pool.score.engine = fit.engine;
  pool.score.version = fit.version;
  pool.score.format = format_of(slice.key);
  pool.score.rows = slice.samples.size();
  const SurfaceInput input = surface_input(slice, gpu);
  for (const SurfaceSample& sample : slice.samples) {
    if (held_out(sample)) {
      const double error = std::abs(modelled_seconds(fit, input, sample) / sample.seconds - 1);
      pool.errors.push_back(error);
      pool.inside += error <= fit.relative_error ? 1 : 0;
    }
  }
  return pool;
}

std::vector<std::string> gpus_with_tables() {
  return {"h200", "h100", "b200", "b300", "gb200", "gb300", "a100", "l40s", "rtx-pro-6000"};
}

double wanted_of(const std::string& group) {
  for (const Group& g : kGroups) {
    if (group == g.name) {
      return g.wanted;
    }
  }
  return 0;
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

}  // namespace

OperatorScores score_operators(const ScoreOptions& options) {
  OperatorScores scores;
  scores.gpus = options.gpus.empty() ? gpus_with_tables() : options.gpus;
  std::map<std::string, Pool> groups;
  for (std::string& id : scores.gpus) {
    const Profile profile = options.profile(id);
    id = profile.device.id;
    if (options.progress) {
      options.progress(id);
    }
    ImportOptions import;
    import.path = options.path;
    import.gpu = id;
    import.cancelled = options.cancelled;
    std::map<std::string, Pool> pools;
    for (const auto& [name, slice] : read_aiconfigurator(import, profile.device)) {
      const OperatorFit* fit = find_fit(profile, slice.key);
      if (fit == nullptr) {
        continue;
      }
      Pool pool = score_slice(slice, *fit, profile.device);
      OperatorScore all = pool.score;
      all.gpu = "all";
      groups.try_emplace(all.group, Pool{{"all", all.group, "", "", "", "", 0}, {}, 0})
          .first->second.add(pool);
      const OperatorScore& s = pool.score;
      const std::string key = s.group + '/' + s.what + '/' + s.engine + '/' + s.format;
      const auto [at, fresh] = pools.try_emplace(key, std::move(pool));
      if (!fresh) {
        at->second.add(pool);
      }
    }
    for (auto& [key, pool] : pools) {
      scores.slices.push_back(pool.finish());
    }
  }
  for (const Group& group : kGroups) {
    if (const auto found = groups.find(group.name); found != groups.end()) {
      scores.groups.push_back(found->second.finish());
    }
  }
  return scores;
}

std::string to_text(const OperatorScores& scores) {
  std::string text = "Rows that no fit has seen: a fifth of every table, by a hash of the row\n\n";
  text +=
      fmt::format("{:<13} {:<18} {:<8} {:<10} {:<20} {:>8} {:>8} {:>8} {:>8}\n", "GPU", "operator",
                  "engine", "version", "precision", "held out", "median", "90 %", "inside");
  for (const OperatorScore& s : scores.slices) {
    text += fmt::format("{:<13} {:<18} {:<8} {:<10} {:<20} {:>8} {:>8} {:>8} {:>8}\n", s.gpu,
                        s.what, s.engine, s.version, s.format, s.held_out, percent(s.median),
                        percent(s.ninety), percent(s.inside));
  }
  text += '\n';
  for (const OperatorScore& s : scores.groups) {
    text +=
        fmt::format("{:<11} {:>7} rows held out: median {}, 90 % within {}; wanted {}\n", s.group,
                    s.held_out, percent(s.median), percent(s.ninety), percent(wanted_of(s.group)));
  }
  return text;
}

std::string to_json(const OperatorScores& scores) {
  JsonWriter json;
  const auto write = [&json](const OperatorScore& s) {
    const auto text = [&json](const char* key, const std::string& value) {
      if (!value.empty()) {
        json.key(key);
        json.text(value);
      }
    };
    const auto number = [&json](const char* key, double value) {
      json.key(key);
      json.number(std::round(value * 1e5) / 1e5);
    };
    json.begin_object();
    text("gpu", s.gpu);
    text("group", s.group);
    text("operator", s.what);
    text("engine", s.engine);
    text("version", s.version);
    text("precision", s.format);
    json.key("rows");
    json.whole(s.rows);
    json.key("held_out");
    json.whole(s.held_out);
    number("median", s.median);
    number("ninety", s.ninety);
    number("inside", s.inside);
    json.end_object();
  };
  json.begin_object();
  json.key("schema");
  json.text("dyn.operator_scores/1");
  json.key("groups");
  json.begin_list();
  std::for_each(scores.groups.begin(), scores.groups.end(), write);
  json.end_list();
  json.key("slices");
  json.begin_list();
  std::for_each(scores.slices.begin(), scores.slices.end(), write);
  json.end_list();
  json.end_object();
  return json.finish();
}

std::string to_markdown(const OperatorScores& scores, const std::string& command) {
  std::string text =
      "# Accuracy of the built-in profiles, operator by operator\n\n"
      "Generated; do not edit. Made by\n\n    " +
      command + "\n\nfrom the operator tables of " + std::string(kAiconfigurator) +
      ".\n\n"
      "Every profile is fitted on four fifths of the rows of its tables; the fifth that is scored "
      "here, chosen by a hash of the row's quantities, was not fitted on and no knot, surface or "
      "constant was chosen by it. An error is |modelled / measured - 1|; `inside` is the share of "
      "errors within the interval that the profile states, which is meant for 90 %.\n\n"
      "| group | rows held out | median | 90 % within | wanted median |\n|---|---|---|---|---|\n";
  for (const OperatorScore& s : scores.groups) {
    text += fmt::format("| {} | {} | {} | {} | {} |\n", s.group, s.held_out, percent(s.median),
                        percent(s.ninety), percent(wanted_of(s.group)));
  }
  for (const std::string& gpu : scores.gpus) {
    text += fmt::format(
        "\n## {}\n\n| operator | engine | precision | rows held out | median | 90 % within | "
        "inside "
        "|\n|---|---|---|---|---|---|---|\n",
        gpu);
    for (const OperatorScore& s : scores.slices) {
      if (s.gpu == gpu) {
        text += fmt::format("| {} | {} {} | {} | {} | {} | {} | {} |\n", s.what, s.engine,
                            s.version, s.format, s.held_out, percent(s.median), percent(s.ninety),
                            percent(s.inside));
      }
    }
  }
  return text;
}

}  // namespace dyn::profiler
