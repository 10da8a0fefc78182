#include "dyn/kernels/error.h"

#include <string>

namespace dyn::kernels {
namespace {

// Its base has no virtual destructor, and is never destroyed through.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class Category final : public boost::system::error_category {
 public:
  const char* name() const noexcept override { return "dyn.kernels"; }
  std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::null_pointer:
        return "a pointer is null";
      case errc::bad_size:
        return "an extent is negative, or zero where one is needed";
      case errc::too_large:
        return "the extents are too large";
      case errc::bad_stride:
        return "a stride is smaller than its row";
      case errc::bad_heads:
        return "query heads are not a multiple of key/value heads";
      case errc::bad_parameter:
        return "a parameter is out of range";
      case errc::bad_precision:
        return "the kernel does not read values of this precision";
      case errc::bad_block:
        return "a block number is outside the pool";
      case errc::duplicate_block:
        return "a scatter writes one block twice";
      case errc::bad_sequence:
        return "sequence bounds decrease, or a query exceeds its context";
      case errc::table_too_short:
        return "a context is longer than its block table";
      case errc::no_device:
        return "there is no such device";
      case errc::out_of_memory:
        return "not enough device memory";
    }
    return "unknown error";
  }
};
#pragma GCC diagnostic pop

}  // namespace

const boost::system::error_category& category() noexcept {
  static const Category instance;
  return instance;
}

boost::system::error_code make_error_code(errc code) noexcept {
  return {static_cast<int>(code), category()};
}

}  // namespace dyn::kernels
