#include "dyn/cli/app.h"

int main(int argc, char** argv) {
  return dyn::cli::run(argc, argv);
}
