#include "dyn/eval/measured.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <map>
#include <set>
#include <sstream>

#include "csv.h"
#include "dyn/core/catalogue.h"

namespace dyn::eval {
namespace {

constexpr std::size_t kMaxErrors = 50;
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
constexpr int kMaxTokens = 100'000'000;
constexpr int kMaxCount = 1'000'000;

const std::map<std::string, Precision>& quant_modes() {
  static const std::map<std::string, Precision> modes{
      {"", Precision::bf16},
      {"bf16", Precision::bf16},
      {"bfloat16", Precision::bf16},
      {"float16", Precision::fp16},
      {"fp16", Precision::fp16},
      {"fp32", Precision::fp32},
      {"fp8", Precision::fp8},
      {"fp8_static", Precision::fp8},
      {"fp8_block", Precision::fp8_block},
      {"int8", Precision::int8},
      {"int8_wo", Precision::int8},
      {"nvfp4", Precision::fp4},
      {"fp4", Precision::fp4},
      {"mxfp4", Precision::mxfp4},
      {"w4a16_mxfp4", Precision::mxfp4},
      {"int4", Precision::int4},
      {"int4_wo", Precision::int4},
      {"w4afp8", Precision::int4},
  };
  return modes;
}

/// The date in a source such as "...; measured=2026-01-29T16:34:14Z; ...".
std::string date_in(const std::string& source) {
  constexpr std::string_view kMark = "measured=";
  constexpr std::size_t kLength = 10;
  const std::size_t at = source.find(kMark);
  return at == std::string::npos ? std::string() : source.substr(at + kMark.size(), kLength);
}

/// Reads the rows of one table, collecting what is wrong with them.
class TableReader {
 public:
  TableReader(std::string_view text, std::string name)
      : name_(std::move(name)), records_(parse_csv(text, name_)) {}

  MeasuredTable read() {
    read_header();
    MeasuredTable table{name_, {}};
    std::set<std::string> ids;
    for (std::size_t i = 1; i < records_.size() && errors_.size() < kMaxErrors; ++i) {
      record_ = &records_[i];
      const CsvCell& first = record_->front();
      if (record_->size() != records_.front().size()) {
        add(first, fmt::format("{} fields in a row; the header has {}", record_->size(),
                               records_.front().size()));
        continue;
      }
      MeasuredRow row = read_row();
      if (!row.id.empty() && !ids.insert(row.id).second) {
        add(*cell("id"), "the id of an earlier row");
      }
      table.rows.push_back(std::move(row));
    }
    if (errors_.empty() && table.rows.empty()) {
      add({{}, 1, 1}, "a table without rows");
    }
    if (!errors_.empty()) {
      throw Error(ErrorKind::bad_input, std::move(errors_));
    }
    return table;
  }

 private:
  void add(const CsvCell& at, std::string message, std::string hint = {}) {
    const CsvCell* id = record_ != nullptr ? cell("id") : nullptr;
    if (id != nullptr && !id->text.empty()) {
      message = fmt::format("row {}: {}", id->text, message);
    }
    errors_.push_back(
        {std::move(message), Where{name_, at.line, at.column, {}}, std::move(hint), {}});
  }

  void read_header() {
    if (records_.empty()) {
      add({{}, 1, 1}, "an empty file; a header that names the columns is needed");
      throw Error(ErrorKind::bad_input, std::move(errors_));
    }
    for (std::size_t i = 0; i < records_.front().size(); ++i) {
      const CsvCell& column = records_.front()[i];
      if (!columns_.emplace(column.text, i).second) {
        add(column, fmt::format("column '{}' twice", column.text));
      }
    }
    need({"id", "backend", "backend_version", "model_path", "system", "mode", "isl", "osl",
          "gemm_quant_mode"});
    if (!errors_.empty()) {
      throw Error(ErrorKind::bad_input, std::move(errors_));
    }
  }

