#include "dyn/core/document.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "document_impl.h"
#include "dyn/core/node.h"

namespace dyn {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

[[noreturn]] void cannot_read(const std::string& path, const std::string& why, std::string hint) {
  throw Error(
      ErrorKind::bad_input,
      {ErrorItem{"cannot read the file: " + why, Where{path, 0, 0, {}}, std::move(hint), {}}});
}

/// The nearest name in the folder of a file that is not there.
std::string similar_file(const std::string& path) {
  const std::filesystem::path wanted(path);
  const std::filesystem::path folder = wanted.has_parent_path() ? wanted.parent_path() : ".";
  std::vector<std::string> names;
  std::error_code ignored;
  for (std::filesystem::directory_iterator it(folder, ignored), end; !ignored && it != end;
       it.increment(ignored)) {
    names.push_back(it->path().filename().string());
    if (names.size() == 1000) {
      break;
    }
  }
  std::sort(names.begin(), names.end());
  const auto near = nearest(wanted.filename().string(), names);
  if (!near) {
    return {};
  }
  return "did you mean '" + (wanted.has_parent_path() ? (folder / *near).string() : *near) + "'?";
}

std::string read_text(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    cannot_read(path, "it is a folder", {});
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file) {
    const int code = errno;
    cannot_read(path, std::strerror(code), code == ENOENT ? similar_file(path) : std::string());
  }
  std::string text;
  char buffer[1 << 16];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, file.get())) {
    text.append(buffer, got);
    if (text.size() > Document::kMaxBytes) {
      break;  // parse() says so
    }
  }
  if (std::ferror(file.get()) != 0) {
    cannot_read(path, std::strerror(errno), {});
  }
  return text;
}

/// Length of the well-formed UTF-8 sequence at `i`, 0 if there is none.
std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) -> unsigned {
    return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U;
  };
  const auto tail = [&](std::size_t k) { return (byte(k) & 0xC0U) == 0x80U; };
  const unsigned first = byte(i);
  if (first < 0x80) {
    return 1;
  }
  if (first >= 0xC2 && first <= 0xDF && tail(i + 1)) {
    return 2;
  }
  if (first >= 0xE0 && first <= 0xEF && tail(i + 1) && tail(i + 2)) {
    const unsigned code = (first & 0xFU) << 12 | (byte(i + 1) & 0x3FU) << 6 | (byte(i + 2) & 0x3FU);
    return code >= 0x800 && (code < 0xD800 || code > 0xDFFF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4 && tail(i + 1) && tail(i + 2) && tail(i + 3)) {
    const unsigned code = (first & 0x7U) << 18 | (byte(i + 1) & 0x3FU) << 12;
    return code >= 0x10000 && code <= 0x10FFFF ? 4 : 0;
  }
  return 0;
}

/// Rejects what no text file holds, so that the parsers need not be trusted with it.
void check_characters(const Source& source) {
  const std::string& text = source.text;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) {
      char code[8];
      std::snprintf(code, sizeof code, "0x%02X", c);
      throw error_at(source, source.mark_at(i), std::string("control character ") + code,
                     c == 0 ? "is this a text file?" : "");
    }
    const std::size_t length = utf8_length(text, i);
    if (length == 0) {
      throw error_at(source, source.mark_at(i), "this is not valid UTF-8", "save it as UTF-8");
    }
    i += length;
  }
}

NodeData* parse_source(Document::Impl& impl, std::uint32_t index) {
  Source& source = impl.sources[index];
  if (source.text.size() > Document::kMaxBytes) {
    throw Error(
        ErrorKind::bad_input,
        {ErrorItem{"the file is larger than " + std::to_string(Document::kMaxBytes >> 20) + " MiB",
                   Where{source.name, 0, 0, {}},
                   {},
                   {}}});
  }
  if (std::string_view(source.text).starts_with(kByteOrderMark)) {
    source.text.erase(0, kByteOrderMark.size());
  }
  source.index_lines();
  check_characters(source);
  const std::size_t first = source.text.find_first_not_of(" \t\r\n");
  const bool like_json =
      first != std::string::npos && (source.text[first] == '{' || source.text[first] == '[');
  NodeData* root = like_json ? parse_json(impl, index) : nullptr;
  return root != nullptr ? root : parse_yaml(impl, index);
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> keys(1);
  for (const char c : path) {
    if (c == '.') {
      keys.emplace_back();
    } else {
      keys.back() += c;
    }
  }
  return keys;
}

