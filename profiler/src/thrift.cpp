#include "thrift.h"

namespace dyn::profiler {

std::uint8_t ByteCursor::byte() {
  return static_cast<std::uint8_t>(take(1)[0]);
}

std::string_view ByteCursor::take(std::size_t count) {
  if (count > bytes_.size()) {
    throw Malformed("it ends in the middle of a value; is it truncated?");
  }
  const std::string_view taken = bytes_.substr(0, count);
  bytes_.remove_prefix(count);
  return taken;
}

std::uint64_t ByteCursor::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const std::uint8_t part = byte();
    value |= static_cast<std::uint64_t>(part & 0x7F) << shift;
    if (part < 0x80) {
      return value;
    }
  }
  throw Malformed("a number of more than 64 bits");
}

std::uint32_t ByteCursor::word() {
  const std::string_view four = take(4);
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) {
    value |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(four[i])) << (8 * i);
  }
  return value;
}

std::int64_t ThriftReader::integer() {
  const std::uint64_t zigzag = cursor_.varint();
  return static_cast<std::int64_t>((zigzag >> 1) ^ (~(zigzag & 1) + 1));
}

std::string_view ThriftReader::binary() {
  return cursor_.take(cursor_.varint());
}

std::size_t ThriftReader::list_of(int type) {
  const std::uint8_t head = cursor_.byte();
  const std::size_t count = (head >> 4) == 15 ? cursor_.varint() : head >> 4;
  if ((head & 15) != type) {
    throw Malformed("a list of another type than the format says");
  }
  if (count > cursor_.left()) {
    throw Malformed("a list of more elements than there are bytes");
  }
  return count;
}

void ThriftReader::skip_elements(std::size_t count, int type) {
  if (count > cursor_.left()) {
    throw Malformed("a list of more elements than there are bytes");
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (type == kTrue || type == kFalse) {
      cursor_.byte();
    } else {
      skip(type);
    }
  }
}

void ThriftReader::skip(int type) {
  Deeper deeper(*this);
  switch (type) {
    case kTrue:
    case kFalse:
      return;
    case kByte:
      cursor_.byte();
      return;
    case kI16:
    case kI32:
    case kI64:
      cursor_.varint();
      return;
    case kDouble:
      cursor_.take(8);
      return;
    case kBinary:
      binary();
      return;
    case kList:
    case kSet: {
      const std::uint8_t head = cursor_.byte();
      skip_elements((head >> 4) == 15 ? cursor_.varint() : head >> 4, head & 15);
      return;
    }
    case kMap: {
      const std::uint64_t count = cursor_.varint();
      if (count == 0) {
        return;
      }
      const std::uint8_t types = cursor_.byte();
      if (count > cursor_.left()) {
        throw Malformed("a map of more elements than there are bytes");
      }
      for (std::uint64_t i = 0; i < count; ++i) {
        skip_elements(1, types >> 4);
        skip_elements(1, types & 15);
      }
      return;
    }
    case kStruct:
      structure([](int, int) { return false; });
      return;
    default:
      throw Malformed("metadata of an unknown type");
  }
}

}  // namespace dyn::profiler
