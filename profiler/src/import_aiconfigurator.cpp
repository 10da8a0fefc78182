#include "aiconfigurator_tables.h"
#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/core/version.h"
#include "dyn/perf/builtin_profiles.h"
#include "dyn/profiler/import.h"
#include "slice_fits.h"

namespace dyn::profiler {

Profile import_aiconfigurator(const ImportOptions& options) {
  Profile profile = options.base ? *options.base : perf::specification_profile(options.gpu);
  const Slices slices = read_aiconfigurator(options, profile.device);
  if (slices.empty()) {
    throw Error(ErrorKind::bad_input, {{"none of its tables of the " + profile.device.name +
                                            " has a row that dyn can use",
                                        Where{options.path, 0, 0, {}},
                                        "without --quiet the import says of each table why",
                                        {}}});
  }
  put_fits(fit_slices(slices, profile.device, {options.cancelled, options.note}), profile);
  profile.created_by = "dyn profile import aiconfigurator --gpu " + profile.device.id + ", dyn " +
                       std::string(version());
  profile.description = profile.device.name + ": surfaces fitted to four fifths of the rows of " +
                        "the operator tables of " + kAiconfigurator +
                        ", per engine; constants of specification grade where it has no table";
  return profile;
}

}  // namespace dyn::profiler
