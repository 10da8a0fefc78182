#pragma once

#include <string>

#include "dyn/eval/measured.h"

namespace dyn::eval::test {

inline constexpr const char* kHeader =
    "id,silicon_data_source,backend,backend_version,model_path,system,mode,isl,osl,gemm_quant_mode,"
    "batch_size,"
    "tp_size,concurrency,gpus,silicon_ttft_ms,silicon_tpot_ms\n";

/// A row of Llama-3.1-8B on one H100 under vLLM.
inline std::string row(const std::string& id, int concurrency, const std::string& ttft = "50",
                       const std::string& tpot = "9") {
  const std::string slots = std::to_string(concurrency);
  return id + ",made,vllm,0.12.0,meta-llama/Llama-3.1-8B-Instruct,h100_sxm,agg,1024,128,,\"" +
         slots + "\",1," + slots + ",1," + ttft + ',' + tpot + '\n';
}

inline MeasuredTable table(const std::string& rows) {
  return parse_measured(kHeader + rows, "t.csv");
}

}  // namespace dyn::eval::test
