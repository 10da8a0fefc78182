#pragma once

#include <boost/system/result.hpp>

namespace dyn {

/// A value or an error code: the currency of the data path, where a failure is an expected
/// outcome. Each room has its own `errc` and category. `.value()` throws on an error.
template <class T>
using Result = boost::system::result<T>;

}  // namespace dyn
