#include "dyn/profiler/parquet.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "decompress.h"
#include "dyn/core/error.h"
#include "thrift.h"

namespace dyn::profiler {
namespace {

constexpr std::size_t kMaxRows = 4'000'000;
constexpr std::size_t kMaxColumns = 1000;
constexpr std::string_view kMagic = "PAR1";
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Numbers of the format (parquet.thrift).
enum PhysicalType { kBoolean = 0, kInt32 = 1, kInt64 = 2, kFloat = 4, kDouble = 5, kByteArray = 6 };
enum Encoding { kPlain = 0, kPlainDictionary = 2, kRle = 3, kRleDictionary = 8 };
enum PageType { kDataPage = 0, kIndexPage = 1, kDictionaryPage = 2, kDataPageV2 = 3 };

std::size_t checked_count(std::int64_t value) {
  if (value < 0 || value > (std::int64_t{1} << 40)) {
    throw Malformed("a size that cannot be");
  }
  return static_cast<std::size_t>(value);
}

struct ColumnSchema {
  std::string name;
  int type = -1;
  bool optional = false;
};

struct Chunk {
  int type = -1;
  int codec = 0;
  std::size_t values = 0;
  std::size_t start = 0;
  std::size_t size = 0;
};

struct RowGroup {
  std::size_t rows = 0;
  std::vector<Chunk> chunks;
};

struct Footer {
  std::size_t rows = 0;
  std::vector<ColumnSchema> columns;
  std::vector<RowGroup> groups;
};

class FooterReader {
 public:
  explicit FooterReader(std::string_view bytes) : thrift_(bytes) {}

  Footer read() {
    thrift_.structure([this](int id, int type) {
      if (id == 2 && type == ThriftReader::kList) {
        thrift_.structures([this] { schema_element(); });
        return true;
      }
      if (id == 3 && type == ThriftReader::kI64) {
        footer_.rows = checked_count(thrift_.integer());
        return true;
      }
      if (id == 4 && type == ThriftReader::kList) {
        thrift_.structures([this] { row_group(); });
        return true;
      }
      return false;
    });
    check();
    return std::move(footer_);
  }

 private:
  void schema_element() {
    ColumnSchema column;
    std::int64_t children = 0;
    std::int64_t repetition = 0;
    thrift_.structure([&](int id, int type) {
      if (id == 4 && type == ThriftReader::kBinary) {
        column.name = thrift_.binary();
      } else if (type == ThriftReader::kI32 && (id == 1 || id == 3 || id == 5)) {
        const std::int64_t value = thrift_.integer();
        if (id == 1) {
          column.type = static_cast<int>(value);
        } else {
          (id == 3 ? repetition : children) = value;
        }
      } else {
        return false;
      }
      return true;
    });
    if (!root_seen_) {
      root_seen_ = true;
      return;
    }
    if (children != 0 || repetition > 1) {
      throw Malformed("column '" + column.name + "' is nested; only flat tables can be read");
    }
    column.optional = repetition == 1;
    footer_.columns.push_back(std::move(column));
  }

  void row_group() {
    RowGroup group;
    thrift_.structure([&](int id, int type) {
      if (id == 1 && type == ThriftReader::kList) {
        thrift_.structures([&] { column_chunk(group); });
        return true;
      }
      if (id == 3 && type == ThriftReader::kI64) {
        group.rows = checked_count(thrift_.integer());
        return true;
      }
      return false;
    });
    footer_.groups.push_back(std::move(group));
  }

  void column_chunk(RowGroup& group) {
    Chunk chunk;
    std::optional<std::size_t> dictionary;
    thrift_.structure([&](int outer, int outer_type) {
      if (outer != 3 || outer_type != ThriftReader::kStruct) {
        return false;
      }
      thrift_.structure([&](int id, int type) {
        if (type != ThriftReader::kI32 && type != ThriftReader::kI64) {
          return false;
        }
        const std::int64_t value = thrift_.integer();
        switch (id) {
          case 1:
            chunk.type = static_cast<int>(value);
            break;
          case 4:
            chunk.codec = static_cast<int>(value);
            break;
          case 5:
            chunk.values = checked_count(value);
            break;
          case 7:
            chunk.size = checked_count(value);
            break;
          case 9:
            chunk.start = checked_count(value);
            break;
          case 11:
            dictionary = checked_count(value);
            break;
          default:
            break;
        }
        return true;
      });
      return true;
    });
    if (dictionary && *dictionary > 0 && *dictionary < chunk.start) {
      chunk.start = *dictionary;
    }
    group.chunks.push_back(chunk);
  }

