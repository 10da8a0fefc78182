#include "dyn/core/document.h"
#include "dyn/core/quantity_text.h"
#include "dyn/core/schemas.h"

namespace dyn {

void describe(ObjectSchema<GpuSpec>& s) {
  s.about("device", "A GPU (or CPU) and the node it sits in, as its vendor specifies it.");
  s.field("id", &GpuSpec::id, "Short name.").required().not_empty().example("h200");
  s.field("name", &GpuSpec::name, "Full name, such as NVIDIA H200 SXM.");
  s.field("vendor", &GpuSpec::vendor, "One of nvidia, amd and cpu.");
  s.field("memory", &GpuSpec::memory, "Usable memory of one device.").required().above(Bytes(0));
  s.field("memory_bandwidth", &GpuSpec::memory_bandwidth, "Peak memory bandwidth of one device.")
      .required()
      .above(BytesPerSec(0));
  s.field("peak", &GpuSpec::peak,
          "Peak dense rate by compute precision; one that is missing is not native.")
      .required()
      .above(FlopsPerSec(0));
  s.field("power", &GpuSpec::power, "Specified power limit of one device.").at_least(Watts(0));
  s.field("gpus_per_node", &GpuSpec::gpus_per_node, "Devices of one node.").between(1, 1024);
  s.field(
       "intra_node", &GpuSpec::intra_node,
       "Bandwidth to the other devices of the node, per device and direction; 0 if there is none.")
      .at_least(BytesPerSec(0));
  s.field("inter_node", &GpuSpec::inter_node,
          "Bandwidth to other nodes, per device and direction; 0 if there is none.")
      .at_least(BytesPerSec(0));
  s.field("host_link", &GpuSpec::host_link,
          "Bandwidth to the host's memory, per device and direction; 0 if there is none.")
      .at_least(BytesPerSec(0));
  s.field("sources", &GpuSpec::sources, "Where each figure is from, by key.");
  s.check([](const GpuSpec& gpu, Checker& checker) {
    if (gpu.peak.empty()) {
      checker.error("peak", "no peak rate at all", "such as {\"bf16\": \"989 TFLOP/s\"}");
    }
  });
}

void describe(ObjectSchema<CorrectionPoint>& s) {
  s.about("correction_point", "Where the roofline is off by a factor.");
  s.field("x", &CorrectionPoint::x,
          "Tokens for gemm and moe, query-key pairs for attention_prefill, KV tokens for "
          "attention_decode, bytes for the rest.")
      .required()
      .above(0.0);
  s.field("factor", &CorrectionPoint::factor, "Measured time / modelled time.")
      .required()
      .above(0.0);
}

void describe(ObjectSchema<SurfaceAxis>& s) {
  s.about("surface_axis", "One quantity that a surface grows with.");
  s.field("quantity", &SurfaceAxis::quantity, "What is counted, such as tokens.")
      .required()
      .not_empty();
  s.field("knots", &SurfaceAxis::knots, "Where the surface is given; rising, above 0.")
      .required()
      .above(0.0)
      .brief();
  s.check([](const SurfaceAxis& axis, Checker& checker) {
    if (axis.knots.empty()) {
      checker.error("knots", "an axis needs at least one knot");
    }
    for (std::size_t i = 1; i < axis.knots.size(); ++i) {
      if (axis.knots[i] <= axis.knots[i - 1]) {
        checker.error("knots", i,
                      "knots must rise: " + shortest(axis.knots[i]) + " follows " +
                          shortest(axis.knots[i - 1]));
      }
    }
  });
}

void describe(ObjectSchema<CorrectionSurface>& s) {
  s.about("surface",
          "A correction over several quantities at once: 100 * log2(measured / modelled time) on a "
          "rectangular grid, linear in the log2 of each quantity, held beyond the ends.");
  s.field("axes", &CorrectionSurface::axes, "The quantities, slowest first.").required();
  s.field("log2_hundredths", &CorrectionSurface::log2_hundredths,
          "One for every combination of knots, the last axis fastest.")
      .required()
      .brief();
  s.check([](const CorrectionSurface& surface, Checker& checker) {
    std::size_t cells = surface.axes.empty() ? 0 : 1;
    for (const SurfaceAxis& axis : surface.axes) {
      cells *= axis.knots.size();
    }
    if (cells != surface.log2_hundredths.size()) {
      checker.error("log2_hundredths",
                    "has " + std::to_string(surface.log2_hundredths.size()) + " values, the axes " +
                        std::to_string(cells) + " combinations of knots",
                    "give one value for each");
    }
  });
}

void describe(ObjectSchema<OperatorFit>& s) {
  s.about("operator",
          "The time of one operator: (max(flops / (compute_efficiency * peak), bytes / "
          "(bandwidth_efficiency * bandwidth)) + overhead) * correction * 2^(sum of the surfaces / "
          "100). For collectives the bandwidth is the link's.");
  s.field("kind", &OperatorFit::kind, "Which operator.").required();
  s.field("precision", &OperatorFit::precision, "Compute precision that the figures hold for.");
  s.field("engine", &OperatorFit::engine, "Engine whose kernels were measured; empty for any.");
  s.field("version", &OperatorFit::version, "Version of that engine.");
  s.field("kv_cache", &OperatorFit::kv_cache, "Precision of the KV cache, for attention.");
  s.field("head_dim", &OperatorFit::head_dim, "Size of a head, for attention; 0 for any.")
      .between(0, 65'536)
      .brief();
  s.field("kv_group", &OperatorFit::kv_group,
          "Heads that share a KV head, for attention; 0 for any.")
      .between(0, 65'536)
      .brief();
  s.field("window", &OperatorFit::window, "Sliding window in tokens, for attention; 0 for none.")
      .between(0, 100'000'000)
      .brief();
  s.field("gpus", &OperatorFit::gpus, "Size of the group, for collectives.").between(1, 100'000);
  s.field("compute_efficiency", &OperatorFit::compute_efficiency,
          "Fraction of the peak rate that is reached.")
      .above(0.0)
      .at_most(1.0);
  s.field("bandwidth_efficiency", &OperatorFit::bandwidth_efficiency,
          "Fraction of the bandwidth that is reached.")
      .above(0.0)
      .at_most(1.0);
  s.field("overhead", &OperatorFit::overhead, "Fixed time of a launch.").at_least(Duration{0});
  s.field("correction", &OperatorFit::correction,
          "Points by rising x; linear in log2(x) between them, held beyond the ends.")
      .brief();
  s.field("surfaces", &OperatorFit::surfaces,
          "Corrections over several quantities at once, which add up: a coarse one over many, fine "
          "ones over few.");
  s.field("held_out_error", &OperatorFit::held_out_error,
          "Median of |modelled / measured - 1| over measurements that the fit has not seen.")
      .at_least(0.0);
  s.field("samples", &OperatorFit::samples, "Measurements that the fit is from.")
      .at_least(std::int64_t{0});
  s.field("relative_error", &OperatorFit::relative_error,
          "Half-width of the 90 % interval, as a fraction.")
      .between(0.0, 100.0);
  s.field("provenance", &OperatorFit::provenance, "How well the figures are known.");
  s.field("source", &OperatorFit::source, "File, paper or run that they are from.");
  s.check([](const OperatorFit& fit, Checker& checker) {
    for (std::size_t i = 1; i < fit.correction.size(); ++i) {
      if (fit.correction[i].x <= fit.correction[i - 1].x) {
        checker.error("correction", i,
                      "x must rise from point to point: " + shortest(fit.correction[i].x) +
                          " follows " + shortest(fit.correction[i - 1].x));
      }
    }
  });
}

void describe(ObjectSchema<ServingFactors>& s) {
  s.about("serving_factors",
          "What an engine's kernels take in its steps, as multiples of what they take measured "
          "alone: uneven experts, ranks that wait for one another, small kernels between those "
          "that are measured, gaps that a CUDA graph closes.");
  const auto factor = [&s](const char* key, double ServingFactors::*member, const char* what) {
    s.field(key, member, what).between(0.1, 10.0).brief();
  };
  factor("gemm", &ServingFactors::gemm, "Of matrix multiplies.");
  factor("attention", &ServingFactors::attention, "Of attention, linear attention too.");
  factor("experts", &ServingFactors::experts, "Of routed experts.");
  factor("collective", &ServingFactors::collective, "Of exchanges between GPUs.");
  factor("elementwise", &ServingFactors::elementwise, "Of element-wise kernels.");
  s.field("source", &ServingFactors::source, "Runs that they are from.");
}

void describe(ObjectSchema<EngineHost>& s) {
  s.about("engine_host",
          "The engine's own time around the GPU's: host = step_base + step_per_sequence * "
          "sequences; a step takes max(gpu, host) where they overlap, else their sum.");
  s.field("engine", &EngineHost::engine, "Name of the engine.").required().not_empty();
  s.field("version", &EngineHost::version, "Version that the figures hold for.");
  s.field("step_base", &EngineHost::step_base, "Host time of every step.").at_least(Duration{0});
  s.field("step_per_sequence", &EngineHost::step_per_sequence, "Host time per sequence of a step.")
      .at_least(Duration{0});
  s.field("overlapped", &EngineHost::overlapped, "Whether scheduling overlaps the step.");
  s.field("frontend_per_request", &EngineHost::frontend_per_request,
          "Time added to every TTFT: HTTP, tokenizer, hand-over.")
      .at_least(Duration{0});
  s.field("serving", &EngineHost::serving,
          "What its kernels take in its steps beside what they took measured alone; left out, the "
          "same.");
  s.field("relative_error", &EngineHost::relative_error,
          "Half-width of the 90 % interval, as a fraction.")
      .between(0.0, 100.0);
  s.field("provenance", &EngineHost::provenance, "How well the figures are known.");
  s.field("source", &EngineHost::source, "File, paper or run that they are from.");
}

void describe(ObjectSchema<StorageFit>& s) {
  s.about("storage", "A KV tier or disk of the machine.");
  s.field("name", &StorageFit::name, "host_memory or disk.").required().not_empty();
  s.field("read", &StorageFit::read, "Bandwidth of reading.").at_least(BytesPerSec(0));
  s.field("write", &StorageFit::write, "Bandwidth of writing.").at_least(BytesPerSec(0));
  s.field("latency", &StorageFit::latency, "Time before the first byte.").at_least(Duration{0});
  s.field("provenance", &StorageFit::provenance, "How well the figures are known.");
  s.field("source", &StorageFit::source, "File, paper or run that they are from.");
}

void describe(ObjectSchema<Profile>& s) {
  s.about("profile",
          "What is known of a device: its specification, and the constants that the latency model "
          "needs.");
  s.field("name", &Profile::name, "Name of the profile.").required().not_empty();
  s.field("created_by", &Profile::created_by, "Command and version that made it.");
  s.field("description", &Profile::description, "What was measured, on what.");
  s.field("device", &Profile::device, "The device as specified.").required();
  s.field("operators", &Profile::operators, "Constants of each operator.");
  s.field("engines", &Profile::engines, "Host time of each engine.");
  s.field("storage", &Profile::storage, "KV tiers and disks.");
  s.field("intra_node_latency", &Profile::intra_node_latency,
          "Latency between devices of one node.")
      .at_least(Duration{0});
  s.field("inter_node_latency", &Profile::inter_node_latency,
          "Latency between devices of two nodes.")
      .at_least(Duration{0});
}

const DocumentSchema& profile_schema() {
  static const DocumentSchema schema = document_schema<Profile>(
      "dyn.profile", 1, "Profiles",
      "A profile is what `dyn profile` writes: what is known of a device. A recipe names one as "
      "`hardware.profile`; every GPU of the catalogue has a built-in one.");
  return schema;
}

Profile parse_profile(const Document& document) {
  Profile profile;
  read_document(profile_schema(), document, &profile);
  return profile;
}

Profile load_profile(const std::string& path) {
  Profile profile;
  load_document(profile_schema(), path, &profile);
  return profile;
}

std::string to_json(const Profile& profile) {
  return write_document(profile_schema(), &profile);
}

}  // namespace dyn
