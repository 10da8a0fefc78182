#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "dyn/core/math.h"
#include "dyn/eval/report.h"

namespace dyn::eval {
namespace {

constexpr double kSide = 340;   ///< pixels of a plot
constexpr double kMargin = 46;  ///< for its labels
constexpr double kDecades = 2.302585092994046;
constexpr std::array<const char*, 8> kColours{"#1f77b4", "#d62728", "#2ca02c", "#9467bd",
                                              "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"};

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

struct Dot {
  double measured = 0;
  double predicted = 0;
  std::string colour;
  std::string title;
};

/// Predicted over measured on logarithmic axes of whole decades.
std::string scatter(const std::string& title, const std::vector<Dot>& dots) {
  if (dots.empty()) {
    return {};
  }
  double least = dots.front().measured;
  double most = least;
  for (const Dot& dot : dots) {
    least = std::min({least, dot.measured, dot.predicted});
    most = std::max({most, dot.measured, dot.predicted});
  }
  const double low = std::floor(portable_log(least) / kDecades);
  const double high = std::max(low + 1, std::ceil(portable_log(most) / kDecades));
  const auto at = [&](double x) {
    return (portable_log(x) / kDecades - low) / (high - low) * kSide;
  };
  std::string out = fmt::format(
      "<figure><figcaption>{}</figcaption><svg width=\"{:.0f}\" height=\"{:.0f}\" role=\"img\" "
      "aria-label=\"{}\">\n",
      escape(title), kSide + 2 * kMargin, kSide + 2 * kMargin, escape(title));
  out += fmt::format("<g transform=\"translate({0:.0f},{0:.0f})\">", kMargin);
  out += fmt::format("<rect width=\"{0:.0f}\" height=\"{0:.0f}\" class=\"frame\"/>", kSide);
  for (double decade = low; decade <= high; ++decade) {
    const double x = (decade - low) / (high - low) * kSide;
    const std::string label = fmt::format("{:.6g}", portable_exp(decade * kDecades));
    out += fmt::format(
        "<path class=\"grid\" d=\"M{0:.1f} 0V{1:.0f}M0 {2:.1f}H{1:.0f}\"/>"
        "<text x=\"{0:.1f}\" y=\"{3:.0f}\" text-anchor=\"middle\">{4}</text>"
        "<text x=\"-6\" y=\"{5:.1f}\" text-anchor=\"end\">{4}</text>",
        x, kSide, kSide - x, kSide + 16, label, kSide - x + 4);
  }
  out += fmt::format("<path class=\"equal\" d=\"M0 {0:.0f}L{0:.0f} 0\"/>\n", kSide);
  for (const Dot& dot : dots) {
    out += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"><title>{}: measured {:.4g} ms, "
        "predicted {:.4g} ms</title></circle>\n",
        at(dot.measured), kSide - at(dot.predicted), dot.colour, escape(dot.title), dot.measured,
        dot.predicted);
  }
  out += fmt::format(
      "<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"middle\">measured, ms</text>"
      "<text transform=\"translate(-36,{:.0f}) rotate(-90)\" text-anchor=\"middle\">predicted, "
      "ms</text></g></svg></figure>\n",
      kSide / 2, kSide + 34, kSide / 2);
  return out;
}

/// One pair of plots, dots coloured by a property, with its legend.
template <class Property>
std::string plots(const std::vector<EvaluatedRow>& rows, const char* name, Property property) {
  std::vector<std::string> values;
  for (const EvaluatedRow& row : rows) {
    if (row.measured() && row.answer) {
      values.push_back(property(row.row));
    }
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  const auto colour = [&](const std::string& value) {
    const auto index = std::lower_bound(values.begin(), values.end(), value) - values.begin();
    return kColours[static_cast<std::size_t>(index) % kColours.size()];
  };
  std::vector<Dot> ttft;
  std::vector<Dot> tpot;
  for (const EvaluatedRow& row : rows) {
    if (row.measured() && row.answer) {
      const std::string shade = colour(property(row.row));
      ttft.push_back({*row.row.ttft_ms, row.answer->ttft.value, shade, row.row.id});
      tpot.push_back({*row.row.tpot_ms, row.answer->tpot.value, shade, row.row.id});
    }
  }
  std::string out = fmt::format("<h2>By {}</h2>\n<p class=\"legend\">", name);
  for (const std::string& value : values) {
    out += fmt::format("<span style=\"color:{}\">&#9679; {}</span> ", colour(value), escape(value));
  }
  return out + "</p>\n<div class=\"plots\">" + scatter("TTFT", ttft) + scatter("TPOT", tpot) +
         "</div>\n";
}

std::string table_of(const TitledAccuracy& titled) {
  const Accuracy& a = titled.accuracy;
  std::string out = fmt::format(
      "<h2>{}</h2>\n<p>{} rows, {} complete, {} answered, {} of them measured. Errors in per cent "
      "of what was measured.</p>\n<table><thead><tr><th rowspan=\"2\">slice</th><th "
      "rowspan=\"2\">rows</th><th colspan=\"4\">TTFT</th><th colspan=\"4\">TPOT</th></tr><tr>",
      escape(titled.title), a.rows, a.complete, a.answered, a.measured);
  for (int i = 0; i < 2; ++i) {
    out += "<th>MAPE</th><th>median</th><th>bias</th><th>in 90 %</th>";
  }
  out += "</tr></thead><tbody>\n";
  for (const Slice& slice : a.slices) {
    out += fmt::format(
        "<tr><td>{}</td><td>{}</td>",
        escape(slice.property == "all" ? slice.property : slice.property + ' ' + slice.value),
        slice.rows);
    for (const ErrorSummary& s : {slice.ttft, slice.tpot}) {
      out += fmt::format("<td>{:.1f}</td><td>{:.1f}</td><td>{:+.1f}</td><td>{:.1f}</td>",
                         100 * s.mean_absolute, 100 * s.median_absolute, 100 * s.bias,
                         100 * s.coverage);
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table>\n";
}

}  // namespace

std::string to_html(const std::vector<TitledAccuracy>& accuracies,
                    const std::vector<EvaluatedRow>& rows, const std::string& table) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Accuracy of dyn's "
      "predictions</title>\n<style>body{font:14px sans-serif;margin:2em;max-width:70em}"
      "table{border-collapse:collapse}td,th{padding:2px 8px;text-align:right}"
      "td:first-child{text-align:left}tbody tr:nth-child(odd){background:#f4f4f4}"
      ".plots{display:flex;flex-wrap:wrap}figure{margin:0}svg text{font-size:11px}"
      ".frame{fill:none;stroke:#444}.grid{stroke:#ddd;fill:none}.equal{stroke:#444;fill:none}"
      "circle{fill-opacity:.6}.legend span{margin-right:1em}</style></head><body>\n";
  out += fmt::format("<h1>Predicted and measured</h1>\n<p>Table: {}</p>\n", escape(table));
  out += plots(rows, "engine", [](const MeasuredRow& row) { return row.engine; });
  out += plots(rows, "system", [](const MeasuredRow& row) { return row.system; });
  out += plots(rows, "concurrency",
               [](const MeasuredRow& row) { return concurrency_band(row.in_flight()); });
  for (const TitledAccuracy& titled : accuracies) {
    out += table_of(titled);
  }
  return out + "</body></html>\n";
}

}  // namespace dyn::eval
