#include "dyn/perf/builtin_profiles.h"

#include <algorithm>

#include "dyn/core/catalogue.h"
#include "dyn/core/version.h"
#include "embedded_profiles.h"
#include "engine_hosts.h"
#include "profile_archive.h"

namespace dyn::perf {

namespace {

constexpr Duration microseconds(double us) {
  return Duration(static_cast<std::int64_t>(us * 1000 + 0.5));
}

/// The three constants of a roofline, with what is known of them.
struct Constants {
  double compute = 0.6;
  double bandwidth = 0.8;
  double overhead_us = 5;
  double error = 0.3;
  Provenance provenance = Provenance::specification;
  std::string source;
};

/// What one architecture is good at; everything but collectives.
struct Family {
  Constants gemm;  ///< bf16
  Constants gemm_fp8;
  Constants moe;
  Constants prefill;
  Constants decode;
  Constants elementwise;
  Constants sampling;
};

constexpr const char* kVidur =
    "fit of Vidur's FP16 GEMM tables (microsoft/vidur 7d47513, MIT): roofline with three constants";
constexpr const char* kInferSim =
    "fit of InferSim's Hopper kernel tables (alibaba/InferSim f2293da, Apache-2.0), H800, which "
    "has the H100's compute and memory";
constexpr const char* kLayers =
    "fit of layer times inside vLLM 0.19 (casys-kaist/LLMServingSim 5daddb2, MIT)";
constexpr const char* kFlash2 =
    "FlashAttention-2 (Dao 2023, figure 4) at long and its use of bandwidth at short context";

Constants sampling_constants() {
  return {1,
          1.0,
          25,
          0.3,
          Provenance::interpolated,
          std::string(kLayers) +
              ": 25 us and 8 bytes a vocabulary entry on RTX 4090 and RTX PRO "
              "6000"};
}

Family ampere() {
  const Provenance fitted = Provenance::interpolated;
  Family f;
  f.gemm = {0.712, 0.783, 8.6, 0.17, fitted, std::string(kVidur) + ", A100, MAPE 7.6 %"};
  f.gemm_fp8 = {0.712,
                0.783,
                8.6,
                0.3,
                Provenance::extrapolated,
                "as bf16: no native fp8, weights are widened on the way in"};
  f.moe = {0.55,
           0.75,
           10,
           0.35,
           Provenance::extrapolated,
           "as grouped GEMM on Hopper, scaled by "
           "the ratio of plain GEMM"};
  f.prefill = {0.60, 0.8, 8, 0.35, Provenance::extrapolated, kFlash2};
  f.decode = {0.5, 0.82, 9, 0.25, Provenance::extrapolated, kFlash2};
  f.elementwise = {1, 0.75, 2.5, 0.35, fitted, std::string(kVidur) + ", A100, norm, rope, act"};
  f.sampling = sampling_constants();
  f.sampling.provenance = Provenance::extrapolated;
  return f;
}

Family hopper() {
  const Provenance fitted = Provenance::interpolated;
  Family f;
  f.gemm = {0.695,
            0.903,
            kHopperGemmOverheadUs,
            0.22,
            fitted,
            std::string(kVidur) + ", H100, MAPE 10.8 %; launch gap inside CUDA graphs from " +
                kSiliconSource};
  f.gemm_fp8 = {0.714,
                0.876,
                kHopperFp8OverheadUs,
                0.33,
                fitted,
                std::string(kInferSim) +
                    ", fp8 GEMM, MAPE 15 %; launch gap inside CUDA graphs "
                    "from " +
                    kSiliconSource};
  f.moe = {0.58, 0.80, 10, 0.27, fitted, std::string(kInferSim) + ", grouped GEMM, MAPE 8-12 %"};
  f.prefill = {0.615, 0.9, 10, 0.16, fitted, std::string(kInferSim) + ", MLA prefill, MAPE 7 %"};
  f.decode = {0.55,
              0.94,
              kHopperDecodeOverheadUs,
              0.15,
              fitted,
              std::string(kInferSim) + ", MHA and MLA decode, MAPE 3-5 %; launch gap from " +
                  kSiliconSource};
  f.elementwise = {1,
                   0.75,
                   kHopperElementwiseOverheadUs,
                   0.35,
                   fitted,
                   std::string(kVidur) +
                       ", H100, norm, rope, act; launch gap, some kernels being "
                       "fused away, from " +
                       kSiliconSource};
  f.sampling = sampling_constants();
  f.sampling.provenance = Provenance::extrapolated;
  return f;
}

Family ada() {
  const Provenance fitted = Provenance::interpolated;
  Family f;
  f.gemm = {0.98, 0.945, 5.6, 0.09, fitted, std::string(kLayers) + ", RTX 4090, MAPE 3.3 %"};
  f.gemm_fp8 = {0.85, 0.93, 6, 0.35, Provenance::extrapolated, "as bf16 on the RTX 4090"};
  f.moe = {0.75, 0.85, 10, 0.4, Provenance::extrapolated, "as plain GEMM on the RTX 4090"};
  f.prefill = {0.749, 0.8, 6, 0.5, fitted, std::string(kLayers) + ", RTX 4090, MAPE 23 %"};
  f.decode = {0.5, 0.879, 13.4, 0.33, fitted, std::string(kLayers) + ", RTX 4090, MAPE 12 %"};
  f.elementwise = {1,    1.0,    2.0,
                   0.45, fitted, std::string(kLayers) + ", RTX 4090; small tensors stay in L2"};
  f.sampling = sampling_constants();
  return f;
}

Family workstation_blackwell() {
  const Provenance fitted = Provenance::interpolated;
  Family f;
  f.gemm = {0.80, 0.95, 6.2, 0.17, fitted, std::string(kLayers) + ", RTX PRO 6000, MAPE 7 %"};
  f.gemm_fp8 = {0.70, 0.9, 6.5, 0.4, Provenance::extrapolated, "as bf16 on the RTX PRO 6000"};
  f.moe = {0.6, 0.85, 10, 0.4, Provenance::extrapolated, "as plain GEMM on the RTX PRO 6000"};
  f.prefill = {0.514, 0.8, 5, 0.6, fitted, std::string(kLayers) + ", RTX PRO 6000, MAPE 23 %"};
  f.decode = {0.5, 0.903, 13.6, 0.16, fitted, std::string(kLayers) + ", RTX PRO 6000, MAPE 7 %"};
  f.elementwise = {1, 1.0, 2.5, 0.42, fitted, std::string(kLayers) + ", RTX PRO 6000"};
  f.sampling = sampling_constants();
  return f;
}

/// Another architecture's constants for a device without measurements of its own.
Family carried_over(Family f, const std::string& from, double error_factor) {
  for (Constants* c :
       {&f.gemm, &f.gemm_fp8, &f.moe, &f.prefill, &f.decode, &f.elementwise, &f.sampling}) {
    c->provenance = Provenance::extrapolated;
    c->error = std::min(0.8, c->error * error_factor);
    c->source = "carried over from " + from + ": " + c->source;
  }
  return f;
}

Family family_of(const GpuSpec& gpu) {
  if (gpu.id == "a100") {
    return ampere();
  }
  if (gpu.id == "h100") {
    return hopper();
  }
  if (gpu.id == "h100-pcie" || gpu.id == "h200") {
    return carried_over(hopper(), "the H100 SXM, the same chip", 1.3);
  }
  if (gpu.id == "a40") {
    return carried_over(ampere(), "the A100, the same architecture", 2.0);
  }
  if (gpu.id == "rtx-4090") {
    return ada();
  }
  if (gpu.id == "l40s") {
    // The RTX 4090's specified rate is half its tensor cores', which it reaches; the L40S's is
    // all of them at boost clock, out of reach within 350 W.
    Family f = carried_over(ada(), "the RTX 4090, the same architecture", 2.0);
    for (Constants* c : {&f.gemm, &f.gemm_fp8, &f.moe, &f.prefill}) {
      c->compute = 0.6;
      c->error = std::max(c->error, 0.35);
    }
    return f;
  }
  if (gpu.id == "rtx-pro-6000") {
    return workstation_blackwell();
  }
  Family f = carried_over(hopper(), "the H100 SXM", 2.0);
  if (gpu.vendor == "nvidia") {
    // An element-wise kernel of vLLM (the scale of each token) was measured at 96 % of the H100's
    // bandwidth, 92 % of the H200's and 80 % of the B200's, with the same launch gap
    // (aiconfigurator-core 0.12, computescale_perf): such kernels carry over better than others.
    const Family near = carried_over(hopper(), "the H100 SXM", 1.3);
    f.elementwise = near.elementwise;
    f.sampling = near.sampling;
  }
  if (gpu.vendor == "amd") {
    // Matrix units of the MI300 series reach a smaller part of their peak.
    f.gemm.compute = 0.5;
    f.gemm_fp8.compute = 0.45;
    f.moe.compute = 0.4;
    f.prefill.compute = 0.4;
    for (Constants* c : {&f.gemm, &f.gemm_fp8, &f.moe, &f.prefill, &f.decode}) {
      c->bandwidth *= 0.9;
      c->provenance = Provenance::specification;
    }
  }
  return f;
}

OperatorFit fit(OperatorKind kind, const Constants& c, Precision precision = Precision::bf16) {
  OperatorFit f;
  f.kind = kind;
  f.precision = precision;
  f.compute_efficiency = c.compute;
  f.bandwidth_efficiency = c.bandwidth;
  f.overhead = microseconds(c.overhead_us);
  f.relative_error = c.error;
  f.provenance = c.provenance;
  f.source = c.source;
  return f;
}

OperatorFit collective(OperatorKind kind, int gpus, double latency_us, double efficiency,
                       double error, Provenance provenance, const std::string& source) {
  OperatorFit f = fit(kind, {1, efficiency, latency_us, error, provenance, source});
  f.gpus = gpus;
  return f;
}

/// All-reduce between 2, 4 and 8 GPUs of a node: latency in us and bus bandwidth in GB/s.
struct AllReduce {
  double latency_us[3];
  double bus[3];
};

void add_collectives(Profile& profile) {
  const GpuSpec& gpu = profile.device;
  const double link = gpu.intra_node.count() * 1e-9;
  const std::string vidur =
      "fit of Vidur's NCCL tables (microsoft/vidur 7d47513, MIT): latency and bus bandwidth";
  Provenance provenance = Provenance::extrapolated;
  double error = 0.4;
  AllReduce fits{{12, 16, 20}, {0.6 * link, 0.65 * link, 0.7 * link}};
  std::string source = "carried over from H100 DGX by link bandwidth";
  if (gpu.id == "a100") {
    fits = {{35.8, 28.7, 39}, {158, 154, 152}};
    provenance = Provenance::interpolated;
    error = 0.3;
    source = vidur + ", A100 DGX, MAPE 8-16 %";
  } else if (gpu.id == "h100" || gpu.id == "h200") {
    fits = {{kHopperAllReduceUs[0], kHopperAllReduceUs[1], kHopperAllReduceUs[2]}, {282, 380, 339}};
    provenance = gpu.id == "h100" ? Provenance::interpolated : Provenance::extrapolated;
    error = gpu.id == "h100" ? 0.3 : 0.4;
    source = vidur +
             ", H100 DGX bus bandwidth, MAPE 6-13 %; latency of the engines' own "
             "all-reduce from " +
             kSiliconSource;
  } else if (link < 100) {
    fits = {{25, 35, 50}, {0.7 * link, 0.6 * link, 0.5 * link}};
    error = 0.5;
    source = "PCIe without NVLink: specified bandwidth, NCCL's usual share of it";
    provenance = Provenance::specification;
  }
  for (int i = 0; i < 3; ++i) {
    profile.operators.push_back(collective(OperatorKind::all_reduce, 2 << i, fits.latency_us[i],
                                           std::min(1.0, fits.bus[i] / link), error, provenance,
                                           source));
  }
  profile.operators.push_back(collective(OperatorKind::all_to_all, 8, 20, 0.6, 0.5,
                                         Provenance::specification,
                                         "60 % of the link, as large NCCL messages"));
  const bool dgx = gpu.id == "h100" || gpu.id == "a100";
  profile.operators.push_back(
      collective(OperatorKind::send_recv, 2, gpu.id == "a100" ? 13.2 : 7.6,
                 gpu.id == "a100" ? 0.95 : (link < 100 ? 0.8 : 0.79), dgx ? 0.3 : 0.5,
                 dgx ? Provenance::interpolated : Provenance::extrapolated,
                 vidur + (gpu.id == "a100" ? ", A100 DGX" : ", H100 DGX, 358 GB/s of 450")));
}

/// Whether its kernels were measured in an engine's steps: only there is it seen what prefill and
/// decode attention take beside each other.
bool measured_in_engine(const Profile& profile) {
  return std::any_of(
      profile.operators.begin(), profile.operators.end(),
      [](const OperatorFit& fit) { return fit.kind == OperatorKind::attention_mixed; });
}

}  // namespace

std::vector<std::string> builtin_profile_names() {
  std::vector<std::string> names;
  for (const GpuSpec& gpu : gpu_catalogue()) {
    names.push_back(gpu.id);
  }
  return names;
}

Profile builtin_profile(const std::string& gpu) {
  const GpuSpec& device = find_gpu(gpu);
  const std::string_view packed = embedded_profile(device.id);
  if (packed.empty()) {
    return specification_profile(device.id);
  }
  Profile profile = unpack_profile(packed);
  // Hosts are calibrated apart from kernels, and for all devices at once.
  profile.engines = builtin_engine_hosts(profile.device);
  if (measured_in_engine(profile)) {
    for (EngineHost& host : profile.engines) {
      host.serving.reset();
    }
  }
  return profile;
}

Profile specification_profile(const std::string& gpu) {
  Profile profile;
  profile.device = find_gpu(gpu);
  profile.name = profile.device.id;
  profile.created_by = "built into dyn " + std::string(version());
  profile.description = profile.device.name +
                        ": constants fitted from published measurements where there are any, "
                        "else carried over from the nearest architecture";
  const Family f = family_of(profile.device);
  profile.operators = {
      fit(OperatorKind::gemm, f.gemm),
      fit(OperatorKind::gemm, f.gemm_fp8, Precision::fp8),
      fit(OperatorKind::moe, f.moe),
      fit(OperatorKind::moe, f.moe, Precision::fp8),
      fit(OperatorKind::attention_prefill, f.prefill),
      fit(OperatorKind::attention_decode, f.decode),
      fit(OperatorKind::elementwise, f.elementwise),
      fit(OperatorKind::sampling, f.sampling),
  };
  add_collectives(profile);
  profile.engines = builtin_engine_hosts(profile.device);
  profile.storage = {{"host_memory", profile.device.host_link, profile.device.host_link,
                      microseconds(10), Provenance::specification,
                      "the host link's specified bandwidth"}};
  profile.intra_node_latency = microseconds(8);
  profile.inter_node_latency = microseconds(19);
  return profile;
}

}  // namespace dyn::perf
