#pragma once

#include <map>
#include <string>

#include "dyn/core/precision.h"
#include "dyn/core/quantity.h"

namespace dyn {

/// A GPU (or CPU) and the node it sits in, as the vendor specifies it. Peak rates are dense.
struct GpuSpec {
  std::string id;      ///< short name, such as h200
  std::string name;    ///< such as NVIDIA H200 SXM
  std::string vendor;  ///< nvidia, amd or cpu
  Bytes memory;        ///< usable device memory
  BytesPerSec memory_bandwidth;
  std::map<Precision, FlopsPerSec> peak;  ///< by compute precision; a missing one is not native
  Watts power;                            ///< of one device, specified limit
  int gpus_per_node = 8;   ///< GPUs that `intra_node` joins: a server's, or an NVL72 rack's
  BytesPerSec intra_node;  ///< per GPU and direction, NVLink, xGMI or PCIe
  BytesPerSec inter_node;  ///< per GPU and direction, NIC
  BytesPerSec host_link;   ///< per GPU and direction, PCIe or C2C to the host's memory
  /// Where each figure is from, by field name (memory, memory_bandwidth, peak, power, ...).
  std::map<std::string, std::string> sources;

  /// Peak rate for weights of `p`: native, else that of the nearest wider format it runs in.
  FlopsPerSec peak_for(Precision p) const;
};

}  // namespace dyn
