#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "dyn/core/describe_types.h"
#include "dyn/core/node.h"

/// One declaration per schema. A struct is declared by a function that its namespace holds,
///
///   void describe(ObjectSchema<Traffic>& s) {
///     s.about("traffic", "What the requests look like and when they come.");
///     s.field("speedup", &Traffic::speedup, "Divides the trace's arrival times.")
///         .above(0.0).because("a trace is replayed as it was recorded");
///   }
///
/// and an enum by one that takes EnumSchema<E>&. Parsing with every error collected, writing,
/// JSON Schema, reference pages and the list of defaults all come from it. Defaults are those of
/// the value-initialised struct. Members may be bool, whole numbers, double, std::string, the
/// quantities, IntRange, enums, structs, and std::optional, std::vector and std::map (by text or
/// enum) of these.
namespace dyn {

template <class T>
class ObjectSchema;
template <class E>
class EnumSchema;

/// How values of T are read, written and described; made from the declaration at first use.
template <class T>
const Type& type_of();

/// The text of an enumerator, as files have it.
template <class E>
const std::string& enum_text(E value);

namespace detail {

template <class T>
struct Unwrap {
  using Leaf = T;
  static constexpr bool optional = false;
};
template <class T>
struct Unwrap<std::optional<T>> {
  using Leaf = typename Unwrap<T>::Leaf;
  static constexpr bool optional = true;
};
template <class T>
struct Unwrap<std::vector<T>> {
  using Leaf = typename Unwrap<T>::Leaf;
  static constexpr bool optional = false;
};
template <class K, class T>
struct Unwrap<std::map<K, T>> {
  using Leaf = typename Unwrap<T>::Leaf;
  static constexpr bool optional = false;
};

template <class T>
inline constexpr bool is_scalar =
    std::is_same_v<T, bool> || std::is_same_v<T, int> || std::is_same_v<T, std::int64_t> ||
    std::is_same_v<T, std::uint64_t> || std::is_same_v<T, double> ||
    std::is_same_v<T, std::string> || std::is_same_v<T, IntRange> || std::is_same_v<T, Tokens> ||
    std::is_same_v<T, Bytes> || std::is_same_v<T, Duration> || std::is_same_v<T, BytesPerSec> ||
    std::is_same_v<T, Flops> || std::is_same_v<T, FlopsPerSec> || std::is_same_v<T, TokensPerSec> ||
    std::is_same_v<T, RequestsPerSec> || std::is_same_v<T, Watts> || std::is_same_v<T, Dollars> ||
    std::is_same_v<T, DollarsPerHour>;

/// Calls `visit` with every innermost value of a member and the node it was read from.
template <class T>
void for_each_leaf(const T& value, const Node& node, const LeafVisitor& visit) {
  visit(&value, node);
}
template <class T>
void for_each_leaf(const std::optional<T>& value, const Node& node, const LeafVisitor& visit) {
  if (value) {
    for_each_leaf(*value, node, visit);
  }
}
template <class T>
void for_each_leaf(const std::vector<T>& value, const Node& node, const LeafVisitor& visit) {
  for (std::size_t i = 0; i < value.size() && i < node.size(); ++i) {
    for_each_leaf(value[i], node.at(i), visit);
  }
}
template <class K, class T>
void for_each_leaf(const std::map<K, T>& value, const Node& node, const LeafVisitor& visit) {
  for (const auto& [key, item] : value) {
    std::string name;
    if constexpr (std::is_enum_v<K>) {
      name = enum_text(key);
    } else {
      name = key;
    }
    if (const auto member = node.find(name)) {
      for_each_leaf(item, *member, visit);
    }
  }
}

template <class T>
class OptionalType final : public WrapperType {
 public:
  OptionalType() : WrapperType(type_of<T>()) {}
  void read(const Node& node, void* target, Problems& problems) const override {
    auto& value = *static_cast<std::optional<T>*>(target);
    item().read(node, &value.emplace(), problems);
  }
  void write(const void* source, Writer& writer) const override {
    const auto& value = *static_cast<const std::optional<T>*>(source);
    value ? item().write(&*value, writer) : writer.null();
  }
  bool absent(const void* source) const override {
    return !static_cast<const std::optional<T>*>(source)->has_value();
  }
};

template <class T>
class VectorType final : public ListType {
 public:
  VectorType() : ListType(type_of<T>()) {}

