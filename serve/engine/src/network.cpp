#include "dyn/engine/network.h"

#include <algorithm>

#include "dyn/core/check.h"

namespace dyn::engine {
namespace {

/// One round of SplitMix64's hash.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

void append(std::vector<LinkId>& path, const std::vector<LinkId>& links, std::uint64_t which) {
  if (!links.empty()) {
    path.push_back(links[which % links.size()]);
  }
}

}  // namespace

Network::Network(const NetworkSpec& spec, std::uint64_t seed) : spec_(spec), seed_(mix(seed)) {
  DYN_ASSERT(spec.gpus_per_node && spec.intra_node && spec.inter_node && spec.host_link &&
                 spec.intra_node_latency && spec.inter_node_latency && spec.disk_read &&
                 spec.disk_write && spec.disk_latency,
             "a network is resolved before it is built");
  store_ = make_port(spec.store, 1);
}

Network::Port Network::make_port(BytesPerSec rate, int links) {
  return make_port(rate, rate, links);
}

/// `links` links each way; of rate 0 none.
Network::Port Network::make_port(BytesPerSec out, BytesPerSec in, int links) {
  Port port;
  const auto add = [&](std::vector<LinkId>& to, BytesPerSec rate) {
    for (int i = 0; i < links && rate > BytesPerSec(0); ++i) {
      to.push_back(flows_.add_link(rate));
      whole_.push_back(rate);
    }
  };
  add(port.out, out);
  add(port.in, in);
  return port;
}

/// Makes the links of a node, and of the leaf above it.
void Network::reach_node(std::uint32_t node) {
  while (nodes_.size() <= node) {
    nodes_.push_back({make_port(*spec_.disk_read, *spec_.disk_write, 1)});
  }
  if (spec_.fabric != FabricKind::leaf_spine) {
    return;
  }
  const BytesPerSec below =
      *spec_.inter_node * static_cast<double>(spec_.nodes_per_leaf * *spec_.gpus_per_node);
  while (leaves_.size() <= leaf_of(node)) {
    leaves_.push_back(make_port(
        below / (spec_.oversubscription * static_cast<double>(spec_.spines)), spec_.spines));
  }
}

SiteId Network::add_site(int gpus, std::optional<BytesPerSec> port) {
  DYN_ASSERT(gpus > 0, "a site has GPUs");
  const int size = *spec_.gpus_per_node;
  const int taken = gpus_placed_ % size;
  if (taken > 0 && taken + gpus > size) {
    gpus_placed_ += size - taken;
  }
  Site site;
  site.node = static_cast<std::uint32_t>(gpus_placed_ / size);
  gpus_placed_ += gpus;
  reach_node(site.node);
  site.flat = port.has_value();
  const bool rails = spec_.fabric == FabricKind::leaf_spine;
  const auto all = static_cast<double>(gpus);
  site.intra = make_port(port.value_or(*spec_.intra_node * all), 1);
  site.nic = rails ? make_port(*spec_.inter_node, gpus) : make_port(*spec_.inter_node * all, 1);
  site.host = make_port(*spec_.host_link * all, 1);
  sites_.push_back(std::move(site));
  return SiteId(static_cast<std::uint32_t>(sites_.size() - 1));
}

bool Network::crosses_nodes(Endpoint from, Endpoint to) const {
  if (from.place == Place::store || to.place == Place::store) {
    return true;
  }
  const Site& a = sites_[from.site.value()];
  const Site& b = sites_[to.site.value()];
  const bool flat = from.place == Place::gpus && to.place == Place::gpus && a.flat && b.flat;
  return a.node != b.node && !flat;
}

/// Flows that a transfer is made of: one for each network card where they may take other ways.
std::uint32_t Network::channels(Endpoint from, Endpoint to) const {
  if (!crosses_nodes(from, to)) {
    return 1;
  }
  std::size_t count = 1;
  if (from.place != Place::store) {
    count = std::max(count, sites_[from.site.value()].nic.out.size());
  }
  if (to.place != Place::store) {
    count = std::max(count, sites_[to.site.value()].nic.in.size());
  }
  return static_cast<std::uint32_t>(count);
}

Duration Network::latency(Endpoint from, Endpoint to) const {
  Duration sum = crosses_nodes(from, to) ? *spec_.inter_node_latency : *spec_.intra_node_latency;
  for (const Place place : {from.place, to.place}) {
    sum += place == Place::store  ? spec_.store_latency
           : place == Place::disk ? *spec_.disk_latency
                                  : Duration{0};
  }
  return sum;
}

void Network::cross_fabric(std::uint32_t from_leaf, std::uint32_t to_leaf, std::uint64_t hash,
                           std::vector<LinkId>& path) const {
  if (!leaves_.empty() && from_leaf != to_leaf) {
    append(path, leaves_[from_leaf].out, hash);
    append(path, leaves_[to_leaf].in, hash);
  }
}

void Network::find_path(Endpoint from, Endpoint to, std::uint32_t channel, std::uint64_t hash,
                        std::vector<LinkId>& path) const {
  path.clear();
  const bool across = crosses_nodes(from, to);
  const Site* a = from.place == Place::store ? nullptr : &sites_[from.site.value()];
  const Site* b = to.place == Place::store ? nullptr : &sites_[to.site.value()];
  const bool both_gpus = from.place == Place::gpus && to.place == Place::gpus;
  if (from.place == Place::store) {
    append(path, store_.out, 0);
  } else if (from.place == Place::disk) {
    append(path, nodes_[a->node].disk.out, 0);
  }
  if (across) {
    if (a != nullptr) {
      append(path, a->nic.out, channel);
    }
    if (a != nullptr && b != nullptr) {
      cross_fabric(leaf_of(a->node), leaf_of(b->node), hash, path);
    } else if (!leaves_.empty()) {  // the store hangs off the spines
      const Port& leaf = leaves_[leaf_of((a != nullptr ? a : b)->node)];
      append(path, a != nullptr ? leaf.out : leaf.in, hash);
    }
    if (b != nullptr) {
      append(path, b->nic.in, channel);
    }
  } else if (both_gpus && a != b) {
    append(path, a->intra.out, 0);
    append(path, b->intra.in, 0);
  } else if (!both_gpus && from.place == Place::gpus) {
    append(path, a->host.out, 0);
  } else if (!both_gpus && to.place == Place::gpus) {
    append(path, b->host.in, 0);
  }
  if (to.place == Place::store) {
    append(path, store_.in, 0);
  } else if (to.place == Place::disk) {
    append(path, nodes_[b->node].disk.in, 0);
  }
}

TransferId Network::start(Endpoint from, Endpoint to, Bytes bytes, std::uint64_t tag, SimTime now) {
  std::uint32_t id = 0;
  if (spare_.empty()) {
    id = static_cast<std::uint32_t>(transfers_.size());
    transfers_.emplace_back();
  } else {
    id = spare_.back();
    spare_.pop_back();
  }
  Transfer& transfer = transfers_[id];
  transfer.tag = tag;
  transfer.flows = channels(from, to);
  transfer.ids.clear();
  const std::uint64_t hash = mix(seed_ ^ ++started_);
  const std::int64_t share = bytes.count() / transfer.flows;
  const std::int64_t rest = bytes.count() % transfer.flows;
  for (std::uint32_t channel = 0; channel < transfer.flows; ++channel) {
    find_path(from, to, channel, mix(hash + channel), path_);
    const Bytes part(share + (channel < rest ? 1 : 0));
    const FlowId flow = flows_.start(path_, part, latency(from, to), now);
    transfer.ids.push_back(flow);
    if (owner_.size() <= flow.value()) {
      owner_.resize(flow.value() + 1);
    }
    owner_[flow.value()] = id;
  }
  ++active_;
  return TransferId(id);
}

void Network::cancel(TransferId id, SimTime now) {
  Transfer& transfer = transfers_[id.value()];
  DYN_ASSERT(transfer.flows > 0, "gives up a transfer that is over");
  for (const FlowId flow : transfer.ids) {
    flows_.cancel(flow, now);
  }
  transfer.flows = 0;
  transfer.ids.clear();
  spare_.push_back(id.value());
  --active_;
}

void Network::advance(SimTime now, std::vector<Arrived>& arrived) {
  landed_.clear();
  flows_.advance(now, landed_);
  for (const FlowNetwork::Landed& landed : landed_) {
    const std::uint32_t id = owner_[landed.flow.value()];
    Transfer& transfer = transfers_[id];
    transfer.ids.erase(std::find(transfer.ids.begin(), transfer.ids.end(), landed.flow));
    if (--transfer.flows == 0) {
      arrived.push_back({TransferId(id), transfer.tag, landed.at});
      spare_.push_back(id);
      --active_;
    }
  }
}

Duration Network::alone(Endpoint from, Endpoint to, Bytes bytes) const {
  const std::uint32_t count = channels(from, to);
  std::vector<LinkId> path;
  double slowest = 0;
  for (std::uint32_t channel = 0; channel < count; ++channel) {
    find_path(from, to, channel, channel, path);
    double rate = 0;
    for (const LinkId link : path) {
      const double has = flows_.capacity(link).count();
      rate = rate == 0 ? has : std::min(rate, has);
    }
    const double part = static_cast<double>(bytes.count()) / count;
    slowest = std::max(slowest, rate > 0 ? part / rate : 0.0);
  }
  return latency(from, to) + from_seconds(slowest);
}

std::vector<LinkId> Network::links_of(LinkKind kind, SiteId id) const {
  const Site& site = sites_[id.value()];
  const Port* port = nullptr;
  switch (kind) {
    case LinkKind::intra_node:
      port = &site.intra;
      break;
    case LinkKind::inter_node:
      port = &site.nic;
      break;
    case LinkKind::host_link:
      port = &site.host;
      break;
    case LinkKind::disk:
      port = &nodes_[site.node].disk;
      break;
    case LinkKind::uplinks:
      port = leaves_.empty() ? nullptr : &leaves_[leaf_of(site.node)];
      break;
    case LinkKind::store:
      port = &store_;
      break;
  }
  std::vector<LinkId> links;
  if (port != nullptr) {
    links = port->out;
    links.insert(links.end(), port->in.begin(), port->in.end());
  }
  return links;
}

void Network::degrade(LinkKind kind, SiteId site, double factor, SimTime now) {
  DYN_ASSERT(factor >= 0 && factor <= 1, "a fraction of a link's rate");
  for (const LinkId link : links_of(kind, site)) {
    flows_.set_capacity(link, whole_[link.value()] * factor, now);
  }
}

Bytes Network::carried(LinkKind kind, SiteId site) const {
  Bytes sum(0);
  for (const LinkId link : links_of(kind, site)) {
    sum += flows_.carried(link);
  }
  return sum;
}

}  // namespace dyn::engine