  void check() const {
    if (footer_.columns.empty() || footer_.columns.size() > kMaxColumns) {
      throw Malformed("it has no columns, or more than can be read");
    }
    std::size_t rows = 0;
    for (const RowGroup& group : footer_.groups) {
      if (group.chunks.size() != footer_.columns.size()) {
        throw Malformed("a row group without all columns");
      }
      if (group.rows > kMaxRows) {
        throw Malformed("more than 4 million rows");
      }
      rows += group.rows;
    }
    if (rows > kMaxRows) {
      throw Malformed("more than 4 million rows");
    }
    if (rows != footer_.rows) {
      throw Malformed("its row groups do not add up to its rows");
    }
  }

  ThriftReader thrift_;
  Footer footer_;
  bool root_seen_ = false;
};

/// Numbers of `width` bits as runs and bit-packed groups of eight.
class RunReader {
 public:
  RunReader(std::string_view bytes, unsigned width) : in_(bytes), width_(width) {
    if (width_ > 32) {
      throw Malformed("an index of more than 32 bits");
    }
  }

  std::uint32_t next() {
    while (run_ == 0 && packed_ == 0) {
      start();
    }
    if (run_ > 0) {
      --run_;
      return value_;
    }
    --packed_;
    while (bits_ < width_) {
      buffer_ |= static_cast<std::uint64_t>(in_.byte()) << bits_;
      bits_ += 8;
    }
    const auto value = static_cast<std::uint32_t>(buffer_ & ((std::uint64_t{1} << width_) - 1));
    buffer_ >>= width_;
    bits_ -= width_;
    return value;
  }

 private:
  void start() {
    const std::uint64_t head = in_.varint();
    if ((head & 1) != 0) {
      packed_ = (head >> 1) * 8;
      buffer_ = 0;
      bits_ = 0;
      return;
    }
    run_ = head >> 1;
    value_ = 0;
    for (unsigned i = 0; i < (width_ + 7) / 8; ++i) {
      value_ |= static_cast<std::uint32_t>(in_.byte()) << (8 * i);
    }
  }

  ByteCursor in_;
  unsigned width_;
  std::uint64_t run_ = 0;
  std::uint64_t packed_ = 0;
  std::uint64_t buffer_ = 0;
  unsigned bits_ = 0;
  std::uint32_t value_ = 0;
};

/// Plain values: numbers, or texts.
struct Values {
  std::vector<double> numbers;
  std::vector<std::string> texts;
  std::size_t size() const { return numbers.size() + texts.size(); }
};

template <typename T>
T plain_value(ByteCursor& in) {
  T value;
  std::memcpy(&value, in.take(sizeof value).data(), sizeof value);
  return value;
}

Values plain_values(std::string_view bytes, int type, std::size_t count) {
  static_assert(std::endian::native == std::endian::little);
  Values values;
  ByteCursor in(bytes);
  for (std::size_t i = 0; i < count; ++i) {
    switch (type) {
      case kBoolean:
        if (i / 8 >= bytes.size()) {
          throw Malformed("a page of fewer values than it says");
        }
        values.numbers.push_back((static_cast<unsigned char>(bytes[i / 8]) >> (i % 8)) & 1);
        break;
      case kInt32:
        values.numbers.push_back(plain_value<std::int32_t>(in));
        break;
      case kInt64:
        values.numbers.push_back(static_cast<double>(plain_value<std::int64_t>(in)));
        break;
      case kFloat:
        values.numbers.push_back(static_cast<double>(plain_value<float>(in)));
        break;
      case kDouble:
        values.numbers.push_back(plain_value<double>(in));
        break;
      case kByteArray:
        values.texts.emplace_back(in.take(in.word()));
        break;
      default:
        throw Malformed("a column of a type that tables do not have");
    }
  }
  return values;
}

struct PageHeader {
  int type = -1;
  std::size_t size = 0;        ///< uncompressed
  std::size_t compressed = 0;  ///< as it lies in the file
  std::size_t values = 0;
  int encoding = kPlain;
  std::size_t levels = 0;  ///< version 2: bytes of definition levels
  bool packed = true;      ///< version 2: whether the values are compressed
};

PageHeader page_header(ThriftReader& thrift) {
  PageHeader page;
  const auto data = [&](int kind) {
    thrift.structure([&](int id, int type) {
      if (kind == 8 && id == 7 && (type == ThriftReader::kTrue || type == ThriftReader::kFalse)) {
        page.packed = type == ThriftReader::kTrue;
        return true;
      }
      if (type != ThriftReader::kI32) {
        return false;
      }
      const std::int64_t value = thrift.integer();
      if (id == 1) {
        page.values = checked_count(value);
      } else if (id == (kind == 8 ? 4 : 2)) {
        page.encoding = static_cast<int>(value);
      } else if (kind == 8 && id == 5) {
        page.levels = checked_count(value);
      } else if (kind == 8 && id == 6 && value != 0) {
        throw Malformed("a page with repetition levels");
      }
      return true;
    });
    return true;
  };
  thrift.structure([&](int id, int type) {
    if (type == ThriftReader::kStruct && (id == 5 || id == 7 || id == 8)) {
      return data(id);
    }
    if (type != ThriftReader::kI32 || id > 3) {
      return false;
    }
    const std::int64_t value = thrift.integer();
    if (id == 1) {
      page.type = static_cast<int>(value);
    } else {
      (id == 2 ? page.size : page.compressed) = checked_count(value);
    }
    return true;
  });
  return page;
}

/// Reads one column's chunks into a TableColumn.
class ColumnReader {
 public:
  ColumnReader(const ColumnSchema& schema, TableColumn& column)
      : schema_(schema), column_(column) {}