 private:
  std::size_t size(const void* list) const override { return of(list).size(); }
  const void* at(const void* list, std::size_t i) const override { return &of(list)[i]; }
  void clear(void* list) const override { static_cast<std::vector<T>*>(list)->clear(); }
  void* add(void* list) const override {
    return &static_cast<std::vector<T>*>(list)->emplace_back();
  }
  static const std::vector<T>& of(const void* list) {
    return *static_cast<const std::vector<T>*>(list);
  }
};

/// A list written as an object, each item under the key that one of its members holds.
template <class T>
class KeyedType final : public MapType {
 public:
  explicit KeyedType(std::string T::*key) : MapType(type_of<T>(), nullptr), key_(key) {}

 private:
  void visit(const void* map, const EntryVisitor& visitor) const override {
    for (const T& item : *static_cast<const std::vector<T>*>(map)) {
      visitor(item.*key_, &item);
    }
  }
  void clear(void* map) const override { static_cast<std::vector<T>*>(map)->clear(); }
  void* add(void* map, const std::string& key) const override {
    T& item = static_cast<std::vector<T>*>(map)->emplace_back();
    item.*key_ = key;
    return &item;
  }
  std::string T::*key_;
};

template <class T>
class TextMapType final : public MapType {
 public:
  TextMapType() : MapType(type_of<T>(), nullptr) {}

 private:
  using Map = std::map<std::string, T>;
  void visit(const void* map, const EntryVisitor& visitor) const override {
    for (const auto& [key, item] : *static_cast<const Map*>(map)) {
      visitor(key, &item);
    }
  }
  void clear(void* map) const override { static_cast<Map*>(map)->clear(); }
  void* add(void* map, const std::string& key) const override {
    return &(*static_cast<Map*>(map))[key];
  }
};

template <class E>
class TypedEnum final : public EnumType {
 public:
  TypedEnum() {
    EnumSchema<E> schema(*this);
    describe(schema);  // by argument-dependent look-up
  }

 private:
  int get(const void* source) const override {
    return static_cast<int>(*static_cast<const E*>(source));
  }
  void set(void* target, int value) const override {
    *static_cast<E*>(target) = static_cast<E>(value);
  }
};

template <class E>
const EnumType& enum_type() {
  static const TypedEnum<E> type;
  return type;
}

template <class E, class T>
class EnumMapType final : public MapType {
 public:
  EnumMapType() : MapType(type_of<T>(), &enum_type<E>()) {}

 private:
  using Map = std::map<E, T>;
  void visit(const void* map, const EntryVisitor& visitor) const override {
    for (const auto& [key, item] : *static_cast<const Map*>(map)) {
      visitor(enum_text(key), &item);
    }
  }
  void clear(void* map) const override { static_cast<Map*>(map)->clear(); }
  void* add(void* map, const std::string& key) const override {
    const auto value = enum_type<E>().find(key);
    return &(*static_cast<Map*>(map))[static_cast<E>(value.value())];
  }
};

template <class T>
class TypedObject final : public ObjectType {
 public:
  TypedObject() : ObjectType(&defaults()) {
    ObjectSchema<T> schema(*this);
    describe(schema);  // by argument-dependent look-up
  }

