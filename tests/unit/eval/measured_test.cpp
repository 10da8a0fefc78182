#include "dyn/eval/measured.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "dyn/core/error.h"
#include "paths.h"
#include "tables.h"

namespace dyn::eval {
namespace {

/// The errors that reading a table gives.
std::vector<ErrorItem> errors_of(const std::string& text) {
  try {
    parse_measured(text, "t.csv");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::bad_input);
    return error.items();
  }
  return {};
}

TEST_CASE("a row is read by column names") {
  const MeasuredTable table = parse_measured(
      "osl,isl,id,backend,backend_version,model_path,system,mode,prefill_tp_size,"
      "prefill_num_workers,decode_tp_size,decode_num_workers,decode_attention_dp_size,"
      "decode_moe_ep_size,decode_batch_size,gemm_quant_mode,moe_quant_mode,unknown,"
      "silicon_data_source\r\n"
      "1024,8192,\"a \"\"b\"\", c\",sglang,,m,gb200,disagg,4,3,,1,8,8.0,16,,nvfp4,x,"
      "source_file=gap-analysis/x\r\n",
      "t.csv");
  REQUIRE(table.rows.size() == 1);
  const MeasuredRow& row = table.rows.front();
  CHECK(row.id == "a \"b\", c");
  CHECK(row.isl == 8192);
  CHECK(row.osl == 1024);
  CHECK(row.disaggregated);
  CHECK(row.prefill.layout.tensor == 4);
  CHECK(row.prefill.workers == 3);
  CHECK(row.decode.layout.data == 8);
  CHECK(row.decode.layout.expert == 8);
  CHECK(row.moe == Precision::fp4);
  CHECK(row.gemm == Precision::bf16);
  CHECK(row.gpu == "gb200");
  CHECK(row.in_flight() == 128);
  CHECK(row.other_client());
  CHECK_FALSE(row.ttft_ms);
  CHECK(row.group() == "gb200|m|sglang|disagg|8192/1024|0");
}

TEST_CASE("what cannot be read is refused with its place and its row") {
  const std::vector<ErrorItem> errors =
      errors_of(std::string(test::kHeader) + test::row("good", 4) + test::row("bad", 4, "-1") +
                "two\nworse,,vlm,,m,h100_sxm,both,x,128,fp9,4,1,4,1,50,nan\n");
  REQUIRE(errors.size() == 7);
  CHECK(errors[0].where->line == 3);
  CHECK(errors[0].where->column == 88);
  CHECK(errors[0].message == "row bad: silicon_ttft_ms: expected milliseconds above 0, got \"-1\"");
  CHECK(errors[1].where->line == 4);
  CHECK(errors[1].message.find("1 fields in a row; the header has 16") != std::string::npos);
  for (std::size_t i = 2; i < errors.size(); ++i) {
    CHECK(errors[i].where->line == 5);
    CHECK(errors[i].message.starts_with("row worse: "));
  }
}

TEST_CASE("tables without what is needed are refused") {
  CHECK(errors_of("").front().message.find("empty file") != std::string::npos);
  CHECK(errors_of("id,backend,backend_version,model,system,mode,isl,osl,gemm_quant_mode\n")
            .front()
            .message == "no column 'model_path'");
  CHECK(errors_of(test::kHeader).front().message == "a table without rows");
  CHECK(errors_of(std::string(test::kHeader) + test::row("a", 4) + test::row("a", 8)).size() == 1);
  const std::vector<ErrorItem> quote = errors_of("id,backend\n\"open,vllm\n");
  REQUIRE(quote.size() == 1);
  CHECK(quote.front().where->line == 2);
  CHECK(quote.front().where->column == 1);
  CHECK(errors_of("id\n\"a\"b\n").front().where->column == 4);
  CHECK_THROWS_AS(load_measured("/nowhere/table.csv"), Error);
}

/// The table without a column, named in the error that it gives.
void check_needed(const std::string& header, const std::string& row, const std::string& column) {
  INFO(column);
  std::string renamed = "," + header + ",";
  const std::size_t at = renamed.find("," + column + ",");
  REQUIRE(at != std::string::npos);
  renamed.replace(at + 1, column.size(), "x");
  const std::vector<ErrorItem> errors =
      errors_of(renamed.substr(1, renamed.size() - 2) + "\n" + row + row);
  // The second row has the first's id, which is not said where a column lacks.
  REQUIRE_FALSE(errors.empty());
  CHECK(errors.front().message == "no column '" + column + "'");
  CHECK(errors.front().where->line == 1);
  CHECK(std::count_if(errors.begin(), errors.end(), [](const ErrorItem& error) {
          return error.message.starts_with("no column");
        }) == 1);
}

TEST_CASE("a table that lacks a column which says what ran is refused, once") {
  std::string header = test::kHeader;
  header.pop_back();
  for (const char* column : {"id", "backend", "backend_version", "model_path", "system", "mode",
                             "isl", "osl", "gemm_quant_mode", "tp_size"}) {
    check_needed(header, test::row("a", 4), column);
  }
  const std::string disaggregated =
      "id,backend,backend_version,model_path,system,mode,isl,osl,gemm_quant_mode,prefill_tp_size,"
      "prefill_num_workers,decode_tp_size,decode_num_workers,decode_batch_size";
  const std::string row = "a,trtllm,,m,gb200,disagg,1024,128,,4,1,4,1,16\n";
  CHECK(errors_of(disaggregated + "\n" + row).empty());
  for (const char* column : {"prefill_tp_size", "prefill_num_workers", "decode_tp_size",
                             "decode_num_workers", "decode_batch_size"}) {
    check_needed(disaggregated, row, column);
  }
}

TEST_CASE("an aggregated table needs one of concurrency and batch size, and no measured time") {
  const std::string start =
      "id,backend,backend_version,model_path,system,mode,isl,osl,gemm_quant_mode,tp_size";
  const std::string row = "a,vllm,,m,h100,agg,1024,128,,1";
  CHECK(errors_of(start + ",concurrency\n" + row + ",8\n").empty());
  CHECK(errors_of(start + ",batch_size\n" + row + ",8\n").empty());
  const std::vector<ErrorItem> errors = errors_of(start + "\n" + row + '\n');
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].message == "no column 'batch_size'");
}

TEST_CASE("the last row needs no line break, but all its fields") {
  const std::string rows = test::kHeader + test::row("a", 4) + test::row("b", 8);
  CHECK(parse_measured(rows.substr(0, rows.size() - 1), "t.csv").rows.size() == 2);
  const std::vector<ErrorItem> cut = errors_of(rows.substr(0, rows.size() - 5));
  REQUIRE(cut.size() == 1);
  CHECK(cut[0].message.find("15 fields in a row; the header has 16") != std::string::npos);
}

TEST_CASE("the reference table is read whole") {
  if (!dyn::test::have_reference_data()) {
    WARN("skipped: no reference data");
    return;
  }
  const MeasuredTable table =
      load_measured(dyn::test::reference_data("silicon/train.csv").string());
  CHECK(table.rows.size() == 1951);
  CHECK(std::count_if(table.rows.begin(), table.rows.end(),
                      [](const MeasuredRow& row) { return row.complete; }) == 1482);
}

}  // namespace
}  // namespace dyn::eval
