#pragma once

#include <optional>

#include "dyn/core/quantity.h"

namespace dyn {

enum class AutoscalerKind {
  off,
  load,      ///< by how full the workers are
  forecast,  ///< by the arrivals expected when a worker started now would be ready
};

/// Where a starting worker's weights come from.
enum class WeightSource {
  store,  ///< the object store
  disk,   ///< a disk of its node
  peer,   ///< the GPUs of a worker that runs
  warm,   ///< they are there
};

/// How the pools of a deployment grow and shrink.
struct AutoscalerSpec {
  AutoscalerKind kind = AutoscalerKind::off;
  Duration interval = std::chrono::seconds(10);
  int min_replicas = 1;  ///< of each pool
  int max_replicas = 8;  ///< of each pool
  std::optional<int> max_gpus;
  Duration up_cooldown{0};
  Duration down_cooldown = std::chrono::seconds(60);
  int max_step = 4;  ///< workers that one decision adds

  // load
  double queue_high = 1;   ///< prompt tokens queued at a worker / the budget of a step
  double queue_low = 0.1;  ///< the same, after the pool has shrunk
  double kv_high = 0.8;    ///< KV in use / KV
  double kv_low = 0.5;     ///< the same, after the pool has shrunk

  // forecast
  double headroom = 1.2;                         ///< capacity planned / arrivals expected
  Duration itl = std::chrono::milliseconds(50);  ///< where the plan has no target

  WeightSource weights = WeightSource::store;
  Duration startup = std::chrono::seconds(60);  ///< after the weights: kernels, graphs, warm-up
  bool operator==(const AutoscalerSpec&) const = default;
};

}  // namespace dyn