 private:
  static const T& defaults() {
    static const T value{};
    return value;
  }
};

template <class T>
struct MakeType {
  using type = std::conditional_t<std::is_enum_v<T>, TypedEnum<T>, TypedObject<T>>;
};
template <class T>
struct MakeType<std::optional<T>> {
  using type = OptionalType<T>;
};
template <class T>
struct MakeType<std::vector<T>> {
  using type = VectorType<T>;
};
template <class T>
struct MakeType<std::map<std::string, T>> {
  using type = TextMapType<T>;
};
template <class E, class T>
struct MakeType<std::map<E, T>> {
  using type = EnumMapType<E, T>;
};

}  // namespace detail

template <class T>
const Type& type_of() {
  if constexpr (detail::is_scalar<T>) {
    return scalar_type(static_cast<const T*>(nullptr));
  } else if constexpr (std::is_enum_v<T>) {
    return detail::enum_type<T>();
  } else {
    static const typename detail::MakeType<T>::type type;
    return type;
  }
}

template <class E>
const std::string& enum_text(E value) {
  return detail::enum_type<E>().text_of(static_cast<int>(value));
}

/// The enumerator of a text; none if there is none of it.
template <class E>
std::optional<E> enum_from_text(std::string_view text) {
  const auto value = detail::enum_type<E>().find(text);
  return value ? std::optional(static_cast<E>(*value)) : std::nullopt;
}

/// Declares an enum's texts.
template <class E>
class EnumSchema {
 public:
  explicit EnumSchema(EnumType& type) : type_(&type) {}
  EnumSchema& value(E value, std::string text, std::string doc) {
    type_->add(static_cast<int>(value), std::move(text), std::move(doc));
    return *this;
  }

 private:
  EnumType* type_;
};

/// What is said of a field beyond its key: each call adds to it and returns it.
template <class M>
class FieldSchema {
 public:
  using Leaf = typename detail::Unwrap<M>::Leaf;
  FieldSchema(ObjectType& type, std::size_t index) : type_(&type), index_(index) {}

  /// The key must be there.
  FieldSchema& required() { return field().required = true, *this; }
  /// Why the default is what it is; ends `default X because ...`.
  FieldSchema& because(std::string reason) { return field().reason = std::move(reason), *this; }
  /// What stands for "no value" in words, where the default is none.
  FieldSchema& unset(std::string meaning) { return field().unset = std::move(meaning), *this; }
  /// Not written where it equals the default, to keep files short.
  FieldSchema& brief() { return field().brief = true, *this; }
  /// Example text for hints and reference pages.
  FieldSchema& example(std::string text) { return field().example = std::move(text), *this; }

  FieldSchema& at_least(Leaf bound) {
    return limit(Limit::at_least, bound, [bound](const Leaf& v) { return v >= bound; });
  }
  FieldSchema& at_most(Leaf bound) {
    return limit(Limit::at_most, bound, [bound](const Leaf& v) { return v <= bound; });
  }
  FieldSchema& above(Leaf bound) {
    return limit(Limit::above, bound, [bound](const Leaf& v) { return v > bound; });
  }
  FieldSchema& between(Leaf low, Leaf high) { return at_least(low).at_most(high); }
  /// Text of at least one character.
  FieldSchema& not_empty() {
    static_assert(std::is_same_v<Leaf, std::string>);
    return limit(Limit::not_empty, {}, [](const Leaf& v) { return !v.empty(); });
  }

 private:
  Field& field() { return type_->field(index_); }
  template <class F>
  FieldSchema& limit(Limit::Kind kind, const Leaf& bound, F holds) {
    const Type& leaf = type_of<Leaf>();
    field().leaf = &leaf;
    field().limits.push_back(Limit{kind, value_text(leaf, &bound), [holds](const void* value) {
                                     return holds(*static_cast<const Leaf*>(value));
                                   }});
    return *this;
  }

  ObjectType* type_;
  std::size_t index_;
};

/// Declares a struct's fields, in the order in which they are written.
template <class T>
class ObjectSchema {
 public:
  explicit ObjectSchema(ObjectType& type) : type_(&type) {}

  /// What the struct is called in JSON Schema and reference pages, and what it is.
  void about(std::string name, std::string doc) {
    type_->set_about(std::move(name), std::move(doc));
  }

  template <class M>
  FieldSchema<M> field(std::string key, M T::*member, std::string doc) {
    return add<M>(std::move(key), member, std::move(doc), type_of<M>());
  }

  /// A list written as an object, each item under the key that its member `name` holds (which
  /// the item's own declaration leaves out).
  template <class Item>
  FieldSchema<std::vector<Item>> keyed(std::string key, std::vector<Item> T::*member,
                                       std::string Item::*name, std::string doc) {
    return add<std::vector<Item>>(std::move(key), member, std::move(doc),
                                  type_->own(std::make_unique<detail::KeyedType<Item>>(name)));
  }

