#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"

namespace dyn {
namespace {

using namespace literals;

constexpr Bytes mebibytes(std::int64_t count) {
  return Bytes(count << 20);
}

using Peaks = std::map<Precision, FlopsPerSec>;
using Sources = std::map<std::string, std::string>;

/// Dense matrix rates in TFLOP/s; 0 for a format the device does not have.
struct Rates {
  double fp32 = 0;  ///< without tensor cores
  double bf16 = 0;
  double int8 = 0;
  double fp8 = 0;
  double fp4 = 0;
};

Peaks peaks(const Rates& rates) {
  Peaks result;
  const auto add = [&result](Precision precision, double tera) {
    if (tera > 0) {
      result[precision] = FlopsPerSec(tera * 1e12);
    }
  };
  add(Precision::fp32, rates.fp32);
  add(Precision::bf16, rates.bf16);
  add(Precision::fp16, rates.bf16);
  add(Precision::int8, rates.int8);
  add(Precision::fp8, rates.fp8);
  add(Precision::fp4, rates.fp4);
  return result;
}

/// Sources of a device whose data sheet gives everything but the total that the driver reports
/// and the network card.
Sources sources(const std::string& sheet, const std::string& memory, const std::string& network) {
  return {{"memory", memory},      {"memory_bandwidth", sheet}, {"peak", sheet + ", dense"},
          {"power", sheet},        {"gpus_per_node", sheet},    {"intra_node", sheet},
          {"inter_node", network}, {"host_link", sheet}};
}

std::vector<GpuSpec> nvidia_until_hopper() {
  const std::string h100 = "NVIDIA H100 Tensor Core GPU data sheet";
  return {
      {"a100", "NVIDIA A100 SXM 80GB", "nvidia", mebibytes(81920), 2039_GBps,
       peaks({19.5, 312, 624, 0, 0}), Watts(400), 8, 300_GBps, 25_GBps, 32_GBps,
       sources("NVIDIA A100 80GB data sheet (NVLink 600 GB/s and PCIe 4 x16, both directions)",
               "total that nvidia-smi reports: 81920 MiB",
               "NVIDIA DGX A100 data sheet: one 200 Gb/s ConnectX-6 a GPU")},
      {"h100", "NVIDIA H100 SXM", "nvidia", mebibytes(81559), 3350_GBps,
       peaks({67, 989.4, 1978.9, 1978.9, 0}), Watts(700), 8, 450_GBps, 50_GBps, 64_GBps,
       sources(h100 + " (SXM; NVLink 900 GB/s and PCIe 5 x16, both directions)",
               "total that nvidia-smi reports: 81559 MiB",
               "NVIDIA DGX H100 data sheet: one 400 Gb/s ConnectX-7 a GPU")},
      {"h100-pcie", "NVIDIA H100 PCIe", "nvidia", mebibytes(81559), 2000_GBps,
       peaks({51, 756, 1513, 1513, 0}), Watts(350), 8, 64_GBps, 25_GBps, 64_GBps,
       sources(h100 + " (PCIe; links over PCIe 5 x16, NVLink bridges join pairs only)",
               "total that nvidia-smi reports: 81559 MiB",
               "assumed: one 400 Gb/s port for two GPUs, as NVIDIA-Certified servers have")},
      {"h200", "NVIDIA H200 SXM", "nvidia", mebibytes(143771), 4800_GBps,
       peaks({67, 989.4, 1978.9, 1978.9, 0}), Watts(700), 8, 450_GBps, 50_GBps, 64_GBps,
       sources("NVIDIA H200 Tensor Core GPU data sheet (NVLink 900 GB/s, PCIe 5 x16, both "
               "directions)",
               "total that nvidia-smi reports: 143771 MiB",
               "NVIDIA DGX H200 data sheet: one 400 Gb/s ConnectX-7 a GPU")},
  };
}

std::vector<GpuSpec> nvidia_blackwell() {
  const std::string rack = "NVLink domain of the NVL72 rack: 18 trays of 4 GPUs";
  const std::string c2c = "NVLink-C2C 900 GB/s, both directions, shared by the two GPUs of a Grace";
  std::vector<GpuSpec> gpus = {
      {"b200", "NVIDIA B200 SXM", "nvidia", mebibytes(183359), 7700_GBps,
       peaks({75, 2250, 4500, 4500, 9000}), Watts(1000), 8, 900_GBps, 50_GBps, 64_GBps,
       sources("NVIDIA Blackwell data sheet, HGX B200 (NVLink 1.8 TB/s, PCIe 5 x16, both "
               "directions)",
               "total that nvidia-smi reports: 183359 MiB",
               "NVIDIA DGX B200 data sheet: one 400 Gb/s ConnectX-7 a GPU")},
      // Blackwell Ultra gives up most of its INT8 rate, so int8 weights multiply in bf16.
      {"b300", "NVIDIA B300 SXM", "nvidia", mebibytes(275040), 7750_GBps,
       peaks({75, 2250, 0, 4500, 13500}), Watts(1100), 8, 900_GBps, 100_GBps, 64_GBps,
       sources("NVIDIA HGX platform specifications, HGX B300, one eighth of the board",
               "total that nvidia-smi reports: 275040 MiB",
               "NVIDIA DGX B300 data sheet: one 800 Gb/s ConnectX-8 a GPU")},
      {"gb200", "NVIDIA GB200 NVL72", "nvidia", mebibytes(189471), 8000_GBps,
       peaks({80, 2500, 5000, 5000, 10000}), Watts(1200), 72, 900_GBps, 50_GBps, 225_GBps,
       sources("NVIDIA GB200 NVL72 data sheet, one GPU",
               "total that nvidia-smi reports: 189471 MiB",
               "NVIDIA GB200 NVL72 data sheet: one 400 Gb/s ConnectX-7 a GPU")},
      {"gb300", "NVIDIA GB300 NVL72", "nvidia", mebibytes(284208), 8000_GBps,
       peaks({80, 2500, 0, 5000, 15000}), Watts(1400), 72, 900_GBps, 100_GBps, 225_GBps,
       sources("NVIDIA GB300 NVL72 data sheet, one GPU",
               "total that nvidia-smi reports: 284208 MiB",
               "NVIDIA GB300 NVL72 data sheet: one 800 Gb/s ConnectX-8 a GPU")},
  };
  for (GpuSpec& gpu : gpus) {
    if (gpu.gpus_per_node == 72) {
      gpu.sources["gpus_per_node"] = rack;
      gpu.sources["host_link"] = c2c;
    }
  }
  return gpus;
}

std::vector<GpuSpec> nvidia_cards() {
  return {
      {"a40", "NVIDIA A40", "nvidia", mebibytes(46068), 696_GBps, peaks({37.4, 149.7, 299.3, 0, 0}),
       Watts(300), 8, 32_GBps, 12.5_GBps, 32_GBps,
       sources("NVIDIA A40 data sheet (links over PCIe 4 x16, 64 GB/s both directions; NVLink "
               "bridges join pairs only)",
               "data sheet: 48 GB of GDDR6 with ECC, of which the L40S's driver leaves 46068 MiB",
               "assumed: a 100 Gb/s port a GPU")},
      {"l40s", "NVIDIA L40S", "nvidia", mebibytes(46068), 864_GBps,
       peaks({91.6, 362.05, 733, 733, 0}), Watts(350), 8, 32_GBps, 25_GBps, 32_GBps,
       sources("NVIDIA L40S data sheet (no NVLink; PCIe 4 x16, 64 GB/s both directions)",
               "total that nvidia-smi reports: 46068 MiB",
               "assumed: one 400 Gb/s port for two GPUs, as NVIDIA OVX servers have")},
      {"rtx-pro-6000",
       "NVIDIA RTX PRO 6000 Blackwell Server Edition",
       "nvidia",
       mebibytes(97887),
       1597_GBps,
       peaks({120, 468, 936, 936, 1871}),
       Watts(600),
       8,
       64_GBps,
       50_GBps,
       64_GBps,
       {{"memory", "total that nvidia-smi reports: 97887 MiB"},
        {"memory_bandwidth",
         "NVIDIA RTX PRO 6000 Blackwell Server Edition data sheet (the Workstation Edition has "
         "1792 GB/s)"},
        {"peak",
         "NVIDIA RTX Blackwell PRO architecture white paper: 188 SMs x 1024 bf16 FLOP a clock x "
         "2.43 GHz; fp8 and int8 twice, fp4 four times that; dense"},
        {"power", "NVIDIA RTX PRO 6000 Blackwell Server Edition data sheet"},
        {"gpus_per_node", "NVIDIA RTX PRO server reference design"},
        {"intra_node", "data sheet: no NVLink; PCIe 5 x16, 128 GB/s both directions"},
        {"inter_node", "NVIDIA RTX PRO server reference design: one 400 Gb/s ConnectX-8 a GPU"},
        {"host_link", "data sheet: PCIe 5 x16"}}},
      {"rtx-4090", "NVIDIA GeForce RTX 4090", "nvidia", mebibytes(24564), 1008_GBps,
       peaks({82.6, 165.2, 660.6, 330.3, 0}), Watts(450), 8, 32_GBps, 12.5_GBps, 32_GBps,
       sources("NVIDIA Ada GPU architecture white paper, GeForce RTX 4090 with FP32 accumulate "
               "(no NVLink; PCIe 4 x16)",
               "total that nvidia-smi reports: 24564 MiB", "assumed: a 100 Gb/s port a GPU")},
  };
}

std::vector<GpuSpec> amd() {
  const std::string mi300 =
      "AMD Instinct MI300X data sheet (seven Infinity Fabric links of 128 "
      "GB/s, PCIe 5 x16, both directions)";
  const std::string mi325 =
      "AMD Instinct MI325X data sheet (seven Infinity Fabric links of 128 "
      "GB/s, PCIe 5 x16, both directions)";
  const std::string mi355 =
      "AMD Instinct MI355X data sheet (seven Infinity Fabric links of 153.6 "
      "GB/s, PCIe 5 x16, both directions)";
  const std::string memory = " of HBM, less 16 MiB that the driver keeps";
  const std::string network = "AMD reference platform: one 400 Gb/s NIC a GPU";
  return {
      {"mi300x", "AMD Instinct MI300X", "amd", mebibytes(192 * 1024 - 16), 5300_GBps,
       peaks({163.4, 1307.4, 2614.9, 2614.9, 0}), Watts(750), 8, 448_GBps, 50_GBps, 64_GBps,
       sources(mi300, mi300 + ": 192 GB" + memory, network)},
      {"mi325x", "AMD Instinct MI325X", "amd", mebibytes(256 * 1024 - 16), 6000_GBps,
       peaks({163.4, 1307.4, 2614.9, 2614.9, 0}), Watts(1000), 8, 448_GBps, 50_GBps, 64_GBps,
       sources(mi325, mi325 + ": 256 GB" + memory, network)},
      {"mi355x", "AMD Instinct MI355X", "amd", mebibytes(288 * 1024 - 16), 8000_GBps,
       peaks({157.3, 2516.6, 5033.2, 5033.2, 10066.3}), Watts(1400), 8, 537.6_GBps, 50_GBps,
       64_GBps, sources(mi355, mi355 + ": 288 GB" + memory, network)},
  };
}

/// Lower case, separators dropped: "H100_SXM" and "h100-sxm" are the same name.
std::string normal_form(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return result;
}

/// Other names in normal form, and the id they stand for.
constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
    {"a100sxm", "a100"},
    {"a100sxm80gb", "a100"},
    {"a10080gb", "a100"},
    {"h100sxm", "h100"},
    {"h100sxm5", "h100"},
    {"h10080gb", "h100"},
    {"h10080gbhbm3", "h100"},
    {"h200sxm", "h200"},
    {"h200sxm5", "h200"},
    {"b200sxm", "b200"},
    {"b300sxm", "b300"},
    {"gb200nvl72", "gb200"},
    {"gb300nvl72", "gb300"},
    {"gb200sxm", "gb200"},
    {"gb300sxm", "gb300"},
    {"rtx4090", "rtx-4090"},
    {"4090", "rtx-4090"},
    {"geforcertx4090", "rtx-4090"},
    {"pro6000", "rtx-pro-6000"},
    {"rtx6000pro", "rtx-pro-6000"},
    {"rtxpro6000server", "rtx-pro-6000"},
    {"rtxpro6000blackwell", "rtx-pro-6000"},
    {"rtxpro6000blackwellserveredition", "rtx-pro-6000"},
};

}  // namespace

