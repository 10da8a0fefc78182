#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernel.h"

namespace dyn::eval {

struct KernelFile {
  std::map<std::string, double> weights;  ///< by kDescriptorNumbers
  std::map<std::string, double> kinship;  ///< by kDescriptorNames
  double smooth = 0;
  double rough = 0;
  double engine = 0;
  double common = 0;
  double noise = 0;
};

struct CentreFile {
  std::vector<std::string> names;
  std::vector<double> numbers;
  double weight = 0;
  double spread = 0;
};

struct ProcessFile {
  KernelFile kernel;
  std::vector<CentreFile> centres;
};

/// A fitted CorrectionModel as a file (schema dyn.correction/1).
struct CorrectionFile {
  std::string source;
  std::int64_t rows = 0;
  ProcessFile ttft;
  ProcessFile tpot;
};

KernelFile file_of(const Kernel& kernel);
Kernel kernel_of(const KernelFile& file);

std::string write_corrections(const CorrectionFile& file);
/// Throws Error(bad_input) with every problem.
CorrectionFile parse_corrections(std::string_view text, const std::string& name);

/// The file that is part of the binary.
std::string_view embedded_corrections();

}  // namespace dyn::eval
