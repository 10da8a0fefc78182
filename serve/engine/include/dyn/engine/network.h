#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dyn/core/network.h"
#include "dyn/engine/flow_network.h"

namespace dyn::engine {

using SiteId = Id<struct SiteTag>;
using TransferId = Id<struct TransferTag>;

/// Where bytes come from or go to.
enum class Place : std::uint8_t {
  gpus,   ///< the memory of a site's GPUs
  host,   ///< the memory of the node that the site is in
  disk,   ///< the local disks of that node
  store,  ///< the object store; the site is ignored
};
struct Endpoint {
  Place place = Place::gpus;
  SiteId site;
};

enum class LinkKind : std::uint8_t {
  intra_node,  ///< between GPUs of a node, of one site
  inter_node,  ///< the network cards of one site
  host_link,   ///< PCIe of one site
  disk,        ///< of the node that the site is in
  uplinks,     ///< between the leaf that the site is under and all spines
  store,       ///< of the object store
};

/// The topology that transfers travel over, each as one or more flows of a FlowNetwork.
///
/// A site is the GPUs of one engine; sites are placed node by node in the order in which they are
/// added, and one that fits a node does not straddle two. The GPUs of a site send and receive
/// together, so that its ports have the rate of all of its GPUs:
///   GPUs to GPUs of one node      sender's and receiver's intra_node ports
///   GPUs to GPUs of other nodes   sender's and receiver's network cards, and between them, in a
///                                 leaf_spine fabric under other leaves, an uplink and a downlink
///   GPUs to or from their host    host_link; another node's host by the network cards
///   disk                          the node's disks first (or last), then as its host
///   object store                  the store's port, the fabric's downlink, the network cards
/// Host memory itself is not a bottleneck. In a leaf_spine fabric a transfer between nodes is one
/// flow a network card, and each takes the spine that a seeded hash of it names, so that flows
/// may collide; otherwise a transfer is one flow. Links whose rate is given as 0 are not modelled.
///
/// A transfer ends when its last byte has landed: latency of the path after it was sent.
/// Pure and deterministic; time as in FlowNetwork. Not thread-safe.
class Network {
 public:
  /// `spec` is resolved.
  Network(const NetworkSpec& spec, std::uint64_t seed);

  /// Places the GPUs of an engine. `port`: the rate of all of them together to and from any other
  /// GPUs, in place of the node's and the fabric's links.
  SiteId add_site(int gpus, std::optional<BytesPerSec> port = std::nullopt);
  std::uint32_t node_of(SiteId site) const { return sites_[site.value()].node; }

  /// `tag` comes back when the transfer ends, to say whose it is.
  TransferId start(Endpoint from, Endpoint to, Bytes bytes, std::uint64_t tag, SimTime now);
  /// Gives a transfer up; its links are free at once.
  void cancel(TransferId transfer, SimTime now);

  std::optional<SimTime> next_event() const { return flows_.next_event(); }
  struct Arrived {
    TransferId transfer;
    std::uint64_t tag = 0;
    SimTime at;
  };
  /// Appends the transfers that ended by `now`, in order of time.
  void advance(SimTime now, std::vector<Arrived>& arrived);

  /// How long a transfer takes if it has its links to itself, with what they carry now.
  Duration alone(Endpoint from, Endpoint to, Bytes bytes) const;
  /// Sets links to a fraction of their rate: 0 stops what crosses them, 1 is whole again.
  void degrade(LinkKind kind, SiteId site, double factor, SimTime now);
  std::uint32_t transfers() const { return active_; }
  /// Bytes that the links of a kind at a site have carried, both directions.
  Bytes carried(LinkKind kind, SiteId site) const;

 private:
  struct Port {
    std::vector<LinkId> out;  ///< empty: not modelled
    std::vector<LinkId> in;
  };
  struct Site {
    std::uint32_t node = 0;
    Port intra;
    Port nic;
    Port host;
    bool flat = false;  ///< `intra` leads to every other site
  };
  struct Node {
    Port disk;  ///< out: read
  };
  struct Transfer {
    std::uint32_t flows = 0;  ///< still under way; 0: the entry is spare
    std::uint64_t tag = 0;
    std::vector<FlowId> ids;
  };

  Port make_port(BytesPerSec rate, int links);
  Port make_port(BytesPerSec out, BytesPerSec in, int links);
  void reach_node(std::uint32_t node);
  std::uint32_t leaf_of(std::uint32_t node) const {
    return node / static_cast<std::uint32_t>(spec_.nodes_per_leaf);
  }
  bool crosses_nodes(Endpoint from, Endpoint to) const;
  std::uint32_t channels(Endpoint from, Endpoint to) const;
  Duration latency(Endpoint from, Endpoint to) const;
  void find_path(Endpoint from, Endpoint to, std::uint32_t channel, std::uint64_t hash,
                 std::vector<LinkId>& path) const;
  void cross_fabric(std::uint32_t from_leaf, std::uint32_t to_leaf, std::uint64_t hash,
                    std::vector<LinkId>& path) const;
  std::vector<LinkId> links_of(LinkKind kind, SiteId site) const;

  NetworkSpec spec_;
  std::uint64_t seed_;
  FlowNetwork flows_;
  std::vector<Site> sites_;
  std::vector<Node> nodes_;
  std::vector<Port> leaves_;  ///< out: up to each spine; in: down from each
  Port store_;
  std::vector<BytesPerSec> whole_;  ///< by link: its rate when it is not degraded
  std::vector<Transfer> transfers_;
  std::vector<std::uint32_t> spare_;
  std::vector<std::uint32_t> owner_;  ///< by flow
  std::uint32_t active_ = 0;
  std::uint64_t started_ = 0;
  int gpus_placed_ = 0;
  std::vector<LinkId> path_;                 ///< scratch
  std::vector<FlowNetwork::Landed> landed_;  ///< scratch
};

}  // namespace dyn::engine
