#include "csv.h"

#include "dyn/core/error.h"

namespace dyn::eval {
namespace {

[[noreturn]] void refuse(const std::string& name, int line, int column, std::string message) {
  throw Error(ErrorKind::bad_input,
              std::vector<ErrorItem>{{std::move(message), Where{name, line, column, {}}, {}, {}}});
}

class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& name) : text_(text), name_(name) {
    if (text_.starts_with("\xef\xbb\xbf")) {
      text_.remove_prefix(3);
    }
  }

  std::vector<CsvRecord> read() {
    std::vector<CsvRecord> records;
    while (at_ < text_.size()) {
      CsvRecord record = read_record();
      if (record.size() > 1 || !record.front().text.empty()) {
        records.push_back(std::move(record));
      }
    }
    return records;
  }

 private:
  bool ends_record() const {
    return at_ == text_.size() || text_[at_] == '\n' ||
           (text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n');
  }

  char take() {
    const char c = text_[at_++];
    if (c == '\n') {
      ++line_;
      column_ = 1;
    } else {
      ++column_;
    }
    return c;
  }

  CsvRecord read_record() {
    CsvRecord record;
    for (;;) {
      record.push_back(read_cell());
      if (at_ < text_.size() && text_[at_] == ',') {
        take();
        continue;
      }
      break;
    }
    while (at_ < text_.size() && take() != '\n') {
    }
    return record;
  }

  CsvCell read_cell() {
    CsvCell cell{{}, line_, column_};
    if (at_ < text_.size() && text_[at_] == '"') {
      take();
      for (;;) {
        if (at_ == text_.size()) {
          refuse(name_, cell.line, cell.column, "the quote of this field is never closed");
        }
        const char c = take();
        if (c != '"') {
          cell.text += c;
        } else if (at_ < text_.size() && text_[at_] == '"') {
          cell.text += take();
        } else {
          break;
        }
      }
      if (!ends_record() && text_[at_] != ',') {
        refuse(name_, line_, column_, "text after the closing quote of a field");
      }
      return cell;
    }
    while (!ends_record() && text_[at_] != ',') {
      cell.text += take();
    }
    return cell;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  int line_ = 1;
  int column_ = 1;
};

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& name) {
  return CsvReader(text, name).read();
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c;
    if (c == '"') {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace dyn::eval
