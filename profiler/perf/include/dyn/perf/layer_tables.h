#pragma once

#include <memory>
#include <string>

#include "dyn/core/model_spec.h"
#include "dyn/core/profile.h"
#include "dyn/perf/step_timer.h"

namespace dyn::perf {

/// A StepTimer from operator times measured inside an engine, layer by layer: a folder with
/// dense.csv (layer,tokens,time_us), per_sequence.csv (layer,sequences,time_us), attention.csv
/// (prefill_chunk,kv_prefill,n_decode,kv_decode,time_us, kv_decode being that of one sequence)
/// and, for experts, moe.csv (tokens,activated_experts,time_us). Times are interpolated between
/// the measured points and scaled by the roofline beyond them. `host` adds the engine's own time.
/// Throws Error(bad_input) naming file and row for a missing layer or column, or a time that is
/// negative or not finite.
std::shared_ptr<const StepTimer> load_layer_tables(const std::string& folder,
                                                   const ModelSpec& model, const EngineHost& host);

}  // namespace dyn::perf
