#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cache_bound.h"
#include "dyn/configurator/located.h"
#include "dyn/configurator/result.h"
#include "dyn/core/describe.h"
#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/node.h"
#include "dyn/core/schemas.h"
#include "dyn/core/version.h"
#include "dyn/sim/workload.h"

namespace dyn::configurator {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "dyn.result/1";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::error_code unknown;
  const std::uintmax_t size = std::filesystem::file_size(path, unknown);
  text.reserve(unknown ? 0 : size);
  std::array<char, 1 << 16> chunk{};
  while (file.read(chunk.data(), chunk.size()) || file.gcount() > 0) {
    text.append(chunk.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof() || file.bad()) {
    throw Error(ErrorKind::bad_input,
                {ErrorItem{std::string("cannot read the file: ") + std::strerror(errno),
                           Where{path, 0, 0, {}},
                           {},
                           {}}});
  }
  return text;
}

const char* interval_method(IntervalMethod method) {
  switch (method) {
    case IntervalMethod::replayed:
      return "replayed";
    case IntervalMethod::replayed_start:
      return "replayed_start";
    case IntervalMethod::first_order:
      break;
  }
  return "first_order";
}

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  /// Lengths are part of it, so that what follows cannot run into what went before.
  void add(const std::string& text) {
    const std::string length = std::to_string(text.size()) + ':';
    EVP_DigestUpdate(context_.get(), length.data(), length.size());
    EVP_DigestUpdate(context_.get(), text.data(), text.size());
  }
  std::string hex() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), bytes, &size);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      constexpr const char* kDigits = "0123456789abcdef";
      text += kDigits[bytes[i] >> 4];
      text += kDigits[bytes[i] & 15];
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

void add_estimate(Json& json, const Estimate& estimate) {
  json["value"] = estimate.value;
  json["low"] = estimate.low;
  json["high"] = estimate.high;
  json["provenance"] = enum_text(estimate.provenance);
}

Json figures_json(const Plan& plan) {
  Json json = Json::object();
  for (const PlannedMetric& figure : plan.predicted) {
    Json entry;
    entry["unit"] = figure.unit;
    add_estimate(entry, figure.estimate);
    json[figure.name] = std::move(entry);
  }
  return json;
}

Json slo_json(const Candidate& candidate) {
  Json list = Json::array();
  for (const SloCheck& check : candidate.slo) {
    Json entry;
    entry["target"] = check.target.name;
    entry["limit_ms"] = to_millis(check.target.limit);
    add_estimate(entry, check.value);
    entry["met"] = check.met;
    entry["certain"] = check.certain;
    list.push_back(std::move(entry));
  }
  return list;
}

Json analytic_json(const AnalyticScore& score) {
  return {{"ttft_mean_ms", score.ttft_mean * 1e3},     {"ttft_p99_ms", score.ttft_p99 * 1e3},
          {"itl_mean_ms", score.itl_mean * 1e3},       {"itl_p99_ms", score.itl_p99 * 1e3},
          {"requests_per_second", score.request_rate}, {"utilisation", score.utilisation}};
}

/// What the engines' caches have room for, where layers keep KV in different ways.
Json cache_json(const Plan& plan) {
  Json list = Json::array();
  for (const CacheBound& bound : cache_bounds(plan)) {
    Json entry;
    entry["role"] = role_text(bound.role);
    entry["request_tokens"] = bound.tokens;
    entry["requests_at_once"] = bound.requests;
    entry["bound_by"] = std::string(bound.bound_by);
    entry["one_pool"] = bound.shared;
    for (const CacheBound::Part& part : bound.parts) {
      entry[std::string(part.kind)] = {{"each", part.each}, {"total", part.total}};
    }
    list.push_back(std::move(entry));
  }
  return list;
}

Json candidate_json(const Candidate& candidate, std::size_t rank) {
  Json json;
  json["rank"] = rank;
  json["mode"] = mode_text(candidate.plan);
  json["layout"] = layout_text(candidate.plan);
  json["gpus"] = candidate.plan.gpus();
  json["meets_slo"] = candidate.meets_slo;
  json["failed_requests"] = candidate.failed_requests;
  json["objective"] = candidate.objective;
  json["slo"] = slo_json(candidate);
  json["intervals"] = interval_method(candidate.intervals);
  json["figures"] = figures_json(candidate.plan);
  json["analytic"] = analytic_json(candidate.analytic);
  if (Json caches = cache_json(candidate.plan); !caches.empty()) {
    json["cache_bounds"] = std::move(caches);
  }
  json["plan"] = Json::parse(to_json(candidate.plan));
  json["report"] = Json::parse(to_json(candidate.report));
  return json;
}

Json workload_json(const WorkloadSummary& load) {
  return {{"requests", load.requests},
          {"mean_input_tokens", load.mean_input},
          {"mean_output_tokens", load.mean_output},
          {"longest_request_tokens", load.longest},
          {"requests_per_second", load.request_rate},
          {"concurrency", load.concurrency},
          {"reusable_prompt_share", load.reuse}};
}

[[noreturn]] void fail(const std::string& path, const std::string& pointer,
                       const std::string& message, const std::string& hint) {
  ErrorItem item = locate(path, pointer);
  item.message = message;
  item.hint = hint;
  throw Error(ErrorKind::bad_input, {std::move(item)});
}

