#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "dyn/core/catalogue.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/perf/memory_model.h"
#include "dyn/perf/perf_model.h"
#include "operators.h"
#include "paths.h"
#include "silicon_rows.h"

namespace dyn::perf {

namespace {

using test::complete_rows;
using Row = test::TableRow;

/// A count of the table, where 0 and nothing mean 1.
int count(const Row& row, const std::string& key) {
  return std::max(1, std::atoi(row.at(key).c_str()));
}

Precision weights_of(const Row& row, const ModelSpec& model) {
  const std::string& format = row.at("gemm_quant_mode");
  if (format == "nvfp4") {
    return model.native_weights == Precision::mxfp4 ? Precision::mxfp4 : Precision::fp4;
  }
  if (format.starts_with("fp8")) {
    return model.native_weights == Precision::fp8_block ? Precision::fp8_block : Precision::fp8;
  }
  return Precision::bf16;
}

/// The worker that the columns with `prefix` describe. Where the experts have more GPUs than
/// attention, attention is data parallel.
PerfTarget target_of(const Row& row, const std::string& prefix) {
  PerfTarget target;
  target.model = find_model(row.at("model_path"));
  target.engine = row.at("backend");
  target.engine_version = row.at("backend_version");
  target.weights = weights_of(row, target.model);
  ParallelLayout& layout = target.layout;
  layout.tensor = count(row, prefix + "tp_size");
  layout.pipeline = count(row, prefix + "pp_size");
  if (target.model.moe) {
    layout.expert = count(row, prefix + "moe_ep_size");
    const int gpus = layout.expert * count(row, prefix + "moe_tp_size");
    layout.data = std::max(count(row, prefix + "attention_dp_size"), gpus / layout.tensor);
  }
  return target;
}

}  // namespace

TEST_CASE("Every worker of every measured deployment has a graph and room for a request") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: no reference data");
    return;
  }
  const std::vector<Row> rows =
      complete_rows(dyn::test::reference_data("silicon/train.csv").string());
  CHECK(rows.size() == 1482);
  std::set<std::string> models;
  std::size_t workers = 0;
  std::size_t whole_batch = 0;
  for (const Row& row : rows) {
    models.insert(row.at("model_path"));
    const GpuSpec& gpu = find_gpu(row.at("system"));
    const bool aggregated = row.at("mode") == "agg";
    for (const std::string prefix : {"", "prefill_", "decode_"}) {
      if (prefix.empty() != aggregated) {
        continue;
      }
      INFO(row.at("id") << ' ' << prefix);
      const PerfTarget target = target_of(row, prefix);
      CHECK_FALSE(operator_graph(target, gpu).empty());
      const EngineConfig config;
      const MemoryUse use = memory_use(target, gpu, config);
      const std::int64_t request = count(row, "isl") + count(row, "osl");
      CHECK(use.kv_tokens(config.block_size) >= request);
      CHECK(use.sequences > 0);
      ++workers;
      const int batch = count(row, prefix + "batch_size");
      whole_batch += use.kv_tokens(config.block_size) >= batch * request ? 1 : 0;
    }
  }
  CHECK(models.size() == 14);
  INFO(whole_batch << " of " << workers << " hold the whole batch");
  // The rest queues, or runs with an fp8 cache, which the table does not record.
  CHECK(static_cast<double>(whole_batch) > 0.9 * static_cast<double>(workers));
}

TEST_CASE("Every measured model has a step time on each of its GPUs") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: no reference data");
    return;
  }
  std::set<std::string> seen;
  for (const Row& row : complete_rows(dyn::test::reference_data("silicon/train.csv").string())) {
    if (row.at("mode") != "agg" || !seen.insert(row.at("model_path") + row.at("system")).second) {
      continue;
    }
    INFO(row.at("id"));
    const auto model = PerfModel::compile(target_of(row, ""), builtin_profile(row.at("system")));
    StepBatch batch;
    batch.add_decode(4096);
    const Duration decode = model->step_time(batch);
    CHECK(decode > std::chrono::microseconds(100));
    CHECK(decode < std::chrono::milliseconds(100));
    batch.add_prefill(2048, 2048, true);
    CHECK(model->step_time(batch) > decode);
    CHECK(model->step_time(batch) < std::chrono::seconds(2));
  }
  CHECK(seen.size() > 20);
}

}  // namespace dyn::perf
