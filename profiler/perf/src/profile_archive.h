#pragma once

#include <string>
#include <string_view>

#include "dyn/core/profile.h"

namespace dyn::perf {

/// A profile in the few bytes that become part of the binary, where reading its JSON would take as
/// long as a simulation. Written when dyn is built, by `dyn_pack_profiles`, and read by that build
/// alone: the form has no version and nothing in it is checked but that all of it was read.
/// `unpack_profile(pack_profile(p))` is p, bit for bit.
std::string pack_profile(const Profile& profile);
Profile unpack_profile(std::string_view bytes);

}  // namespace dyn::perf
