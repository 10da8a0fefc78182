#pragma once

// The parts of Asio that headers of this room need.
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

namespace dyn::serve {
namespace net = boost::asio;
using net::ip::tcp;
}  // namespace dyn::serve
