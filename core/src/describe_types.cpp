#include "dyn/core/describe_types.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "dyn/core/check.h"
#include "dyn/core/error.h"

namespace dyn {
namespace {

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

/// "did you mean" if a candidate is near, else all of them, as `intro` names them.
std::string suggest(const std::string& word, const std::vector<std::string>& candidates,
                    const std::string& intro) {
  if (const auto near = nearest(word, candidates)) {
    return "did you mean '" + *near + "'?";
  }
  return intro + join(candidates);
}

std::string compact(const Type& type, const void* value) {
  JsonWriter writer(std::numeric_limits<std::size_t>::max());
  type.write(value, writer);
  return writer.finish();
}

/// The first sentence of a field's documentation, without its full stop: a hint.
std::string first_sentence(const std::string& doc) {
  const std::size_t stop = doc.find(". ");
  std::string text = doc.substr(0, stop);
  if (text.ends_with('.')) {
    text.pop_back();
  }
  return text;
}

}  // namespace

std::string value_text(const Type& type, const void* value) {
  std::string text = compact(type, value);
  if (text.size() >= 2 && text.front() == '"') {
    return text.substr(1, text.size() - 2);
  }
  return text;
}

void EnumType::add(int value, std::string text, std::string doc) {
  values_.push_back(Value{value, std::move(text), std::move(doc)});
}

std::vector<std::string> EnumType::texts() const {
  std::vector<std::string> texts;
  for (const Value& value : values_) {
    texts.push_back(value.text);
  }
  return texts;
}

std::optional<int> EnumType::find(std::string_view text) const {
  for (const Value& value : values_) {
    if (value.text == text) {
      return value.value;
    }
  }
  return std::nullopt;
}

const std::string& EnumType::text_of(int value) const {
  for (const Value& candidate : values_) {
    if (candidate.value == value) {
      return candidate.text;
    }
  }
  DYN_ASSERT(false, "every enumerator has a text");
  return values_.front().text;
}

void EnumType::read(const Node& node, void* target, Problems& problems) const {
  const auto text = node.as_text();
  const auto value = text ? find(*text) : std::nullopt;
  if (!value) {
    const auto near = text ? nearest(*text, texts()) : std::nullopt;
    problems.add(node, "expected one of " + join(texts()) + "; got " + node.quote(),
                 near ? "did you mean '" + *near + "'?" : std::string());
    return;
  }
  set(target, *value);
}

void EnumType::write(const void* source, Writer& writer) const {
  writer.text(text_of(get(source)));
}

void EnumType::write_schema(Writer& writer) const {
  writer.key("enum");
  writer.begin_list();
  for (const Value& value : values_) {
    writer.text(value.text);
  }
  writer.end_list();
}

std::string EnumType::what() const {
  return "one of " + join(texts());
}

void ListType::read(const Node& node, void* target, Problems& problems) const {
  if (!node.is_list()) {
    problems.add(node, "expected " + what() + ", got " + node.quote(),
                 node.is_object() ? std::string() : "write it in brackets: [...]");
    return;
  }
  clear(target);
  for (const Node& item : node.children()) {
    item_.read(item, add(target), problems);
  }
}

void ListType::write(const void* source, Writer& writer) const {
  writer.begin_list();
  for (std::size_t i = 0; i < size(source); ++i) {
    item_.write(at(source, i), writer);
  }
  writer.end_list();
}

void ListType::write_schema(Writer& writer) const {
  writer.member("type", "array");
  writer.key("items");
  writer.begin_object();
  item_.write_schema(writer);
  writer.end_object();
}

std::string ListType::what() const {
  std::string item = item_.what();
  for (const std::string_view article : {"a ", "an "}) {
    if (item.starts_with(article)) {
      item.erase(0, article.size());
      return "a list of " + item + 's';
    }
  }
  return item == "text" ? "a list of texts" : "a list, each " + item;
}

void MapType::read(const Node& node, void* target, Problems& problems) const {
  if (!node.is_object()) {
    problems.add(node, "expected an object, got " + node.quote());
    return;
  }
  read_entries(node.children(), target, problems);
}

void MapType::read_entries(const std::vector<Node>& members, void* target,
                           Problems& problems) const {
  clear(target);
  for (const Node& member : members) {
    if (keys_ != nullptr && !keys_->find(member.key())) {
      problems.add_at_key(member, "unknown key '" + member.key() + '\'',
                          suggest(member.key(), keys_->texts(), "the keys here are "));
      continue;
    }
    item_.read(member, add(target, member.key()), problems);
  }
}

void MapType::write(const void* source, Writer& writer) const {
  writer.begin_object();
  write_entries(source, writer);
  writer.end_object();
}

void MapType::write_entries(const void* source, Writer& writer) const {
  visit(source, [&](const std::string& key, const void* item) {
    writer.key(key);
    item_.write(item, writer);
  });
}

void MapType::write_schema(Writer& writer) const {
  writer.member("type", "object");
  writer.key("additionalProperties");
  writer.begin_object();
  item_.write_schema(writer);
  writer.end_object();
  if (keys_ != nullptr) {
    writer.key("propertyNames");
    writer.begin_object();
    keys_->write_schema(writer);
    writer.end_object();
  }
}

std::string MapType::what() const {
  return "an object";
}

std::string Field::range() const {
  std::string low;
  std::string high;
  std::string other;
  bool open = false;
  for (const Limit& limit : limits) {
    switch (limit.kind) {
      case Limit::at_least:
        low = limit.text;
        break;
      case Limit::above:
        low = limit.text;
        open = true;
        break;
      case Limit::at_most:
        high = limit.text;
        break;
      case Limit::not_empty:
        other = "that is not empty";
        break;
    }
  }
  if (low.empty()) {
    return high.empty() ? other : "of at most " + high;
  }
  if (high.empty()) {
    return (open ? "above " : "of at least ") + low;
  }
  return open ? "above " + low + " and at most " + high : "from " + low + " to " + high;
}

bool Checker::has(std::string_view key) const {
  const auto member = object_.find(key);
  return member && !member->is_null();
}

void Checker::error(std::string_view key, std::string message, std::string hint) {
  const auto member = object_.find(key);
  problems_.add(member ? *member : object_, std::move(message), std::move(hint));
}

void Checker::error(std::string_view key, std::size_t index, std::string message,
                    std::string hint) {
  const auto member = object_.find(key);
  const bool has_item = member && index < member->size();
  problems_.add(has_item ? member->at(index)
                : member ? *member
                         : object_,
                std::move(message), std::move(hint));
}

void ObjectType::set_about(std::string name, std::string doc) {
  name_ = std::move(name);
  doc_ = std::move(doc);
}

std::size_t ObjectType::add_field(Field field) {
  fields_.push_back(std::move(field));
  return fields_.size() - 1;
}

void ObjectType::add_rule(std::function<void(const void*, Checker&)> rule) {
  rules_.push_back(std::move(rule));
}

const Type& ObjectType::own(std::unique_ptr<Type> type) {
  owned_.push_back(std::move(type));
  return *owned_.back();
}

void ObjectType::read(const Node& node, void* target, Problems& problems) const {
  read_members(node, target, {}, problems);
}

void ObjectType::read_field(const Field& field, const Node& node, void* target,
                            Problems& problems) const {
  const std::size_t before = problems.size();
  void* member = field.get(target);
  field.type->read(node, member, problems);
  if (problems.size() != before) {
    return;
  }
  field.leaves(member, node, [&](const void* leaf, const Node& at) {
    for (const Limit& limit : field.limits) {
      if (!limit.holds(leaf)) {
        const std::string example = field.leaf->example();
        problems.add(at, "expected " + field.leaf->what() + ' ' + field.range() +
                             (example.empty() ? "" : " such as \"" + example + '"') + ", got " +
                             at.quote());
        return;
      }
    }
  });
}

/// Members that no field names: the entries of a field that takes the rest, or errors.
void ObjectType::read_rest(const Node& node, void* target, const std::vector<std::string>& header,
                           Problems& problems) const {
  std::vector<std::string> keys;
  const Field* rest = nullptr;
  for (const Field& field : fields_) {
    if (field.rest != nullptr) {
      rest = &field;
    } else {
      keys.push_back(field.key);
    }
  }
  std::vector<Node> others;
  for (const Node& member : node.children()) {
    if (!contains(header, member.key()) && !contains(keys, member.key())) {
      others.push_back(member);
    }
  }
  if (rest != nullptr) {
    rest->rest->read_entries(others, rest->get(target), problems);
    return;
  }
  for (const Node& member : others) {
    problems.add_at_key(member, "unknown key '" + member.key() + '\'',
                        suggest(member.key(), keys, "the keys here are "));
  }
}

void ObjectType::read_members(const Node& node, void* target,
                              const std::vector<std::string>& header, Problems& problems) const {
  if (!node.is_object()) {
    problems.add(node, "expected an object with the keys of " + name_ + ", got " + node.quote());
    return;
  }
  const std::size_t before = problems.size();
  for (const Field& field : fields_) {
    if (field.rest != nullptr) {
      continue;
    }
    const auto member = node.find(field.key);
    if (member && !member->is_null()) {
      read_field(field, *member, target, problems);
    } else if (field.required) {
      problems.add_at_key(
          member ? *member : node, "missing key '" + field.key + '\'',
          first_sentence(field.doc) + (field.example.empty() ? "" : ", such as " + field.example));
    }
  }
  read_rest(node, target, header, problems);
  if (problems.size() != before) {
    return;
  }
  if (finish_) {
    finish_(target);
  }
  Checker checker(node, problems);
  for (const auto& rule : rules_) {
    rule(target, checker);
  }
}

void ObjectType::write(const void* source, Writer& writer) const {
  writer.begin_object();
  write_members(source, writer);
  writer.end_object();
}

void ObjectType::write_members(const void* source, Writer& writer) const {
  for (const Field& field : fields_) {
    const void* value = field.get_const(source);
    if (field.rest != nullptr) {
      field.rest->write_entries(value, writer);
      continue;
    }
    if (field.type->absent(value)) {
      continue;
    }
    if (field.brief &&
        compact(*field.type, value) == compact(*field.type, field.get_const(defaults_))) {
      continue;
    }
    writer.key(field.key);
    field.type->write(value, writer);
  }
}

void ObjectType::write_schema(Writer& writer) const {
  writer.member("$ref", "#/$defs/" + name_);
}

}  // namespace dyn
