#include <algorithm>
#include <charconv>
#include <functional>

#include "dyn/core/check.h"
#include "dyn/core/describe.h"

namespace dyn {
namespace {

/// The structs that `type` is made of, each once, outermost first.
void collect(const Type& type, std::vector<const ObjectType*>& found) {
  if (const ObjectType* object = type.as_object()) {
    if (std::find(found.begin(), found.end(), object) != found.end()) {
      return;
    }
    found.push_back(object);
    for (const Field& field : object->fields()) {
      collect(*field.type, found);
    }
  } else if (const Type* inner = type.inner()) {
    collect(*inner, found);
  }
}

/// `T` of `optional<T>`, `list of T`, `map of T`, and so on inwards.
const Type& innermost(const Type& type) {
  const Type* inner = &type;
  while (inner->inner() != nullptr) {
    inner = inner->inner();
  }
  return *inner;
}

bool is_plain_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

void write_bounds(const Field& field, Writer& writer) {
  const bool direct =
      field.leaf == field.type || (field.optional && field.type->inner() == field.leaf);
  if (!direct) {
    return;
  }
  for (const Limit& limit : field.limits) {
    if (limit.kind == Limit::not_empty) {
      writer.key("minLength");
      writer.integer(1);
    } else if (is_plain_number(limit.text)) {
      writer.key(limit.kind == Limit::at_least  ? "minimum"
                 : limit.kind == Limit::at_most ? "maximum"
                                                : "exclusiveMinimum");
      writer.number(std::stod(limit.text));
    }
  }
}

std::string described(const Field& field) {
  std::string text = field.doc;
  if (const std::string range = field.range(); !range.empty() && field.leaf != nullptr) {
    text += " Must be " + field.leaf->what() + ' ' + range + '.';
  }
  if (!field.reason.empty()) {
    text += " Default: " + field.reason + '.';
  }
  return text;
}

/// Escapes what would break a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : text) {
    result += c == '|' ? "\\|" : c == '\n' ? " " : std::string(1, c);
  }
  return result;
}

std::string code(const std::string& text) {
  return '`' + text + '`';
}

/// What a value is, for the table: with a link where it is an object.
std::string value_cell(const Field& field) {
  const Type& leaf = innermost(*field.type);
  std::string text = field.type->what();
  if (const ObjectType* object = leaf.as_object()) {
    const std::string link = '[' + object->name() + "](#" + object->name() + ')';
    if (field.type->as_object() != nullptr || field.optional) {
      text = link;
    } else {
      text = dynamic_cast<const MapType*>(field.type) != nullptr ? "object of " + link
                                                                 : "list of " + link;
    }
  } else if (leaf.as_enum() != nullptr) {
    text.clear();
    for (const std::string& value : leaf.as_enum()->texts()) {
      text += (text.empty() ? "" : ", ") + code(value);
    }
    text = (field.type->as_enum() != nullptr || field.optional ? "one of " : "list of ") + text;
  } else if (const auto* map = dynamic_cast<const MapType*>(field.type)) {
    text = "object of " + map->inner()->what();
    if (map->keys() != nullptr) {
      text += " by " + map->keys()->what();
    }
  }
  if (const std::string range = field.range(); !range.empty()) {
    text += ' ' + range;
  }
  const std::string example = field.example.empty() ? leaf.example() : field.example;
  return text + (example.empty() ? "" : ", such as " + code(example));
}

std::string default_text(const Field& field, const ObjectType& owner) {
  const void* value = field.get_const(owner.defaults());
  if (field.type->absent(value)) {
    return {};
  }
  return value_text(*field.type, value);
}

std::string default_cell(const Field& field, const ObjectType& owner) {
  if (field.required) {
    return "**required**";
  }
  if (field.type->as_object() != nullptr) {
    return "";
  }
  const std::string text = default_text(field, owner);
  std::string result = text.empty() ? (field.unset.empty() ? "none" : field.unset) : code(text);
  if (!field.reason.empty()) {
    result += ": " + field.reason;
  }
  return result;
}

void explain(const ObjectType& type, const std::string& prefix, std::vector<DefaultValue>& out) {
  for (const Field& field : type.fields()) {
    const std::string path = prefix + field.key;
    if (const ObjectType* object = field.type->as_object()) {
      explain(*object, path + '.', out);
      continue;
    }
    if (field.required) {
      continue;
    }
    const std::string text = default_text(field, type);
    out.push_back(
        {path, text.empty() ? (field.unset.empty() ? "none" : field.unset) : text, field.reason});
  }
}

}  // namespace