  /// Says once of each column that the table lacks: without it, what ran would be guessed.
  void need(std::initializer_list<const char*> names) {
    std::vector<std::string> known;
    for (const auto& [column, index] : columns_) {
      known.push_back(column);
    }
    for (const char* name : names) {
      if (columns_.contains(name) || !missing_.insert(name).second) {
        continue;
      }
      const auto guess = nearest(name, known);
      const CsvCell& at = records_.front().front();
      errors_.push_back({fmt::format("no column '{}'", name),
                         Where{name_, at.line, at.column, {}},
                         guess ? fmt::format("there is '{}'", *guess) : std::string(),
                         {}});
    }
  }

  /// The field of a column of the current row; null if the table has no such column.
  const CsvCell* cell(const std::string& column) const {
    const auto found = columns_.find(column);
    return found == columns_.end() || found->second >= record_->size() ? nullptr
                                                                       : &(*record_)[found->second];
  }

  std::string text(const std::string& column) const {
    const CsvCell* at = cell(column);
    return at != nullptr ? at->text : std::string();
  }

  std::string needed_text(const std::string& column) {
    const CsvCell* at = cell(column);
    if (at->text.empty()) {
      add(*at, fmt::format("{} is blank", column));
    }
    return at->text;
  }

  /// A whole number in [least, most]; `blank` where there is none.
  int count(const std::string& column, int blank, int least, int most) {
    const CsvCell* at = cell(column);
    if (at == nullptr || at->text.empty()) {
      return blank;
    }
    // Tables that went through pandas write whole numbers as 8.0.
    std::string_view digits = at->text;
    if (digits.ends_with(".0")) {
      digits.remove_suffix(2);
    }
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() || value < least ||
        value > most) {
      add(*at, fmt::format("{}: expected a whole number from {} to {}, got \"{}\"", column, least,
                           most, at->text));
      return blank;
    }
    return value;
  }

  /// A degree of parallelism: blank and 0 mean 1.
  int degree(const std::string& column) { return std::max(1, count(column, 1, 0, kMaxCount)); }

  std::optional<double> milliseconds(const std::string& column) {
    const CsvCell* at = cell(column);
    if (at == nullptr || at->text.empty()) {
      return std::nullopt;
    }
    double value = 0;
    const char* last = at->text.data() + at->text.size();
    const auto [end, error] = std::from_chars(at->text.data(), last, value);
    if (error != std::errc{} || end != last || !std::isfinite(value) || value <= 0) {
      add(*at, fmt::format("{}: expected milliseconds above 0, got \"{}\"", column, at->text));
      return std::nullopt;
    }
    return value;
  }

  Precision precision(const std::string& column) {
    const CsvCell* at = cell(column);
    if (at == nullptr) {
      return Precision::bf16;
    }
    const auto found = quant_modes().find(at->text);
    if (found == quant_modes().end()) {
      std::vector<std::string> known;
      for (const auto& [mode, value] : quant_modes()) {
        known.push_back(mode);
      }
      const auto guess = nearest(at->text, known);
      add(*at, fmt::format("{}: unknown precision \"{}\"", column, at->text),
          guess ? fmt::format("did you mean '{}'?", *guess) : std::string());
      return Precision::bf16;
    }
    return found->second;
  }

  MeasuredWorkers workers(const std::string& prefix) {
    MeasuredWorkers out;
    out.layout.tensor = degree(prefix + "tp_size");
    out.layout.pipeline = degree(prefix + "pp_size");
    out.layout.data = degree(prefix + "attention_dp_size");
    out.layout.expert = degree(prefix + "moe_ep_size");
    out.moe_tensor = degree(prefix + "moe_tp_size");
    out.workers = degree(prefix + "num_workers");
    out.batch = count(prefix + "batch_size", 0, 0, kMaxCount);
    return out;
  }

