#pragma once

#include <boost/system/error_code.hpp>
#include <type_traits>

namespace dyn::kernels {

/// Why a launch was refused. A refused launch has written nothing.
enum class errc {
  null_pointer = 1,  ///< a pointer is null although there is something to read or write
  bad_size,          ///< a negative extent, or a zero where at least one is needed
  too_large,         ///< the extents do not fit 63 bits of bytes
  bad_stride,        ///< rows overlap: a stride is smaller than a row
  bad_heads,         ///< query heads are not a multiple of key/value heads
  bad_parameter,     ///< an epsilon, scale, base or rotary size out of range
  bad_precision,     ///< values stored in a format that this kernel does not read
  bad_block,         ///< a block number outside the pool
  duplicate_block,   ///< a scatter that writes one block twice
  bad_sequence,      ///< sequence bounds that decrease, or a query longer than its context
  table_too_short,   ///< a context longer than its row of the block table
  no_device,         ///< this build or machine has no such device
  out_of_memory,     ///< the device cannot hold the buffer
};

const boost::system::error_category& category() noexcept;
boost::system::error_code make_error_code(errc code) noexcept;

}  // namespace dyn::kernels

template <>
struct boost::system::is_error_code_enum<dyn::kernels::errc> : std::true_type {};
