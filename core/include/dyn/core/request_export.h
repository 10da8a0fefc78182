#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "dyn/core/report.h"

namespace dyn {

/// What to_request_export() gives, in pieces of some hundred kilobytes: a file of millions of lines
/// needs no memory of its size. Up to `threads` threads make them; `sink` gets them in order, on
/// the calling one, and whatever it throws ends it.
void write_request_export(std::span<const RequestRecord> records,
                          const std::function<void(std::string_view)>& sink, int threads = 1);

}  // namespace dyn