void ObjectType::write_definition(
    Writer& writer, const std::string& header,
    const std::vector<std::pair<std::string, std::string>>& head) const {
  writer.member("type", "object");
  if (!doc_.empty()) {
    writer.member("description", doc_);
  }
  writer.key("properties");
  writer.begin_object();
  if (!header.empty()) {
    writer.key("schema");
    writer.begin_object();
    writer.member("const", header);
    writer.end_object();
  }
  for (const auto& [key, doc] : head) {
    writer.key(key);
    writer.begin_object();
    writer.member("type", "string");
    writer.member("description", doc);
    writer.end_object();
  }
  const MapType* rest = nullptr;
  for (const Field& field : fields_) {
    if (field.rest != nullptr) {
      rest = field.rest;
      continue;
    }
    writer.key(field.key);
    writer.begin_object();
    field.type->write_schema(writer);
    write_bounds(field, writer);
    writer.member("description", described(field));
    const void* value = field.get_const(defaults_);
    if (!field.required && field.type->as_object() == nullptr && !field.type->absent(value)) {
      writer.key("default");
      field.type->write(value, writer);
    }
    writer.end_object();
  }
  writer.end_object();
  writer.key("required");
  writer.begin_list();
  if (!header.empty()) {
    writer.text("schema");
  }
  for (const Field& field : fields_) {
    if (field.required) {
      writer.text(field.key);
    }
  }
  writer.end_list();
  writer.key("additionalProperties");
  if (rest == nullptr) {
    writer.boolean(false);
    return;
  }
  writer.begin_object();
  rest->inner()->write_schema(writer);
  writer.end_object();
}

std::string json_schema(const DocumentSchema& schema) {
  std::vector<const ObjectType*> objects;
  collect(*schema.type, objects);
  JsonWriter writer;
  writer.begin_object();
  writer.member("$schema", "https://json-schema.org/draft/2020-12/schema");
  writer.member("title", schema.id());
  schema.type->write_definition(writer, schema.id(), schema.head);
  writer.key("$defs");
  writer.begin_object();
  for (const ObjectType* object : objects) {
    if (object != schema.type) {
      writer.key(object->name());
      writer.begin_object();
      object->write_definition(writer, {}, {});
      writer.end_object();
    }
  }
  writer.end_object();
  writer.end_object();
  return writer.finish() + '\n';
}

std::string reference_page(const DocumentSchema& schema) {
  std::vector<const ObjectType*> objects;
  collect(*schema.type, objects);
  std::string page = "# " + schema.title + "\n\n" + schema.doc +
                     "\n\nFiles of this kind begin `schema: " + schema.id() +
                     "`; they may be YAML or JSON. Made from the schema that dyn "
                     "reads them with: change it there, not here.\n";
  std::vector<const EnumType*> shown;
  for (const ObjectType* object : objects) {
    page += "\n## " + object->name() + "\n\n" + object->doc() + "\n\n";
    page += "| Key | Value | Default | Meaning |\n|---|---|---|---|\n";
    if (object == schema.type) {
      for (const auto& [key, doc] : schema.head) {
        page += "| " + code(key) + " | text | | " + cell(doc) + " |\n";
      }
    }
    std::string enums;
    for (const Field& field : object->fields()) {
      page += "| " + (field.rest != nullptr ? "*" + field.key + '*' : code(field.key)) + " | " +
              cell(value_cell(field)) + " | " + cell(default_cell(field, *object)) + " | " +
              cell(field.doc) + " |\n";
      const EnumType* choices = innermost(*field.type).as_enum();
      if (choices == nullptr || std::find(shown.begin(), shown.end(), choices) != shown.end()) {
        continue;
      }
      shown.push_back(choices);
      enums += "\nThe values of " + code(field.key) + ":\n\n";
      for (const EnumType::Value& value : choices->values()) {
        enums += "- " + code(value.text) + ": " + value.doc + '\n';
      }
    }
    page += enums;
  }
  return page;
}

std::vector<GeneratedFile> schema_docs(const std::vector<const DocumentSchema*>& schemas) {
  std::vector<GeneratedFile> files;
  std::string index =
      "# Files\n\nThe files that dyn reads and writes. Each is declared once in the code; these "
      "pages, the JSON Schema files and the error messages come from there.\n\n"
      "| File | Schema | What it is |\n|---|---|---|\n";
  for (const DocumentSchema* schema : schemas) {
    const std::string name = schema->kind.substr(schema->kind.find('.') + 1);
    const std::string json = schema->kind + '.' + std::to_string(schema->version) + ".json";
    index += "| [" + schema->title + "](" + name + ".md) | [" + schema->id() + "](../schema/" +
             json + ") | " + cell(schema->doc) + " |\n";
    files.push_back({"docs/schema/" + json, json_schema(*schema)});
    files.push_back({"docs/reference/" + name + ".md", reference_page(*schema)});
  }
  files.push_back({"docs/reference/README.md", index});
  return files;
}

std::vector<DefaultValue> explain_defaults(const ObjectType& type) {
  std::vector<DefaultValue> defaults;
  explain(type, {}, defaults);
  return defaults;
}

}  // namespace dyn
