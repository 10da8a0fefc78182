#pragma once

#include "dyn/cli/app.h"
#include "dyn/core/error.h"

namespace dyn::cli {

/// Prints every item of an error on stderr, with a count where there are several of one file; with
/// --json also a dyn.error/1 document on stdout.
void print_error(const Context& context, const Error& error);

/// Sends log lines of --log-level and above to stderr.
void install_log(const Context& context);

}  // namespace dyn::cli