  /// The same, but the items are members of the struct's own object, besides its other keys.
  template <class Item>
  void rest(std::vector<Item> T::*member, std::string Item::*name, std::string key,
            std::string doc) {
    auto type = std::make_unique<detail::KeyedType<Item>>(name);
    const MapType* map = type.get();
    const std::size_t index = type_->fields().size();
    add<std::vector<Item>>(std::move(key), member, std::move(doc), type_->own(std::move(type)));
    type_->field(index).rest = map;
  }

  /// A hash, written as hexadecimal digits.
  FieldSchema<std::uint64_t> hex(std::string key, std::uint64_t T::*member, std::string doc) {
    return add<std::uint64_t>(std::move(key), member, std::move(doc), hex_type());
  }

  /// Called with each value once it is read, to fill in what files leave out.
  void finish(std::function<void(T&)> complete) {
    type_->set_finish(
        [complete = std::move(complete)](void* value) { complete(*static_cast<T*>(value)); });
  }

  /// A rule across fields, checked where each field alone is right.
  void check(std::function<void(const T&, Checker&)> rule) {
    type_->add_rule([rule = std::move(rule)](const void* value, Checker& checker) {
      rule(*static_cast<const T*>(value), checker);
    });
  }

 private:
  template <class M>
  FieldSchema<M> add(std::string key, M T::*member, std::string doc, const Type& type) {
    Field field;
    field.key = std::move(key);
    field.doc = std::move(doc);
    field.type = &type;
    field.optional = detail::Unwrap<M>::optional;
    field.get = [member](void* object) -> void* { return &(static_cast<T*>(object)->*member); };
    field.leaves = [](const void* value, const Node& node, const LeafVisitor& visit) {
      detail::for_each_leaf(*static_cast<const M*>(value), node, visit);
    };
    return FieldSchema<M>(*type_, type_->add_field(std::move(field)));
  }

  ObjectType* type_;
};

/// A kind of file: `schema: <kind>/<version>` and the struct it holds.
struct DocumentSchema {
  std::string kind;  ///< such as dyn.plan
  int version = 1;
  std::string title;  ///< for its reference page
  std::string doc;    ///< who writes and who reads it; for its reference page
  const ObjectType* type = nullptr;
  /// Keys of the file's head that are no part of the struct, and what they say.
  std::vector<std::pair<std::string, std::string>> head;

  std::string id() const { return kind + '/' + std::to_string(version); }
};

template <class T>
DocumentSchema document_schema(std::string kind, int version, std::string title, std::string doc) {
  return {std::move(kind), version, std::move(title), std::move(doc), type_of<T>().as_object(), {}};
}

/// Reads a whole file into a struct. Throws Error(bad_input) with every problem found; a missing,
/// foreign or newer `schema` is the only one if there is that.
void read_document(const DocumentSchema& schema, const Document& document, void* target);
/// The same, but adds them to `problems`; throws only for `schema`.
void read_document(const DocumentSchema& schema, const Document& document, void* target,
                   Problems& problems);
/// Reads a file, and with what the schema finds reports what its text has wrong, such as a key
/// given twice.
void load_document(const DocumentSchema& schema, const std::string& path, void* target);
/// The file's text, newline at its end included; equal values give equal bytes.
std::string write_document(const DocumentSchema& schema, const void* source);

/// The JSON Schema (draft 2020-12) of a kind of file.
std::string json_schema(const DocumentSchema& schema);
/// Its reference page, in Markdown.
std::string reference_page(const DocumentSchema& schema);
/// A file made from schemas; `path` is relative to the project's root.
struct GeneratedFile {
  std::string path;
  std::string content;
};
/// docs/schema/<kind>.<version>.json and docs/reference/<name>.md of each, and an index of them.
/// The program dyn_docs writes them; a test fails where what is committed is something else.
std::vector<GeneratedFile> schema_docs(const std::vector<const DocumentSchema*>& schemas);

/// A field's default in words, and why it is that.
struct DefaultValue {
  std::string key;    ///< with its path, such as traffic.rate
  std::string value;  ///< as a file would say it, or what takes its place
  std::string reason;
};

/// Every field that has a default, in the order of the schema.
std::vector<DefaultValue> explain_defaults(const ObjectType& type);

}  // namespace dyn
