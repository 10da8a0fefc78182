#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace dyn::cli {

using PieceSink = std::function<void(std::string_view)>;

/// write_file() for what is made in pieces: `make` hands them to the sink it is given, and must not
/// throw itself. Throws Error(failed).
void write_pieces(const std::string& path, const std::function<void(const PieceSink&)>& make);

}  // namespace dyn::cli
