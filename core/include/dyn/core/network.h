#pragma once

#include <optional>

#include "dyn/core/profile.h"
#include "dyn/core/quantity.h"

namespace dyn {

/// What joins the nodes.
enum class FabricKind {
  non_blocking,  ///< every port at its full rate, whoever talks to whom
  leaf_spine,    ///< nodes under leaves, leaves joined by spines; a flow takes one spine (ECMP)
};

/// The links that KV, tier traffic and weights travel over. What is not set is that of the GPU and
/// its node (`resolve_network`). Rates are per direction.
struct NetworkSpec {
  FabricKind fabric = FabricKind::non_blocking;
  std::optional<int> gpus_per_node;
  std::optional<BytesPerSec> intra_node;  ///< per GPU, within a node
  std::optional<BytesPerSec> inter_node;  ///< per GPU, its network card
  std::optional<BytesPerSec> host_link;   ///< per GPU, to the memory of its host
  std::optional<Duration> intra_node_latency;
  std::optional<Duration> inter_node_latency;
  int nodes_per_leaf = 32;
  int spines = 16;                        ///< links up from each leaf
  double oversubscription = 1;            ///< what a leaf's nodes can send / what its uplinks carry
  std::optional<BytesPerSec> disk_read;   ///< per node
  std::optional<BytesPerSec> disk_write;  ///< per node
  std::optional<Duration> disk_latency;
  BytesPerSec store{25e9};  ///< of the object store, all nodes together
  Duration store_latency = std::chrono::milliseconds(20);
  bool operator==(const NetworkSpec&) const = default;
};

/// The same with every figure set, from the device's data sheet and the profile's measurements;
/// disks that were not measured are one PCIe 4 NVMe drive (7 and 5 GB/s, 100 us).
NetworkSpec resolve_network(const NetworkSpec& spec, const Profile& profile);

}  // namespace dyn
