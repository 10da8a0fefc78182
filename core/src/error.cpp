#include "dyn/core/error.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

namespace dyn {
namespace {

std::string render(const ErrorItem& item) {
  std::string text;
  if (item.where) {
    text += item.where->file;
    if (item.where->line > 0) {
      text += ':' + std::to_string(item.where->line);
      if (item.where->column > 0) {
        text += ':' + std::to_string(item.where->column);
      }
    }
    text += ": ";
  }
  text += "error: ";
  if (item.where && !item.where->path.empty()) {
    text += item.where->path + ": ";
  }
  text += item.message;
  if (!item.hint.empty()) {
    text += " (" + item.hint + ')';
  }
  if (!item.excerpt.empty()) {
    text += '\n' + item.excerpt;
  }
  return text;
}

std::string lower(const std::string& text) {
  std::string result = text;
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substitute}));
    }
  }
  return row[b.size()];
}

}  // namespace

Error::Error(ErrorKind kind, std::string message, std::string hint)
    : Error(kind, {ErrorItem{std::move(message), std::nullopt, std::move(hint), {}}}) {}

Error::Error(ErrorKind kind, std::vector<ErrorItem> items) : kind_(kind), items_(std::move(items)) {
  for (const ErrorItem& item : items_) {
    text_ += (text_.empty() ? "" : "\n") + render(item);
  }
}

std::optional<std::string> nearest(const std::string& word,
                                   const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(lower(word), lower(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace dyn