  void read(const Chunk& chunk, std::string_view file, std::size_t rows) {
    if (chunk.type != schema_.type || chunk.values != rows) {
      throw Malformed("a column of another type or length than it says");
    }
    if (chunk.start > file.size() || chunk.size > file.size() - chunk.start) {
      throw Malformed("a column beyond the end; is the file truncated?");
    }
    if (chunk.codec != 0 && chunk.codec != 1 && chunk.codec != 6) {
      throw Malformed("a compression other than ZSTD and Snappy");
    }
    codec_ = static_cast<Codec>(chunk.codec);
    dictionary_.reset();
    std::string_view bytes = file.substr(chunk.start, chunk.size);
    std::size_t done = 0;
    while (done < rows) {
      ThriftReader thrift(bytes);
      const PageHeader page = page_header(thrift);
      bytes.remove_prefix(bytes.size() - thrift.left());
      if (page.compressed > bytes.size()) {
        throw Malformed("a page beyond its column; is the file truncated?");
      }
      const std::string_view body = bytes.substr(0, page.compressed);
      bytes.remove_prefix(page.compressed);
      if (page.type == kDictionaryPage) {
        dictionary(page, body);
      } else if (page.type == kDataPage || page.type == kDataPageV2) {
        if (page.values > rows - done) {
          throw Malformed("a column of more values than rows");
        }
        data(page, body);
        done += page.values;
      }
    }
  }

 private:
  void dictionary(const PageHeader& page, std::string_view body) {
    if (page.values > kMaxRows) {
      throw Malformed("a dictionary of more values than rows");
    }
    dictionary_ = plain_values(decompress(codec_, body, page.size), schema_.type, page.values);
    codes_.clear();
    for (const std::string& text : dictionary_->texts) {
      codes_.push_back(code_of(text));
    }
  }

  void data(const PageHeader& page, std::string_view body) {
    std::string unpacked;
    std::string_view levels;
    std::string_view values;
    if (page.type == kDataPageV2) {
      if (page.levels > body.size() || page.levels > page.size) {
        throw Malformed("a page of another size than it says");
      }
      levels = body.substr(0, page.levels);
      unpacked = decompress(page.packed ? codec_ : Codec::none, body.substr(page.levels),
                            page.size - page.levels);
      values = unpacked;
    } else {
      unpacked = decompress(codec_, body, page.size);
      ByteCursor in(unpacked);
      if (schema_.optional) {
        levels = in.take(in.word());
      }
      values = in.take(in.left());
    }
    std::vector<bool> present(page.values, true);
    std::size_t count = page.values;
    if (schema_.optional) {
      RunReader defined(levels, 1);
      for (std::size_t i = 0; i < page.values; ++i) {
        present[i] = defined.next() != 0;
        count -= present[i] ? 0 : 1;
      }
    }
    append(page, values, present, count);
  }

