#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dyn/core/json_writer.h"
#include "dyn/core/node.h"
#include "dyn/core/quantity.h"

/// What describe.h builds from declarations: type-erased readers and writers. Rooms that declare
/// schemas need describe.h alone.
namespace dyn {

class EnumType;
class MapType;
class ObjectType;
struct IntRange;

/// How values of one C++ type are read, written and described. Immutable once built.
class Type {
 public:
  virtual ~Type() = default;

  /// Reads into a value of the type; what is wrong is added to `problems`.
  virtual void read(const Node& node, void* target, Problems& problems) const = 0;
  virtual void write(const void* source, Writer& writer) const = 0;
  /// The members of its JSON Schema, written into an open object.
  virtual void write_schema(Writer& writer) const = 0;
  /// With its article, for messages and reference pages: "a duration".
  virtual std::string what() const = 0;
  /// How to write one, for reference pages and hints, such as 300 ms; empty if it is plain.
  virtual std::string example() const { return {}; }
  /// True for an optional without value.
  virtual bool absent(const void*) const { return false; }
  /// The type of the items of a list, map or optional; null for others.
  virtual const Type* inner() const { return nullptr; }
  virtual const ObjectType* as_object() const { return nullptr; }
  virtual const EnumType* as_enum() const { return nullptr; }

 protected:
  Type() = default;
  Type(const Type&) = delete;
  Type& operator=(const Type&) = delete;
};

/// A value in the form that messages and tables give it: JSON, but scalars without quotes.
std::string value_text(const Type& type, const void* value);

// Numbers, text and quantities.
const Type& scalar_type(const bool*);
const Type& scalar_type(const int*);
const Type& scalar_type(const std::int64_t*);
const Type& scalar_type(const std::uint64_t*);
const Type& scalar_type(const double*);
const Type& scalar_type(const std::string*);
const Type& scalar_type(const IntRange*);  ///< a bare N reads as 1-N
const Type& scalar_type(const Tokens*);    ///< a count: a bare number
const Type& scalar_type(const Bytes*);
const Type& scalar_type(const Duration*);
const Type& scalar_type(const BytesPerSec*);
const Type& scalar_type(const Flops*);
const Type& scalar_type(const FlopsPerSec*);
const Type& scalar_type(const TokensPerSec*);
const Type& scalar_type(const RequestsPerSec*);
const Type& scalar_type(const Watts*);
const Type& scalar_type(const Dollars*);
const Type& scalar_type(const DollarsPerHour*);
/// A std::uint64_t as 16 hexadecimal digits: hashes, which JSON numbers do not hold everywhere.
const Type& hex_type();

/// An enum with a text for each enumerator.
class EnumType : public Type {
 public:
  struct Value {
    int value;
    std::string text;
    std::string doc;
  };
  void add(int value, std::string text, std::string doc);
  const std::vector<Value>& values() const { return values_; }
  std::vector<std::string> texts() const;
  std::optional<int> find(std::string_view text) const;
  const std::string& text_of(int value) const;

  void read(const Node& node, void* target, Problems& problems) const override;
  void write(const void* source, Writer& writer) const override;
  void write_schema(Writer& writer) const override;
  std::string what() const override;
  const EnumType* as_enum() const override { return this; }

 private:
  virtual int get(const void* source) const = 0;
  virtual void set(void* target, int value) const = 0;
  std::vector<Value> values_;
};

/// Something that may be left out.
class WrapperType : public Type {
 public:
  explicit WrapperType(const Type& item) : item_(item) {}
  const Type& item() const { return item_; }
  void write_schema(Writer& writer) const override { item_.write_schema(writer); }
  std::string what() const override { return item_.what(); }
  std::string example() const override { return item_.example(); }
  const Type* inner() const override { return &item_; }

 private:
  const Type& item_;
};

/// A list of values of one type.
class ListType : public Type {
 public:
  explicit ListType(const Type& item) : item_(item) {}
  void read(const Node& node, void* target, Problems& problems) const override;
  void write(const void* source, Writer& writer) const override;
  void write_schema(Writer& writer) const override;
  std::string what() const override;
  const Type* inner() const override { return &item_; }