  void read_system(MeasuredRow& row) {
    row.system = needed_text("system");
    std::string name = row.system;
    for (const char* suffix : {"_sxm", "_server"}) {
      if (name.ends_with(suffix)) {
        name.resize(name.size() - std::string_view(suffix).size());
      }
    }
    for (char& c : name) {
      c = c == '_' ? '-' : c;
    }
    if (name.empty()) {
      return;
    }
    try {
      row.gpu = find_gpu(name).id;
    } catch (const Error& error) {
      add(*cell("system"), error.items().front().message, error.items().front().hint);
    }
  }

  void read_mode(MeasuredRow& row) {
    const std::string mode = text("mode");
    if (mode == "disagg") {
      row.disaggregated = true;
      need({"prefill_tp_size", "prefill_num_workers", "decode_tp_size", "decode_num_workers",
            "decode_batch_size"});
      row.prefill = workers("prefill_");
      row.decode = workers("decode_");
    } else if (mode.empty() || mode == "agg") {
      need({"tp_size"});
      if (!columns_.contains("concurrency")) {
        need({"batch_size"});
      }
      row.aggregated = workers("");
    } else {
      add(*cell("mode"), fmt::format("mode: expected agg or disagg, got \"{}\"", mode));
    }
  }

  MeasuredRow read_row() {
    MeasuredRow row;
    row.line = record_->front().line;
    row.id = needed_text("id");
    row.source = text("silicon_data_source");
    row.date = date_in(row.source);
    row.engine = needed_text("backend");
    if (!row.engine.empty() && row.engine != "vllm" && row.engine != "sglang" &&
        row.engine != "trtllm") {
      add(*cell("backend"),
          fmt::format("backend: expected vllm, sglang or trtllm, got \"{}\"", row.engine));
    }
    row.version = text("backend_version");
    row.model = needed_text("model_path");
    read_system(row);
    row.gemm = precision("gemm_quant_mode");
    row.moe = precision("moe_quant_mode");
    row.isl = count("isl", 0, 1, kMaxTokens);
    row.osl = count("osl", 0, 1, kMaxTokens);
    for (const char* column : {"isl", "osl"}) {
      if (cell(column)->text.empty()) {
        add(*cell(column), fmt::format("{} is blank", column));
      }
    }
    row.concurrency = count("concurrency", 0, 0, kMaxCount);
    row.gpus = count("gpus", 0, 0, kMaxCount);
    row.complete = count("complete", 1, 0, 1) == 1;
    read_mode(row);
    row.ttft_ms = milliseconds("silicon_ttft_ms");
    row.tpot_ms = milliseconds("silicon_tpot_ms");
    return row;
  }

  std::string name_;
  std::vector<CsvRecord> records_;
  std::map<std::string, std::size_t> columns_;
  const CsvRecord* record_ = nullptr;
  std::vector<ErrorItem> errors_;
  std::set<std::string> missing_;  // columns that an error was given for
};

}  // namespace

int MeasuredRow::in_flight() const {
  if (concurrency > 0) {
    return concurrency;
  }
  const MeasuredWorkers& where = disaggregated ? decode : aggregated;
  return where.batch * where.layout.data * where.workers;
}

std::string MeasuredRow::lengths() const {
  return fmt::format("{}/{}", isl, osl);
}

std::string MeasuredRow::group() const {
  return fmt::format("{}|{}|{}|{}|{}|{}", system, model, engine, mode(), lengths(), gpus);
}

MeasuredTable parse_measured(std::string_view text, const std::string& name) {
  return TableReader(text, name).read();
}

MeasuredTable load_measured(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (size < 0 || static_cast<std::size_t>(size) > kMaxBytes) {
    throw Error(
        ErrorKind::bad_input,
        std::vector<ErrorItem>{
            {size < 0 ? "cannot be read" : "larger than 256 MiB", Where{path, 0, 0, {}}, {}, {}}});
  }
  file.seekg(0);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_measured(text.str(), path);
}

}  // namespace dyn::eval
