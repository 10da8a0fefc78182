#include "dyn/core/schemas.h"
#include "report_metrics.h"

namespace dyn {

void describe(ObjectSchema<Metric>& s) {
  s.about("metric",
          "A figure over requests, in AIPerf's form. Percentiles interpolate linearly between "
          "order statistics. A derived figure has only avg.");
  s.field("unit", &Metric::unit, "Unit of the values.").required();
  s.field("avg", &Metric::avg, "Mean over requests, or the value of a derived figure.").required();
  for (const auto& [name, member] : detail::kStatistics) {
    const std::string text(name);
    const std::string doc = text == "min"   ? "Smallest value."
                            : text == "max" ? "Largest value."
                            : text == "sum" ? "Sum of the values."
                            : text == "std" ? "Standard deviation of the population."
                                            : "Percentile " + text.substr(1) + '.';
    s.field(text, member, doc).brief();
  }
  s.field("count", &Metric::count, "Number of values.").at_least(0).brief();
  s.field("interval", &Metric::interval, "Of avg, where the run is a prediction.")
      .unset("not a prediction");
  s.finish([](Metric& metric) {
    for (const detail::MetricInfo& info : detail::metric_infos()) {
      if (info.tag == metric.tag) {
        metric.header = info.header;
      }
    }
  });
}

void describe(ObjectSchema<ClassReport>& s) {
  s.about("class_report", "The figures of the requests of one class, under their names.");
  s.rest(&ClassReport::metrics, &Metric::tag, "any other key", "The figure of that name.");
}

void describe(ObjectSchema<Report>& s) {
  s.about("report",
          "The figures of a run, in the layout of AIPerf's profile_export_aiperf.json: an object "
          "per figure, under its name.");
  s.hex("fingerprint", &Report::fingerprint, "Hash of the simulated events; 0 for a served run.");
  s.keyed("classes", &Report::classes, &ClassReport::name,
          "Of each class of a mix, the figures of its requests.")
      .brief();
  s.rest(&Report::metrics, &Metric::tag, "any other key",
         "The figure of that name, such as time_to_first_token.");
}

const DocumentSchema& report_schema() {
  static const DocumentSchema schema = [] {
    DocumentSchema made = document_schema<Report>(
        "dyn.report", 1, "Reports",
        "A report holds the figures of a run, simulated or served, under AIPerf's names and by its "
        "definitions.");
    made.head = {{"schema_version", "AIPerf's schema whose layout it follows."},
                 {"dyn_version", "Version of dyn that wrote it."}};
    return made;
  }();
  return schema;
}

std::vector<const DocumentSchema*> core_schemas() {
  return {&recipe_schema(), &profile_schema(), &plan_schema(), &report_schema()};
}

}  // namespace dyn
