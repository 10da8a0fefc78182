#include "profile_archive.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "dyn/core/check.h"

namespace dyn::perf {
namespace {

/// How the numbers of a list are written: surfaces are small whole numbers.
enum class Form : std::uint8_t { int16, int32, real };

template <class Whole>
bool whole_in(double value) {
  return value >= static_cast<double>(std::numeric_limits<Whole>::min()) &&
         value <= static_cast<double>(std::numeric_limits<Whole>::max()) &&
         std::bit_cast<std::uint64_t>(static_cast<double>(static_cast<Whole>(value))) ==
             std::bit_cast<std::uint64_t>(value);
}

/// Appends plain values in the machine's own byte order.
class Packer {
 public:
  static constexpr bool kReads = false;

  template <class T>
  void plain(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& value) {
    size(value.size());
    bytes_ += value;
  }
  std::size_t size(std::size_t count) {
    plain(static_cast<std::uint32_t>(count));
    return count;
  }
  void numbers(const std::vector<double>& values) {
    size(values.size());
    const auto all = [&](auto fits) { return std::all_of(values.begin(), values.end(), fits); };
    const Form form = all(whole_in<std::int16_t>)   ? Form::int16
                      : all(whole_in<std::int32_t>) ? Form::int32
                                                    : Form::real;
    plain(form);
    for (const double value : values) {
      if (form == Form::int16) {
        plain(static_cast<std::int16_t>(value));
      } else if (form == Form::int32) {
        plain(static_cast<std::int32_t>(value));
      } else {
        plain(value);
      }
    }
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Unpacker {
 public:
  static constexpr bool kReads = true;

  explicit Unpacker(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  void plain(T& value) {
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
  }
  void text(std::string& value) { value = take(size(0)); }
  std::size_t size(std::size_t) {
    std::uint32_t count = 0;
    plain(count);
    return count;
  }
  void numbers(std::vector<double>& values) {
    const std::size_t count = size(0);
    Form form{};
    plain(form);
    switch (form) {
      case Form::int16:
        return convert<std::int16_t>(count, values);
      case Form::int32:
        return convert<std::int32_t>(count, values);
      case Form::real:
        return convert<double>(count, values);
    }
  }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view take(std::size_t count) {
    DYN_ASSERT(count <= bytes_.size(), "a packed profile ends early");
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  template <class From>
  void convert(std::size_t count, std::vector<double>& values) {
    const char* from = take(count * sizeof(From)).data();
    values.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      From value;
      std::memcpy(&value, from + i * sizeof value, sizeof value);
      values[i] = static_cast<double>(value);
    }
  }

  std::string_view bytes_;
};

// What a profile is made of, in one order for writing and reading. `archive` is a Packer, or an
// Unpacker that fills the fields in.

template <class Archive, class T>
requires std::is_trivially_copyable_v<T>
void fields(Archive& archive, T& value) {
  archive.plain(value);
}
template <class Archive>
void fields(Archive& archive, std::string& value) {
  archive.text(value);
}
template <class Archive>
void fields(Archive& archive, std::vector<double>& values) {
  archive.numbers(values);
}
template <class Archive, class T>
void fields(Archive& archive, std::optional<T>& value) {
  bool has = value.has_value();
  archive.plain(has);
  if (has) {
    fields(archive, Archive::kReads ? value.emplace() : *value);
  }
}
template <class Archive, class K, class V>
void fields(Archive& archive, std::map<K, V>& map) {
  const std::size_t count = archive.size(map.size());
  if constexpr (Archive::kReads) {
    for (std::size_t i = 0; i < count; ++i) {
      K key{};
      fields(archive, key);
      fields(archive, map[std::move(key)]);
    }
  } else {
    for (auto& [key, value] : map) {
      K copy = key;
      fields(archive, copy);
      fields(archive, value);
    }
  }
}
template <class Archive, class T>
void fields(Archive& archive, std::vector<T>& items) {
  items.resize(archive.size(items.size()));
  for (T& item : items) {
    fields(archive, item);
  }
}

template <class Archive, class... Members>
void each(Archive& archive, Members&... members) {
  (fields(archive, members), ...);
}

template <class Archive>
void fields(Archive& archive, SurfaceAxis& axis) {
  each(archive, axis.quantity, axis.knots);
}
template <class Archive>
void fields(Archive& archive, CorrectionSurface& surface) {
  each(archive, surface.axes, surface.log2_hundredths);
}
template <class Archive>
void fields(Archive& archive, OperatorFit& fit) {
  each(archive, fit.kind, fit.precision, fit.engine, fit.version, fit.kv_cache, fit.head_dim,
       fit.kv_group, fit.window, fit.gpus, fit.compute_efficiency, fit.bandwidth_efficiency,
       fit.overhead, fit.correction, fit.surfaces, fit.held_out_error, fit.samples,
       fit.relative_error, fit.provenance, fit.source);
}
template <class Archive>
void fields(Archive& archive, ServingFactors& of) {
  each(archive, of.gemm, of.attention, of.experts, of.collective, of.elementwise, of.source);
}
template <class Archive>
void fields(Archive& archive, EngineHost& host) {
  each(archive, host.engine, host.version, host.step_base, host.step_per_sequence, host.overlapped,
       host.frontend_per_request, host.serving, host.relative_error, host.provenance, host.source);
}
template <class Archive>
void fields(Archive& archive, StorageFit& storage) {
  each(archive, storage.name, storage.read, storage.write, storage.latency, storage.provenance,
       storage.source);
}
template <class Archive>
void fields(Archive& archive, GpuSpec& gpu) {
  each(archive, gpu.id, gpu.name, gpu.vendor, gpu.memory, gpu.memory_bandwidth, gpu.peak, gpu.power,
       gpu.gpus_per_node, gpu.intra_node, gpu.inter_node, gpu.host_link, gpu.sources);
}
template <class Archive>
void fields(Archive& archive, Profile& profile) {
  each(archive, profile.name, profile.created_by, profile.description, profile.device,
       profile.operators, profile.engines, profile.storage, profile.intra_node_latency,
       profile.inter_node_latency);
}

}  // namespace

std::string pack_profile(const Profile& profile) {
  Packer packer;
  Profile copy = profile;
  fields(packer, copy);
  return packer.take();
}

Profile unpack_profile(std::string_view bytes) {
  Unpacker unpacker(bytes);
  Profile profile;
  fields(unpacker, profile);
  DYN_ASSERT(unpacker.at_end(), "a packed profile goes on after its end");
  return profile;
}

}  // namespace dyn::perf
