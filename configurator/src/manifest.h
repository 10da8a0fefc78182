#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "dyn/core/plan.h"

namespace dyn::configurator {

using Tree = nlohmann::ordered_json;

/// YAML of a tree: block style, strings quoted (so that none is taken for another type), those
/// of several lines as literals. `comment` lines come first.
std::string to_yaml(const Tree& tree, const std::vector<std::string>& comment);

/// How one worker's engine is started: what compose and Kubernetes share.
struct EngineLaunch {
  std::string image;
  std::vector<std::string> command;  ///< entry point
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  int gpus = 1;
};

/// The engine that realises a pool's worker, listening on `port`.
EngineLaunch launch_of(const Plan& plan, const PoolSpec& pool, int port);

/// `prefill`, `decode` or `worker`.
const char* pool_name(const PoolSpec& pool);

/// URLs of the engines, pool by pool.
using EngineUrls = std::vector<std::vector<std::string>>;

/// The plan with its workers behind these URLs: what the front end serves.
Plan with_engines(const Plan& plan, const EngineUrls& urls);

/// What the reader of a manifest should know.
std::vector<std::string> manifest_comment(const Plan& plan, const std::string& how_to_start);

/// The front end's image: dyn itself, of this version, as the Dockerfile of its source makes it.
std::string frontend_image();

}  // namespace dyn::configurator
