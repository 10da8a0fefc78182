#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <string>
#include <utility>

#include "document_impl.h"

namespace dyn {
namespace {

Mark to_mark(const YAML::Mark& mark) {
  return mark.is_null() ? Mark{} : Mark{mark.line, mark.column};
}

/// Turns yaml-cpp's events into the tree. What dyn does not take is a problem, with a value in
/// its place, so that reading goes on.
class Handler final : public YAML::EventHandler {
 public:
  Handler(TreeBuilder& builder, const Source& source) : builder_(builder), source_(source) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    builder_.problem(to_mark(mark), "anchors are not supported: '&" + name + "'",
                     "write the value where it is used");
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    if (within_key_ > 0) {
      return;
    }
    if (builder_.wants_key()) {
      builder_.problem(to_mark(mark), "a key is empty");
      builder_.key({}, to_mark(mark));
    } else {
      builder_.scalar(NodeKind::null, {}, false, to_mark(mark));
    }
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    builder_.problem(to_mark(mark), "aliases are not supported", "write the value again");
    OnScalar(mark, "!", 0, {});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    check_tag(mark, tag);
    if (within_key_ > 0) {
      return;
    }
    if (builder_.wants_key()) {
      builder_.key(value, to_mark(mark));
      return;
    }
    const bool quoted = tag == "!";
    if (quoted && !is_closed(mark)) {  // yaml-cpp takes the rest of the file for its text
      throw YAML::ParserException(mark, "end of quoted text not found");
    }
    builder_.scalar(quoted ? NodeKind::text : classify_plain(value), value, quoted, to_mark(mark));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    begin(NodeKind::list, mark, tag);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    begin(NodeKind::object, mark, tag);
  }
  void OnMapEnd() override { end(); }

 private:
  void begin(NodeKind kind, const YAML::Mark& mark, const std::string& tag) {
    check_tag(mark, tag);
    if (within_key_ > 0) {
      ++within_key_;
    } else if (builder_.wants_key()) {
      // Stepped over: an unclosed bracket looks so, too, and then the parser says that at the end.
      builder_.problem(to_mark(mark), "a key must be text, not " + std::string(to_text(kind)));
      within_key_ = 1;
    } else {
      builder_.begin(kind, to_mark(mark));
    }
  }
  void end() {
    if (within_key_ == 0) {
      builder_.end();
    } else if (--within_key_ == 0) {
      builder_.key({}, Mark{});
    }
  }
  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      builder_.problem(to_mark(mark), "tags are not supported: '" + tag + "'", "leave it out");
    }
  }

  /// Whether the quote that opens at `mark` is closed somewhere; true where none opens there.
  bool is_closed(const YAML::Mark& mark) const {
    const Mark at = to_mark(mark);
    const std::string& text = source_.text;
    std::size_t i = at.line < static_cast<int>(source_.lines.size())
                        ? source_.lines[static_cast<std::size_t>(at.line)]
                        : text.size();
    for (int column = 0; column < at.column && i < text.size(); ++i) {
      // Columns count characters: the bytes of one that continue it do not.
      column +=
          i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xC0) == 0x80 ? 0 : 1;
    }
    const char quote = i < text.size() ? text[i] : '\0';
    if (quote != '"' && quote != '\'') {
      return true;
    }
    while (++i < text.size()) {
      if (text[i] == '\\' && quote == '"') {
        ++i;
      } else if (text[i] == quote) {
        return true;
      }
    }
    return false;
  }

  TreeBuilder& builder_;
  const Source& source_;
  int within_key_ = 0;  ///< levels of lists and objects open within a key
};

/// Behind the last character that is no blank.
Mark end_of(const Source& source) {
  const std::size_t last = source.text.find_last_not_of(" \t\r\n");
  return source.mark_at(last == std::string::npos ? 0 : last + 1);
}

/// What yaml-cpp's message means for the text around it.
std::string hint_for(const Source& source, Mark mark, const std::string& message) {
  const std::string_view line = source.line(mark.line);
  const std::size_t indent = std::min(line.find_first_not_of(" \t"), line.size());
  if (line.substr(0, indent).find('\t') != std::string_view::npos) {
    return "indent with spaces, not tabs";
  }
  const bool unclosed = message.starts_with("end of ") || message.find("EOF") != std::string::npos;
  if (unclosed && end_of(source).line <= mark.line) {
    return "the file may be truncated";
  }
  if (message.find("illegal map value") != std::string::npos) {
    return "quote text that holds ': '";
  }
  return {};
}

}  // namespace

NodeData* parse_yaml(Document::Impl& document, std::uint32_t index) {
  TreeBuilder builder(document, index);
  const Source& source = document.sources[index];
  try {
    std::istringstream stream(source.text);
    YAML::Parser parser(stream);
    Handler handler(builder, source);
    if (parser.HandleNextDocument(handler)) {
      struct Ignore final : YAML::EventHandler {
        void OnDocumentStart(const YAML::Mark& m) override { mark = m; }
        void OnDocumentEnd() override {}
        void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
        void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
        void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                      const std::string&) override {}
        void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                             YAML::EmitterStyle::value) override {}
        void OnSequenceEnd() override {}
        void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                        YAML::EmitterStyle::value) override {}
        void OnMapEnd() override {}
        YAML::Mark mark;
      } second;
      if (parser.HandleNextDocument(second)) {
        builder.problem(to_mark(second.mark), "a second document begins here",
                        "one file holds one document");
      }
    }
  } catch (const YAML::Exception& e) {
    Mark mark = to_mark(e.mark);
    const Mark end = end_of(source);
    if (e.msg == "end of quoted text not found") {
      throw error_at(source, mark, "this is not valid YAML: " + e.msg, "the file may be truncated");
    }
    if (e.msg.starts_with("end of ") &&
        ((mark.line == 0 && mark.column == 0) || mark.line > end.line)) {
      mark = end;  // where the text ends, yaml-cpp gives its beginning or a line behind it
    }
    throw error_at(source, mark, "this is not valid YAML: " + e.msg, hint_for(source, mark, e.msg));
  }
  return builder.finish();
}

}  // namespace dyn