const std::vector<GpuSpec>& gpu_catalogue() {
  static const std::vector<GpuSpec> catalogue = [] {
    std::vector<GpuSpec> all;
    for (auto part : {nvidia_until_hopper(), nvidia_blackwell(), nvidia_cards(), amd()}) {
      std::move(part.begin(), part.end(), std::back_inserter(all));
    }
    return all;
  }();
  return catalogue;
}

const GpuSpec& find_gpu(std::string_view id) {
  std::string wanted = normal_form(id);
  for (const std::string_view vendor : {"nvidia", "amdinstinct", "amd"}) {
    if (wanted.starts_with(vendor)) {
      wanted.erase(0, vendor.size());
      break;
    }
  }
  for (const auto& [alias, target] : kAliases) {
    if (wanted == alias) {
      wanted = normal_form(target);
      break;
    }
  }
  std::vector<std::string> ids;
  std::string list;
  for (const GpuSpec& gpu : gpu_catalogue()) {
    if (normal_form(gpu.id) == wanted) {
      return gpu;
    }
    ids.push_back(gpu.id);
    list += (list.empty() ? "" : ", ") + gpu.id;
  }
  const std::optional<std::string> guess = nearest(std::string(id), ids);
  throw Error(ErrorKind::bad_input, "unknown GPU '" + std::string(id) + "'; known are " + list,
              guess ? "did you mean '" + *guess + "'?" : "");
}

}  // namespace dyn
