#include "correction_file.h"

#include <fmt/format.h>

#include "dyn/core/describe.h"
#include "dyn/core/document.h"

namespace dyn {

using eval::CentreFile;
using eval::CentreWeight;
using eval::CorrectionFile;
using eval::Descriptor;
using eval::KernelFile;

static void describe(ObjectSchema<KernelFile>& s) {
  s.about("kernel", "How alike the residuals of two deployments are expected to be.");
  s.field("weights", &KernelFile::weights, "Weight of the squared difference of each quantity.")
      .required()
      .at_least(0.0);
  s.field("amplitudes", &KernelFile::amplitudes,
          "Variance of what deployments that share some names have in common.")
      .required()
      .at_least(0.0);
  s.field("noise", &KernelFile::noise, "Variance of a measurement.").required().above(0.0);
}

static void describe(ObjectSchema<CentreWeight>& s) {
  s.about("centre_weight", "What one figure's residual has at a centre.");
  s.field("parts", &CentreWeight::parts, "Shares of what the predicted figure is made of.")
      .required();
  s.field("weight", &CentreWeight::weight, "Weight of the centre.").required();
  s.field("spread", &CentreWeight::spread, "Variance of the mean there.").required().at_least(0.0);
  s.check([](const CentreWeight& centre, Checker& checker) {
    if (centre.parts.size() != Descriptor::kParts) {
      checker.error("parts", "the number of parts is wrong");
    }
  });
}

static void describe(ObjectSchema<CentreFile>& s) {
  s.about("centre", "A place in the space of deployments at which weights are kept.");
  s.field("names", &CentreFile::names, "Engine, system, version, model, precision, setting.")
      .required();
  s.field("numbers", &CentreFile::numbers, "In the order of the kernel's weights as documented.")
      .required();
  s.field("ttft", &CentreFile::ttft, "Of TTFT.").required();
  s.field("tpot", &CentreFile::tpot, "Of TPOT.").required();
  s.check([](const CentreFile& centre, Checker& checker) {
    if (centre.names.size() != Descriptor::kNames) {
      checker.error("names", "the number of names is wrong");
    }
    if (centre.numbers.size() != Descriptor::kNumbers) {
      checker.error("numbers", "the number of quantities is wrong");
    }
  });
}

static void describe(ObjectSchema<CorrectionFile>& s) {
  s.about("correction", "Residuals of the latency model, fitted on measured deployments.");
  s.field("source", &CorrectionFile::source, "Where the measurements are from.").required();
  s.field("rows", &CorrectionFile::rows, "Measurements that it is fitted on.").required();
  s.field("ttft", &CorrectionFile::ttft, "Likeness of deployments by TTFT.").required();
  s.field("tpot", &CorrectionFile::tpot, "Likeness of deployments by TPOT.").required();
  s.field("centres", &CorrectionFile::centres, "Centres with their weights.").required();
}

}  // namespace dyn

namespace dyn::eval {
namespace {

const DocumentSchema& schema() {
  static const DocumentSchema schema = document_schema<CorrectionFile>(
      "dyn.correction", 2, "Corrections",
      "What measured deployments say that the latency model leaves out.");
  return schema;
}

/// Four digits: more would be noise.
std::string list_of(const std::vector<double>& values) {
  std::string out;
  for (const double x : values) {
    out += fmt::format("{}{:.4g}", out.empty() ? "" : ",", x);
  }
  return '[' + out + ']';
}

/// Names hold letters, digits and the punctuation of versions; what JSON would have to escape is
/// left out.
std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
      out += c;
    }
  }
  return out + '"';
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    out += (out.empty() ? "" : ",") + quoted(name);
  }
  return '[' + out + ']';
}

/// Weights of near centres cancel: they keep their digits.
std::string text_of(const CentreWeight& centre) {
  return fmt::format(R"({{"parts":{},"weight":{:.9g},"spread":{:.4g}}})", list_of(centre.parts),
                     centre.weight, centre.spread);
}

std::string text_of(const std::map<std::string, double>& values) {
  std::string out;
  for (const auto& [name, value] : values) {
    out += fmt::format("{}\n      \"{}\": {:.6g}", out.empty() ? "" : ",", name, value);
  }
  return '{' + out + "\n    }";
}

std::string text_of(const KernelFile& kernel) {
  return fmt::format(
      "{{\n    \"weights\": {},\n    \"amplitudes\": {},\n    \"noise\": {:.6g}\n  }}",
      text_of(kernel.weights), text_of(kernel.amplitudes), kernel.noise);
}

}  // namespace

KernelFile file_of(const Kernel& kernel) {
  KernelFile file;
  for (std::size_t i = 0; i < kernel.weights.size(); ++i) {
    file.weights[kDescriptorNumbers[i]] = kernel.weights[i];
  }
  for (std::size_t i = 0; i < kKernelTerms; ++i) {
    file.amplitudes[kTerms[i].text] = kernel.amplitudes[i];
  }
  file.noise = kernel.noise;
  return file;
}

Kernel kernel_of(const KernelFile& file) {
  Kernel kernel;
  for (std::size_t i = 0; i < kernel.weights.size(); ++i) {
    const auto found = file.weights.find(kDescriptorNumbers[i]);
    kernel.weights[i] = found != file.weights.end() ? found->second : 0;
  }
  for (std::size_t i = 0; i < kKernelTerms; ++i) {
    const auto found = file.amplitudes.find(kTerms[i].text);
    kernel.amplitudes[i] = found != file.amplitudes.end() ? found->second : 0;
  }
  kernel.noise = file.noise;
  return kernel;
}

std::string write_corrections(const CorrectionFile& file) {
  std::string out = fmt::format(
      "{{\n  \"schema\": \"dyn.correction/2\",\n  \"source\": {},\n  \"rows\": {},\n"
      "  \"ttft\": {},\n  \"tpot\": {},\n  \"centres\": [",
      quoted(file.source), file.rows, text_of(file.ttft), text_of(file.tpot));
  const char* separator = "\n";
  for (const CentreFile& centre : file.centres) {
    out += fmt::format("{}    {{\"names\":{},\"numbers\":{},\"ttft\":{},\"tpot\":{}}}", separator,
                       list_of(centre.names), list_of(centre.numbers), text_of(centre.ttft),
                       text_of(centre.tpot));
    separator = ",\n";
  }
  return out + "\n  ]\n}\n";
}

CorrectionFile parse_corrections(std::string_view text, const std::string& name) {
  CorrectionFile file;
  read_document(schema(), Document::parse(std::string(text), name), &file);
  return file;
}

}  // namespace dyn::eval
