#include <algorithm>

#include "dyn/core/network.h"
#include "dyn/core/schemas.h"

namespace dyn {

namespace {

constexpr BytesPerSec kDiskRead{7e9};
constexpr BytesPerSec kDiskWrite{5e9};
constexpr Duration kDiskLatency = std::chrono::microseconds(100);
constexpr BytesPerSec kFastest{1e15};

}  // namespace

NetworkSpec resolve_network(const NetworkSpec& spec, const Profile& profile) {
  const GpuSpec& device = profile.device;
  const auto disk = std::find_if(profile.storage.begin(), profile.storage.end(),
                                 [](const StorageFit& fit) { return fit.name == "disk"; });
  const bool measured = disk != profile.storage.end();
  NetworkSpec out = spec;
  out.gpus_per_node = spec.gpus_per_node.value_or(std::max(device.gpus_per_node, 1));
  out.intra_node = spec.intra_node.value_or(device.intra_node);
  out.inter_node = spec.inter_node.value_or(device.inter_node);
  out.host_link = spec.host_link.value_or(device.host_link);
  out.intra_node_latency = spec.intra_node_latency.value_or(profile.intra_node_latency);
  out.inter_node_latency = spec.inter_node_latency.value_or(profile.inter_node_latency);
  out.disk_read = spec.disk_read.value_or(measured ? disk->read : kDiskRead);
  out.disk_write = spec.disk_write.value_or(measured ? disk->write : kDiskWrite);
  out.disk_latency = spec.disk_latency.value_or(measured ? disk->latency : kDiskLatency);
  return out;
}

void describe(EnumSchema<FabricKind>& s) {
  s.value(FabricKind::non_blocking, "non_blocking", "every port at its full rate.")
      .value(FabricKind::leaf_spine, "leaf_spine",
             "nodes under leaves, leaves joined by spines; a flow takes one spine by its hash "
             "(ECMP).");
}

void describe(ObjectSchema<NetworkSpec>& s) {
  s.about("network",
          "The links that KV, cache tiers and weights travel over; flows share them max-min "
          "fairly. Rates are per direction; what is not set is that of the GPU and its node.");
  const auto rate = [&s](const char* key, std::optional<BytesPerSec> NetworkSpec::*member,
                         const char* doc, const char* unset) {
    s.field(key, member, doc).between(BytesPerSec(0), kFastest).unset(unset);
  };
  const auto latency = [&s](const char* key, std::optional<Duration> NetworkSpec::*member,
                            const char* doc, const char* unset) {
    s.field(key, member, doc).at_least(Duration{0}).unset(unset);
  };
  s.field("fabric", &NetworkSpec::fabric, "What joins the nodes.")
      .because("a rail-optimised cluster hardly blocks");
  s.field("gpus_per_node", &NetworkSpec::gpus_per_node, "GPUs that intra_node joins.")
      .between(1, 1024)
      .unset("the GPU's node");
  rate("intra_node", &NetworkSpec::intra_node, "Per GPU, to GPUs of its node (NVLink, PCIe).",
       "the GPU's data sheet");
  rate("inter_node", &NetworkSpec::inter_node, "Per GPU, its network card.",
       "the GPU's data sheet");
  rate("host_link", &NetworkSpec::host_link, "Per GPU, to the memory of its host.",
       "the GPU's data sheet");
  latency("intra_node_latency", &NetworkSpec::intra_node_latency,
          "From the last byte sent to the last byte there, within a node.", "the profile's");
  latency("inter_node_latency", &NetworkSpec::inter_node_latency, "The same between nodes.",
          "the profile's");
  s.field("nodes_per_leaf", &NetworkSpec::nodes_per_leaf, "Nodes under one leaf (leaf_spine).")
      .between(1, 1024)
      .because("the scalable unit of NVIDIA's DGX H100 SuperPOD")
      .brief();
  s.field("spines", &NetworkSpec::spines,
          "Links from each leaf to the spines, one of which a flow takes (leaf_spine).")
      .between(1, 1024)
      .because("assumed; a switch of 32 ports has half of them up")
      .brief();
  s.field("oversubscription", &NetworkSpec::oversubscription,
          "What the nodes of a leaf can send over what its uplinks carry (leaf_spine).")
      .between(0.01, 1000)
      .because("networks for inference with RDMA are built without")
      .brief();
  rate("disk_read", &NetworkSpec::disk_read, "Per node, from its local disks.",
       "the profile's, or one NVMe drive: 7 GB/s");
  rate("disk_write", &NetworkSpec::disk_write, "Per node, to its local disks.",
       "the profile's, or one NVMe drive: 5 GB/s");
  latency("disk_latency", &NetworkSpec::disk_latency, "Time before a disk's first byte.",
          "the profile's, or 100 us");
  s.field("store", &NetworkSpec::store, "Of the object store, all nodes together.")
      .between(BytesPerSec(0), kFastest)
      .because("a gateway with one 200 Gb/s port; 0 lifts the limit")
      .brief();
  s.field("store_latency", &NetworkSpec::store_latency,
          "Time before the object store's first byte.")
      .at_least(Duration{0})
      .because("object stores answer in tens of milliseconds")
      .brief();
}

}  // namespace dyn
