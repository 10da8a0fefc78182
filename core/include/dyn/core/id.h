#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace dyn {

/// An identity of one kind of thing; ids of different kinds do not mix.
template <class Tag, class Rep = std::uint32_t>
class Id {
 public:
  using rep = Rep;
  constexpr Id() = default;
  constexpr explicit Id(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Id&) const = default;

 private:
  Rep value_ = static_cast<Rep>(-1);
};

using RequestId = Id<struct RequestTag, std::uint32_t>;  ///< dense within one run or server
using WorkerId = Id<struct WorkerTag, std::uint32_t>;    ///< index of a worker within its pool
using BlockId = Id<struct BlockTag, std::uint32_t>;      ///< index of a KV block within a pool

}  // namespace dyn

template <class Tag, class Rep>
struct std::hash<dyn::Id<Tag, Rep>> {
  std::size_t operator()(dyn::Id<Tag, Rep> id) const noexcept {
    return std::hash<Rep>{}(id.value());
  }
};