 private:
  virtual std::size_t size(const void* list) const = 0;
  virtual const void* at(const void* list, std::size_t index) const = 0;
  virtual void clear(void* list) const = 0;
  virtual void* add(void* list) const = 0;
  const Type& item_;
};

using EntryVisitor = std::function<void(const std::string& key, const void* item)>;

/// An object with keys of the writer's choice, or of an enum.
class MapType : public Type {
 public:
  MapType(const Type& item, const EnumType* keys) : item_(item), keys_(keys) {}
  void read(const Node& node, void* target, Problems& problems) const override;
  void write(const void* source, Writer& writer) const override;
  void write_schema(Writer& writer) const override;
  std::string what() const override;
  const Type* inner() const override { return &item_; }
  const EnumType* keys() const { return keys_; }

  /// The same without the object around: members alone.
  void read_entries(const std::vector<Node>& members, void* target, Problems& problems) const;
  void write_entries(const void* source, Writer& writer) const;

 private:
  virtual void visit(const void* map, const EntryVisitor& visitor) const = 0;
  virtual void clear(void* map) const = 0;
  virtual void* add(void* map, const std::string& key) const = 0;
  const Type& item_;
  const EnumType* keys_;
};

/// A bound on a field's values.
struct Limit {
  enum Kind { at_least, at_most, above, not_empty };
  Kind kind = at_least;
  std::string text;  ///< the bound, in the type's text form
  std::function<bool(const void* value)> holds;
};

using LeafVisitor = std::function<void(const void* leaf, const Node& node)>;

/// One field of a struct.
struct Field {
  std::string key;
  std::string doc;
  std::string reason;  ///< why the default is what it is
  std::string unset;   ///< what no value means
  std::string example;
  bool required = false;
  bool optional = false;
  bool brief = false;
  const MapType* rest = nullptr;  ///< the field takes all keys that no other one names
  const Type* type = nullptr;
  const Type* leaf = nullptr;  ///< of the innermost values, where there are limits
  std::vector<Limit> limits;
  std::function<void*(void* object)> get;
  std::function<void(const void* member, const Node& node, const LeafVisitor& visit)> leaves;

  const void* get_const(const void* object) const { return get(const_cast<void*>(object)); }
  /// The limits in words: "from 1 to 8", "above 0 s"; empty if there are none.
  std::string range() const;
};

/// What a rule across fields sees and says.
class Checker {
 public:
  Checker(const Node& object, Problems& problems) : object_(object), problems_(problems) {}
  /// Whether the text gives that key a value.
  bool has(std::string_view key) const;
  /// An error at the value of `key`, or at the object if it is not given.
  void error(std::string_view key, std::string message, std::string hint = {});
  /// The same at item `index` of a list.
  void error(std::string_view key, std::size_t index, std::string message, std::string hint = {});

 private:
  const Node& object_;
  Problems& problems_;
};

/// A struct: fields in order, and rules across them.
class ObjectType : public Type {
 public:
  explicit ObjectType(const void* defaults) : defaults_(defaults) {}

  void set_about(std::string name, std::string doc);
  std::size_t add_field(Field field);
  Field& field(std::size_t index) { return fields_[index]; }
  void add_rule(std::function<void(const void*, Checker&)> rule);
  void set_finish(std::function<void(void*)> finish) { finish_ = std::move(finish); }
  const Type& own(std::unique_ptr<Type> type);

  const std::string& name() const { return name_; }
  const std::string& doc() const { return doc_; }
  const std::vector<Field>& fields() const { return fields_; }
  const void* defaults() const { return defaults_; }

  void read(const Node& node, void* target, Problems& problems) const override;
  void write(const void* source, Writer& writer) const override;
  void write_schema(Writer& writer) const override;
  std::string what() const override { return "an object"; }
  const ObjectType* as_object() const override { return this; }

  /// The same as read and write without the braces around; `header` are keys to step over.
  void read_members(const Node& node, void* target, const std::vector<std::string>& header,
                    Problems& problems) const;
  void write_members(const void* source, Writer& writer) const;
  /// Properties, required keys and so on; `header` is the text of the `schema` key, if any, and
  /// `head` other keys of a file's head with what they say.
  void write_definition(Writer& writer, const std::string& header,
                        const std::vector<std::pair<std::string, std::string>>& head) const;

 private:
  void read_field(const Field& field, const Node& node, void* target, Problems& problems) const;
  void read_rest(const Node& node, void* target, const std::vector<std::string>& header,
                 Problems& problems) const;
  std::string name_;
  std::string doc_;
  const void* defaults_;
  std::vector<Field> fields_;
  std::vector<std::function<void(const void*, Checker&)>> rules_;
  std::function<void(void*)> finish_;
  std::vector<std::unique_ptr<Type>> owned_;
};

}  // namespace dyn
