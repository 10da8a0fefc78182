#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernel.h"

namespace dyn::eval {

struct KernelFile {
  std::map<std::string, double> weights;     ///< by kDescriptorNumbers
  std::map<std::string, double> amplitudes;  ///< by the texts of kTerms
  double noise = 0;
};

/// What a figure's process has at one centre.
struct CentreWeight {
  std::vector<double> parts;
  double weight = 0;
  double spread = 0;
};

struct CentreFile {
  std::vector<std::string> names;
  std::vector<double> numbers;
  CentreWeight ttft;
  CentreWeight tpot;
};

/// A fitted CorrectionModel as a file (schema dyn.correction/2): one line for each centre.
struct CorrectionFile {
  std::string source;
  std::int64_t rows = 0;
  KernelFile ttft;
  KernelFile tpot;
  std::vector<CentreFile> centres;
};

KernelFile file_of(const Kernel& kernel);
Kernel kernel_of(const KernelFile& file);

std::string write_corrections(const CorrectionFile& file);
/// Throws Error(bad_input) with every problem.
CorrectionFile parse_corrections(std::string_view text, const std::string& name);

/// The file that is part of the binary.
std::string_view embedded_corrections();

}  // namespace dyn::eval
