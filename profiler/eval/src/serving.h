#pragma once

#include <optional>
#include <string>
#include <vector>

#include "client.h"
#include "dyn/core/model_spec.h"
#include "dyn/core/recipe.h"
#include "dyn/eval/measured.h"
#include "dyn/perf/perf_model.h"

namespace dyn::eval {

/// How an engine was started for a measured row. Tables do not record it: these are the flags of
/// the benchmark's own launch scripts, and elsewhere the engine's defaults.
struct ServingSettings {
  EngineConfig config;                  ///< kv_blocks open
  Precision weights = Precision::bf16;  ///< of the matrices that most bytes are of
  Precision kv_cache = Precision::bf16;
  /// Of routed experts, where their kernels are not those of `weights`.
  std::optional<Precision> expert_weights;
  /// Decode steps between looks for new requests (SGLang's --scheduler-recv-interval); 0: every
  /// step.
  int poll_steps = 0;
  /// Decode steps that a first token takes beyond its computation: hand-over between the engine's
  /// processes, which look once a step, and responses that wait for others (stream intervals).
  /// Calibrated on published InferenceX runs.
  int first_token_steps = 0;
  /// Requests that the client keeps in flight beyond what the engine admits.
  int waiting = 0;
  /// Prompts that the client sends for each request that it keeps in flight.
  int prompts_per_slot = kPromptsPerSlot;
  /// The script asks for asynchronous scheduling, where the version does not have it by itself.
  bool asynchronous = false;
  /// Draft tokens of a step and what is kept of them, where the script asks for MTP.
  std::optional<perf::Speculation> speculation;
};

/// Settings of the workers of `row` that have that role, each rank of which has `slots` requests.
ServingSettings serving_settings(const MeasuredRow& row, const MeasuredWorkers& workers,
                                 const ModelSpec& model, int slots);

/// The workers of an aggregated row as its script started them, where tables have it otherwise.
MeasuredWorkers started_workers(const MeasuredRow& row);

/// The engine's version: as the table says, or that of the image which the benchmark ran at the
/// row's date.
std::string engine_version(const MeasuredRow& row);

/// The shortest prompt and answer, of the row's lengths: 0.8 of InferenceX's client.
double shortest_length(const MeasuredRow& row);

/// The layout of a worker as the table has it. Ranks of a dense model are engines of their own.
ParallelLayout stated_layout(const ModelSpec& model, const MeasuredWorkers& workers);

/// The measured layout, then those near it that a model may have instead: tables hold some that
/// sum up the GPUs of several workers.
std::vector<ParallelLayout> layouts_near(const ModelSpec& model, const MeasuredWorkers& workers);

/// The catalogue's model for the name in a table: as it is, without its organisation, or without
/// the mark of a quantised checkpoint. Throws Error(bad_input) as find_model does.
ModelSpec measured_model(const std::string& name);

}  // namespace dyn::eval
