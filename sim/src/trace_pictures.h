#pragma once

#include <string_view>

#include "dyn/policy/prompt_images.h"

namespace dyn::sim {

/// A picture that a request of a trace has.
struct Picture {
  policy::ImageId id = 0;  ///< equal references are one picture
  int width = 0;           ///< pixels; 0: the reference does not say
  int height = 0;
  const char* problem = nullptr;  ///< what is wrong with the reference
};

/// The picture behind a reference: of a PNG or JPEG as a data: URL the size that its header says;
/// the size of others (https:, paths, other types) is not known. Nothing is fetched or opened.
Picture picture_of(std::string_view reference);

}  // namespace dyn::sim