  void append(const PageHeader& page, std::string_view values, const std::vector<bool>& present,
              std::size_t count) {
    if (page.encoding == kRleDictionary || page.encoding == kPlainDictionary) {
      append_indices(values, present);
      return;
    }
    Values plain;
    if (page.encoding == kRle && schema_.type == kBoolean) {
      ByteCursor in(values);
      RunReader runs(in.take(in.word()), 1);
      for (std::size_t i = 0; i < count; ++i) {
        plain.numbers.push_back(runs.next());
      }
    } else if (page.encoding == kPlain) {
      plain = plain_values(values, schema_.type, count);
    } else {
      throw Malformed("an encoding other than PLAIN and RLE_DICTIONARY");
    }
    std::size_t next = 0;
    for (const bool there : present) {
      if (column_.text) {
        column_.codes.push_back(code_of(there ? plain.texts[next++] : std::string()));
      } else {
        column_.numbers.push_back(there ? plain.numbers[next++] : kNone);
      }
    }
  }

  void append_indices(std::string_view values, const std::vector<bool>& present) {
    if (!dictionary_) {
      throw Malformed("a page that needs a dictionary, without one");
    }
    ByteCursor in(values);
    const unsigned width = in.left() > 0 ? in.byte() : 0;
    RunReader indices(in.take(in.left()), width);
    for (const bool there : present) {
      std::size_t index = 0;
      if (there) {
        index = indices.next();
        if (index >= dictionary_->size()) {
          throw Malformed("an index beyond its dictionary");
        }
      }
      if (column_.text) {
        column_.codes.push_back(there ? codes_[index] : code_of(std::string()));
      } else {
        column_.numbers.push_back(there ? dictionary_->numbers[index] : kNone);
      }
    }
  }

  std::uint32_t code_of(const std::string& text) {
    const auto [found, added] =
        known_.try_emplace(text, static_cast<std::uint32_t>(column_.dictionary.size()));
    if (added) {
      column_.dictionary.push_back(text);
    }
    return found->second;
  }

  const ColumnSchema& schema_;
  TableColumn& column_;
  Codec codec_ = Codec::none;
  std::optional<Values> dictionary_;
  std::vector<std::uint32_t> codes_;  // of the dictionary's texts
  std::unordered_map<std::string, std::uint32_t> known_;
};

Table read_table(std::string_view bytes) {
  if (bytes.size() < 12 || bytes.substr(0, 4) != kMagic) {
    throw Malformed("it is not a Parquet file");
  }
  if (bytes.substr(bytes.size() - 4) != kMagic) {
    throw Malformed("it does not end as a Parquet file does; is it truncated?");
  }
  ByteCursor tail(bytes.substr(bytes.size() - 8));
  const std::size_t length = tail.word();
  if (length > bytes.size() - 12) {
    throw Malformed("its footer is larger than the file");
  }
  const Footer footer = FooterReader(bytes.substr(bytes.size() - 8 - length, length)).read();
  Table table;
  table.rows = footer.rows;
  for (std::size_t i = 0; i < footer.columns.size(); ++i) {
    TableColumn& column = table.columns.emplace_back();
    column.name = footer.columns[i].name;
    column.text = footer.columns[i].type == kByteArray;
    ColumnReader reader(footer.columns[i], column);
    for (const RowGroup& group : footer.groups) {
      try {
        reader.read(group.chunks[i], bytes, group.rows);
      } catch (const Malformed& malformed) {
        throw Malformed("column '" + column.name + "': " + malformed.what());
      }
    }
  }
  return table;
}

}  // namespace

const TableColumn* Table::find(std::string_view name) const {
  for (const TableColumn& column : columns) {
    if (column.name == name) {
      return &column;
    }
  }
  return nullptr;
}

Table parse_parquet(std::string_view bytes, const std::string& file) {
  try {
    Table table = read_table(bytes);
    table.file = file;
    return table;
  } catch (const Malformed& malformed) {
    throw Error(ErrorKind::bad_input,
                {{malformed.what(), Where{file, 0, 0, {}}, "a flat Parquet table is needed", {}}});
  }
}

Table read_parquet(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in || bytes.empty()) {
    throw Error(ErrorKind::bad_input,
                {{in ? "is empty" : "cannot be read", Where{path, 0, 0, {}}, {}, {}}});
  }
  return parse_parquet(bytes, path);
}

}  // namespace dyn::profiler