[[noreturn]] void fail_schema(const std::string& path, const std::string& got) {
  fail(path, "/schema", "expected \"" + std::string(kSchema) + "\", got \"" + got + "\"",
       "a result is the result.json that `dyn simulate -o DIR` writes");
}

/// The `schema` of a file that is no result: perhaps a recipe.
std::string schema_of(const std::string& path) {
  try {
    const Document document = Document::read_file(path);
    const std::optional<Node> schema =
        document.root().is_object() ? document.root().find("schema") : std::nullopt;
    return schema ? schema->text() : "";
  } catch (const Error&) {
    return {};
  }
}

/// Line and column of a byte of a text.
Where place_of(const std::string& path, const std::string& text, std::size_t byte) {
  Where where{path, 1, 1, {}};
  for (std::size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    where.column = text[i] == '\n' ? 1 : where.column + 1;
    where.line += text[i] == '\n' ? 1 : 0;
  }
  return where;
}

Json parse_result(const std::string& path) {
  const std::string text = read_file(path);
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error& error) {
    if (const std::string schema = schema_of(path); !schema.empty() && schema != kSchema) {
      fail_schema(path, schema);
    }
    throw Error(ErrorKind::bad_input,
                {ErrorItem{"not a result of `dyn simulate -o`: no JSON, or cut short",
                           place_of(path, text, error.byte),
                           "write it again",
                           {}}});
  }
  const std::string schema =
      json.is_object() && json.contains("schema") && json["schema"].is_string()
          ? json["schema"].get<std::string>()
          : "";
  if (schema != kSchema) {
    fail_schema(path, schema);
  }
  return json;
}

}  // namespace

std::string input_sha256(const ResultSource& source, std::uint64_t seed) {
  Digest digest;
  digest.add(std::string(version()));
  digest.add(source.recipe_text);
  for (const std::string& override_text : source.overrides) {
    digest.add(override_text);
  }
  digest.add(std::to_string(seed));
  for (const std::string& file : source.files) {
    digest.add(read_file(file));
  }
  return digest.hex();
}

std::vector<std::string> input_files(const Recipe& recipe, const std::string& recipe_path) {
  std::vector<std::string> files;
  const auto add = [&](const std::string& name) {
    const std::string path = resolve_beside(recipe_path, name);
    if (std::filesystem::is_regular_file(path)) {
      files.push_back(path);
    } else if (std::filesystem::is_regular_file(path + "/config.json")) {
      files.push_back(path + "/config.json");
    }
  };
  add(recipe.model);
  if (recipe.traffic.trace) {
    const std::string path = resolve_beside(recipe_path, *recipe.traffic.trace);
    for (std::string& file : sim::trace_files(path)) {
      files.push_back(std::move(file));
    }
  }
  if (recipe.traffic.lengths_from) {
    add(*recipe.traffic.lengths_from);
  }
  for (const TrafficClass& one : recipe.traffic.classes) {
    if (one.lengths_from) {
      add(*one.lengths_from);
    }
  }
  if (recipe.hardware.profile) {
    add(*recipe.hardware.profile);
  }
  return files;
}

std::string to_json(const ExploreResult& result, const Recipe& recipe, const ResultSource& source) {
  Json json;
  json["schema"] = kSchema;
  json["dyn_version"] = std::string(version());
  json["seed"] = recipe.seed;
  json["input_sha256"] = source.sha256.empty() ? input_sha256(source, recipe.seed) : source.sha256;
  json["recipe"] = {
      {"name", source.recipe_name}, {"text", source.recipe_text}, {"set", source.overrides}};
  json["objective"] = {{"name", objective_name(recipe.objective)},
                       {"unit", objective_unit(recipe.objective)},
                       {"higher_is_better", higher_is_better(recipe.objective)}};
  json["workload"] = workload_json(result.workload);
  json["explored"] = result.explored;
  json["feasible"] = result.feasible;
  json["simulated"] = result.ranked.size();
  json["rejected"] = Json::array();
  for (const Rejection& rejection : result.rejected) {
    json["rejected"].push_back({{"reason", rejection.reason}, {"count", rejection.count}});
  }
  json["notes"] = result.notes;
  json["ranked"] = Json::array();
  for (std::size_t i = 0; i < result.ranked.size(); ++i) {
    json["ranked"].push_back(candidate_json(result.ranked[i], i + 1));
  }
  return json.dump(1) + '\n';
}

StoredResult load_result(const std::string& path) {
  const Json json = parse_result(path);
  StoredResult stored;
  stored.path = path;
  try {
    stored.seed = json.at("seed").get<std::uint64_t>();
    stored.objective = json.at("objective").at("name").get<std::string>();
    stored.higher_is_better = json.at("objective").at("higher_is_better").get<bool>();
    for (const Json& candidate : json.at("ranked")) {
      const std::string name =
          path + " (plan of rank " + std::to_string(stored.plans.size() + 1) + ")";
      stored.plans.push_back(parse_plan(Document::parse(candidate.at("plan").dump(1), name)));
      stored.meets_slo.push_back(candidate.at("meets_slo").get<bool>());
    }
  } catch (const Json::exception& error) {
    fail(path, "", std::string("incomplete result: ") + error.what(),
         "write it again with `dyn simulate -o DIR`");
  }
  if (stored.plans.empty()) {
    fail(path, "/ranked", "the result has no candidates", "");
  }
  return stored;
}

}  // namespace dyn::configurator