NodeData* child_of(const NodeData& node, const std::string& key) {
  for (NodeData* child : node.children) {
    if (child->key == key) {
      return child;
    }
  }
  return nullptr;
}

/// The member or item of `node` that a path names, created if it is not there.
NodeData* step_into(Document::Impl& impl, NodeData& node, const std::string& key,
                    std::uint32_t source, const std::string& assignment) {
  const auto usage = [&](const std::string& why) {
    return Error(ErrorKind::usage, "--set " + assignment + ": " + why);
  };
  if (node.kind == NodeKind::null) {
    node.kind = NodeKind::object;
  }
  const auto create = [&]() -> NodeData* {
    NodeData& child = impl.nodes.emplace_back();
    child.parent = &node;
    child.source = source;
    node.children.push_back(&child);
    return &child;
  };
  if (node.kind == NodeKind::object) {
    if (NodeData* child = child_of(node, key)) {
      return child;
    }
    NodeData* child = create();
    child->has_key = true;
    child->key = key;
    return child;
  }
  if (node.kind == NodeKind::list) {
    const bool digits = key.find_first_not_of("0123456789") == std::string::npos && key.size() < 7;
    const std::size_t index = digits ? std::stoul(key) : node.children.size() + 1;
    if (index > node.children.size()) {
      throw usage("the list has " + std::to_string(node.children.size()) + " items; '" + key +
                  "' is none of them and not the next");
    }
    return index < node.children.size() ? node.children[index] : create();
  }
  throw usage("'" + key + "' lies below a value that is " + std::string(to_text(node.kind)));
}

void replace(NodeData& target, NodeData& value) {
  target.kind = value.kind;
  target.quoted = value.quoted;
  target.source = value.source;
  target.mark = value.mark;
  target.key_mark = value.mark;
  target.text = std::move(value.text);
  target.children = std::move(value.children);
  for (NodeData* child : target.children) {
    child->parent = &target;
  }
}

}  // namespace

Document::Document() : impl_(std::make_unique<Impl>()) {}
Document::~Document() = default;
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;

const std::string& Document::name() const {
  return impl_->sources.front().name;
}
const std::string& Document::text() const {
  return impl_->sources.front().text;
}
Node Document::root() const {
  return Node(*impl_, *impl_->root);
}

Document Document::read_file(const std::string& path) {
  return parse(read_text(path), path);
}

Document Document::read_file(const std::string& path, Problems& problems) {
  Document document = parse_on(read_text(path), path);
  for (ErrorItem& item : document.impl_->problems) {
    problems.add(std::move(item));
  }
  document.impl_->problems.clear();
  return document;
}

Document Document::parse(std::string text, std::string name) {
  Document document = parse_on(std::move(text), std::move(name));
  if (!document.impl_->problems.empty()) {
    throw Error(ErrorKind::bad_input, std::move(document.impl_->problems));
  }
  return document;
}

Document Document::parse_on(std::string text, std::string name) {
  Document document;
  document.impl_->sources.push_back(Source{std::move(name), std::move(text), {}, false});
  document.impl_->root = parse_source(*document.impl_, 0);
  return document;
}

void Document::set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(ErrorKind::usage, "--set " + assignment + ": expected key.path=value",
                "such as --set traffic.rate=8/s");
  }
  const std::vector<std::string> keys = split_path(assignment.substr(0, equals));
  for (const std::string& key : keys) {
    if (key.empty()) {
      throw Error(ErrorKind::usage, "--set " + assignment + ": a part of the path is empty");
    }
  }
  const auto source = static_cast<std::uint32_t>(impl_->sources.size());
  impl_->sources.push_back(Source{"--set " + assignment, assignment.substr(equals + 1), {}, true});
  const auto no_value = [&assignment](const ErrorItem& item) {
    return Error(ErrorKind::usage, "--set " + assignment + ": " + item.message, item.hint);
  };
  NodeData* value = nullptr;
  try {
    value = parse_source(*impl_, source);
  } catch (const Error& error) {
    throw no_value(error.items().front());
  }
  if (!impl_->problems.empty()) {
    throw no_value(impl_->problems.front());
  }
  NodeData* target = impl_->root;
  for (const std::string& key : keys) {
    target = step_into(*impl_, *target, key, source, assignment);
  }
  replace(*target, *value);
}

}  // namespace dyn
