#pragma once

#include <vector>

#include "dyn/core/profile.h"

namespace dyn::perf {

/// The closed-loop runs that the few calibrated constants are from; tests/bench/perf/calibrate.cpp
/// repeats the calibration.
inline constexpr const char* kSiliconSource =
    "measured TPOT of dense models on H100 and H200 (ai-dynamo/aiconfigurator 095f58a, "
    "Apache-2.0)";

/// Launch gap of a GEMM inside a CUDA graph on Hopper, microseconds.
inline constexpr double kHopperGemmOverheadUs = 2.7;
inline constexpr double kHopperFp8OverheadUs = 3.2;
/// The same for an element-wise kernel and for decode attention.
inline constexpr double kHopperElementwiseOverheadUs = 0.9;
inline constexpr double kHopperDecodeOverheadUs = 3;
/// Latency of a small all-reduce between 2, 4 and 8 Hopper GPUs of a node, microseconds.
inline constexpr double kHopperAllReduceUs[3] = {9.5, 11.5, 14};

/// Host constants of the engines that dyn knows on a device: vllm, sglang, trtllm. Their serving
/// factors hold for kernels that were measured alone. A CPU hides nothing behind its own steps.
std::vector<EngineHost> builtin_engine_hosts(const GpuSpec& device);

/// What an operator takes in the engine's steps, as a multiple of what its kernel takes alone.
double serving_factor(const EngineHost& host, OperatorKind kind);

}  // namespace dyn::perf
