#include "silicon_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "sample_models.h"

namespace dyn::perf::test {

namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else if (c != '\r') {
      cells.back() += c;
    }
  }
  return cells;
}

double number(const TableRow& row, const std::string& key, double otherwise) {
  const std::string& text = row.at(key);
  return text.empty() ? otherwise : std::strtod(text.c_str(), nullptr);
}

bool dense(const std::string& path, ModelSpec& model) {
  if (path.find("Llama-3.1-8B") != std::string::npos) {
    model = llama_8b();
  } else if (path.find("Llama-3.1-70B") != std::string::npos) {
    model = llama_70b();
  } else if (path.find("Qwen3-32B") != std::string::npos) {
    model = qwen3_32b();
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::vector<TableRow> complete_rows(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> header = split(line);
  std::vector<TableRow> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = split(line);
    TableRow row;
    for (std::size_t i = 0; i < header.size() && i < cells.size(); ++i) {
      row[header[i]] = cells[i];
    }
    if (row["complete"] == "1") {
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::vector<SiliconRow> read_silicon_rows(const std::string& path) {
  std::vector<SiliconRow> rows;
  for (TableRow& row : complete_rows(path)) {
    SiliconRow r;
    const std::string system = row["system"];
    if (row["mode"] != "agg" || (system != "h100_sxm" && system != "h200_sxm") ||
        !dense(row["model_path"], r.target.model)) {
      continue;
    }
    const std::string precision = row["gemm_quant_mode"];
    r.id = row["id"];
    r.gpu = system.substr(0, 4);
    r.target.weights = precision.starts_with("fp8") ? Precision::fp8 : Precision::bf16;
    r.target.engine = row["backend"];
    r.target.engine_version = row["backend_version"].empty() ? "0.11" : row["backend_version"];
    // TensorRT-LLM's fp8 checkpoints quantise the KV cache too; vLLM's and SGLang's default is not.
    r.target.kv_cache = r.target.engine == "trtllm" ? r.target.weights : Precision::bf16;
    r.target.layout.tensor = static_cast<int>(number(row, "tp_size", 1));
    r.target.layout.pipeline = static_cast<int>(number(row, "pp_size", 1));
    r.target.layout.data = 1;  // a dense model's data parallelism is independent engines
    r.isl = number(row, "isl", 0);
    r.osl = number(row, "osl", 0);
    r.concurrency = number(row, "batch_size", 1);
    r.ttft_ms = number(row, "silicon_ttft_ms", 0);
    r.tpot_ms = number(row, "silicon_tpot_ms", 0);
    rows.push_back(std::move(r));
  }
  return rows;
}

double closed_loop_tpot_ms(const StepTimer& timer, const SiliconRow& row, std::int64_t kv_tokens) {
  const double fitting = static_cast<double>(kv_tokens) / (row.isl + row.osl);
  const auto sequences =
      static_cast<std::int64_t>(std::max(1.0, std::min(row.concurrency, fitting)));
  const auto context = static_cast<std::int64_t>(row.isl + row.osl / 2);
  StepBatch decode;
  for (std::int64_t i = 0; i < sequences; ++i) {
    decode.add_decode(context);
  }
  const double step = to_millis(timer.step_time(decode));
  // One chunk of up to 8192 tokens at a time, once per request and slot.
  const auto chunk = static_cast<std::int64_t>(
      std::min(row.isl, std::max(64.0, 8192 - static_cast<double>(sequences))));
  StepBatch mixed = decode;
  mixed.add_prefill(chunk, 0, true);
  const double extra = to_millis(timer.step_time(mixed)) - step;
  // While one prefills, the others wait for it: (n - 1) of n chunks delay a token.
  const double others = static_cast<double>(sequences - 1);
  return step + extra * (row.isl / static_cast<double>(chunk)) * others / row.osl;
}

}  // namespace dyn::perf::test
