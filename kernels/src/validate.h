#pragma once

#include "dyn/core/result.h"
#include "dyn/kernels/launch.h"

namespace dyn::kernels {

// Checks of what a launch says about itself; none reads behind a pointer. Each returns whether
// there is anything to do.
Result<bool> check(const Gemm& launch);
Result<bool> check(const PrefillAttention& launch);
Result<bool> check(const DecodeAttention& launch);
Result<bool> check(const RmsNorm& launch);
Result<bool> check(const Rope& launch);
Result<bool> check(const BlockCopy& launch);

// Checks of what lies behind the pointers, for backends that can read them.
Result<void> check_sequences(const PrefillAttention& launch);
Result<void> check_contexts(const PagedKv& kv);
Result<void> check_blocks(const BlockCopy& launch, bool distinct);

}  // namespace dyn::kernels
