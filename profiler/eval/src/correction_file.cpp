#include "correction_file.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "dyn/core/describe.h"
#include "dyn/core/document.h"

namespace dyn {

using eval::CentreFile;
using eval::CorrectionFile;
using eval::KernelFile;
using eval::ProcessFile;

static void describe(ObjectSchema<KernelFile>& s) {
  s.about("kernel", "How alike the residuals of two deployments are expected to be.");
  s.field("weights", &KernelFile::weights, "Weight of the squared difference of each quantity.")
      .required()
      .at_least(0.0);
  s.field("kinship", &KernelFile::kinship, "Factor where a name differs.").required().between(0, 1);
  s.field("smooth", &KernelFile::smooth, "Variance of the smooth part.").required().at_least(0.0);
  s.field("rough", &KernelFile::rough, "Variance of the rough part.").required().at_least(0.0);
  s.field("engine", &KernelFile::engine, "Variance by engine.").required().at_least(0.0);
  s.field("common", &KernelFile::common, "Variance of all together.").required().at_least(0.0);
  s.field("noise", &KernelFile::noise, "Variance of a measurement.").required().above(0.0);
}

static void describe(ObjectSchema<CentreFile>& s) {
  s.about("centre", "A place in the space of deployments at which a weight is kept.");
  s.field("names", &CentreFile::names, "Engine, system, version, model, precision.").required();
  s.field("numbers", &CentreFile::numbers, "In the order of the kernel's weights as documented.")
      .required();
  s.field("weight", &CentreFile::weight, "Weight of the centre.").required();
  s.field("spread", &CentreFile::spread, "Variance of the mean there.").required().at_least(0.0);
  s.check([](const CentreFile& centre, Checker& checker) {
    if (centre.names.size() != eval::Descriptor::kNames) {
      checker.error("names", "the number of names is wrong");
    }
    if (centre.numbers.size() != eval::Descriptor::kNumbers) {
      checker.error("numbers", "the number of quantities is wrong");
    }
  });
}

static void describe(ObjectSchema<ProcessFile>& s) {
  s.about("process", "The residuals of one figure.");
  s.field("kernel", &ProcessFile::kernel, "Likeness of deployments.").required();
  s.field("centres", &ProcessFile::centres, "Centres with their weights.").required();
}

static void describe(ObjectSchema<CorrectionFile>& s) {
  s.about("correction", "Residuals of the latency model, fitted on measured deployments.");
  s.field("source", &CorrectionFile::source, "Where the measurements are from.").required();
  s.field("rows", &CorrectionFile::rows, "Measurements that it is fitted on.").required();
  s.field("ttft", &CorrectionFile::ttft, "Of TTFT.").required();
  s.field("tpot", &CorrectionFile::tpot, "Of TPOT.").required();
}

}  // namespace dyn

namespace dyn::eval {
namespace {

/// Four digits: more would be noise.
double rounded(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return std::strtod(text, nullptr);
}

const DocumentSchema& schema() {
  static const DocumentSchema schema = document_schema<CorrectionFile>(
      "dyn.correction", 1, "Corrections",
      "What measured deployments say that the latency model leaves out.");
  return schema;
}

}  // namespace

KernelFile file_of(const Kernel& kernel) {
  KernelFile file;
  for (std::size_t i = 0; i < kernel.weights.size(); ++i) {
    file.weights[kDescriptorNumbers[i]] = kernel.weights[i];
  }
  for (std::size_t i = 0; i < kernel.kinship.size(); ++i) {
    file.kinship[kDescriptorNames[i]] = kernel.kinship[i];
  }
  file.smooth = kernel.smooth;
  file.rough = kernel.rough;
  file.engine = kernel.engine;
  file.common = kernel.common;
  file.noise = kernel.noise;
  return file;
}

Kernel kernel_of(const KernelFile& file) {
  Kernel kernel;
  for (std::size_t i = 0; i < kernel.weights.size(); ++i) {
    const auto found = file.weights.find(kDescriptorNumbers[i]);
    kernel.weights[i] = found != file.weights.end() ? found->second : 0;
  }
  for (std::size_t i = 0; i < kernel.kinship.size(); ++i) {
    const auto found = file.kinship.find(kDescriptorNames[i]);
    kernel.kinship[i] = found != file.kinship.end() ? found->second : 0;
  }
  kernel.smooth = file.smooth;
  kernel.rough = file.rough;
  kernel.engine = file.engine;
  kernel.common = file.common;
  kernel.noise = file.noise;
  return kernel;
}

std::string write_corrections(const CorrectionFile& file) {
  CorrectionFile out = file;
  for (ProcessFile* process : {&out.ttft, &out.tpot}) {
    for (CentreFile& centre : process->centres) {
      for (double& x : centre.numbers) {
        x = rounded(x);
      }
      // Weights of near centres cancel: they keep their digits.
      centre.spread = rounded(centre.spread);
    }
  }
  return write_document(schema(), &out);
}

CorrectionFile parse_corrections(std::string_view text, const std::string& name) {
  CorrectionFile file;
  read_document(schema(), Document::parse(std::string(text), name), &file);
  return file;
}

}  // namespace dyn::eval
