#include "dyn/profiler/show.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/perf/builtin_profiles.h"

namespace dyn::profiler {
namespace {

template <class Body>
Error error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error was thrown");
  throw;
}

bool mentions(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

TEST_CASE("A known device that is not here is a failure that names its built-in profile",
          "[show]") {
  for (const std::string name : {"h100", "H100", "h100-sxm"}) {
    const Error error = error_of([&] { refuse_device(name); });
    REQUIRE(error.kind() == ErrorKind::failed);
    REQUIRE(mentions(error.what(), "'h100'"));
    REQUIRE(mentions(error.what(), "dyn profile show h100"));
  }
}

TEST_CASE("An unknown device is bad input with the name that was meant", "[show]") {
  const Error gpu = error_of([] { refuse_device("h1000"); });
  REQUIRE(gpu.kind() == ErrorKind::bad_input);
  REQUIRE(mentions(gpu.what(), "did you mean 'h100'"));
  const Error cpu = error_of([] { refuse_device("cpy"); });
  REQUIRE(cpu.kind() == ErrorKind::bad_input);
  REQUIRE(mentions(cpu.what(), "did you mean 'cpu'"));
}

TEST_CASE("A profile opens by name and by path", "[show]") {
  REQUIRE(open_profile("h200").name == "h200");
  REQUIRE(error_of([] { open_profile("h20"); }).kind() == ErrorKind::bad_input);
  const Error missing = error_of([] { open_profile("no/such/profile.json"); });
  REQUIRE(missing.kind() == ErrorKind::bad_input);
  REQUIRE(mentions(missing.what(), "no/such/profile.json"));
}

TEST_CASE("A profile of a newer schema, and one that is cut short, are refused by file and line",
          "[show]") {
  namespace fs = std::filesystem;
  const fs::path path = fs::temp_directory_path() / "dyn_show_profile.json";
  const auto refused = [&path](const std::string& text) {
    std::ofstream(path) << text;
    return error_of([&path] { open_profile(path.string()); });
  };
  const std::string whole = to_json(perf::specification_profile("h100"));
  std::ofstream(path) << whole;
  REQUIRE(open_profile(path.string()).name == "h100");
  std::string newer = whole;
  newer.replace(newer.find("dyn.profile/1"), 13, "dyn.profile/2");
  const Error version = refused(newer);
  REQUIRE(version.kind() == ErrorKind::bad_input);
  REQUIRE(mentions(version.what(), path.string() + ":2:"));
  REQUIRE(mentions(version.what(), "newer than what this dyn"));
  // Cut in the middle of a number, of a name, between two fits, and to nothing.
  for (const std::size_t length :
       {whole.size() - 3, whole.size() / 2, whole.find("\"operators\"") + 4, std::size_t{40},
        std::size_t{1}, std::size_t{0}}) {
    INFO(length);
    const Error cut = refused(whole.substr(0, length));
    REQUIRE(cut.kind() == ErrorKind::bad_input);
    REQUIRE(mentions(cut.what(), path.string()));
  }
  fs::remove(path);
}

TEST_CASE("The text of a profile shows each figure with source, error bar and provenance",
          "[show]") {
  Profile p;
  p.name = "toy";
  p.device.name = "Toy GPU";
  p.device.memory = Bytes(std::int64_t{80} << 30);
  p.device.memory_bandwidth = BytesPerSec(3.35e12);
  p.device.peak[Precision::bf16] = FlopsPerSec(989e12);
  p.device.sources["memory"] = "toy datasheet";
  OperatorFit fit;
  fit.kind = OperatorKind::attention_decode;
  fit.compute_efficiency = 0.5;
  fit.bandwidth_efficiency = 0.825;
  fit.overhead = std::chrono::microseconds(7);
  fit.relative_error = 0.12;
  fit.provenance = Provenance::interpolated;
  fit.source = "some paper";
  p.operators = {fit};
  const std::string text = profile_text(p);
  for (const char* part :
       {"toy: Toy GPU", "80 GiB", "toy datasheet", "3.35 TB/s", "989 TFLOP/s", "attention_decode",
        "82.5 %", "7 us", "+-12 %", "interpolated", "some paper"}) {
    CAPTURE(part, text);
    REQUIRE(mentions(text, part));
  }
  REQUIRE(provenance_summary(p) == "1 interpolated");
  p.operators.push_back(fit);
  p.operators.back().provenance = Provenance::measured;
  REQUIRE(provenance_summary(p) == "1 measured, 1 interpolated");
}

TEST_CASE("No two operators of a built-in profile look alike, and lines fit 120 columns",
          "[show]") {
  for (const std::string& name : perf::builtin_profile_names()) {
    const std::string text = profile_text(perf::builtin_profile(name));
    const std::size_t begin = text.find("  operator ");
    REQUIRE(begin != std::string::npos);
    std::istringstream lines(text.substr(begin, text.find("\n\n", begin) - begin));
    std::string line;
    std::getline(lines, line);
    const std::size_t part_ends = line.find("compute");
    std::set<std::string> seen;
    while (std::getline(lines, line)) {
      CAPTURE(name, line);
      CHECK(line.size() <= 120);
      CHECK(seen.insert(line.substr(0, part_ends)).second);
    }
    CHECK(seen.size() >= 8);
  }
}

TEST_CASE("The list has a line for every built-in profile", "[show]") {
  const std::string text = builtin_list_text();
  const std::string json = builtin_list_json();
  for (const std::string& name : perf::builtin_profile_names()) {
    REQUIRE(mentions(text, "\n" + name + " "));
    REQUIRE(mentions(json, "\"name\": \"" + name + "\""));
    REQUIRE(!profile_text(perf::builtin_profile(name)).empty());
  }
  REQUIRE_NOTHROW(Document::parse(json, "list.json"));
}

}  // namespace
}  // namespace dyn::profiler
