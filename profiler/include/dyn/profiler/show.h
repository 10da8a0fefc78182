#pragma once

#include <string>
#include <vector>

#include "dyn/core/profile.h"

namespace dyn::profiler {

/// The profile of a name (built-in, in the catalogue's spellings) or of a file: a name with a
/// slash, ending in .json, or of something that exists. Throws Error(bad_input) as load_profile
/// does, or for an unknown name with the nearest.
Profile open_profile(const std::string& name_or_path);

/// What `dyn profile --gpu NAME` has to say for anything but cpu: throws Error(bad_input) for an
/// unknown name, with the nearest, and Error(failed) for a known one, naming its built-in
/// profile: this version measures processors only.
[[noreturn]] void refuse_device(const std::string& gpu);

/// How well the operators of a profile are known, best first, such as
/// "3 interpolated, 5 extrapolated".
std::string provenance_summary(const Profile& profile);

/// A table for people: the device's figures with their sources, operators, engines, storage.
std::string profile_text(const Profile& profile);

/// The built-in profiles, one a line: name, device, memory, how well they are known.
std::string builtin_list_text();
/// The same as one JSON document.
std::string builtin_list_json();

}  // namespace dyn::profiler
