#include "dyn/profiler/measure.h"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "dyn/core/document.h"

namespace dyn::profiler {
namespace {

/// A folder of its own, removed at the end.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "dyn-profiler-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  bool empty() const { return std::filesystem::is_empty(path_); }

 private:
  std::filesystem::path path_;
};

using namespace dyn::literals;

MeasureOptions quick(const std::string& disk_folder) {
  MeasureOptions options;
  options.budget = std::chrono::milliseconds(1);
  options.sizes = {8_MiB, 256, 1};
  options.disk_folder = disk_folder;
  options.command = "dyn profile --gpu cpu";
  return options;
}

TEST_CASE("Measuring this machine gives a profile in which every figure has a source",
          "[measure]") {
  const Folder folder;
  double last = -1;
  bool rising = true;
  MeasureOptions options = quick(folder.path());
  options.progress = [&](double fraction, const std::string& what) {
    rising = rising && fraction > last && fraction <= 1 && !what.empty();
    last = fraction;
  };
  const auto measured = measure_cpu(options);
  REQUIRE(measured);
  REQUIRE(rising);
  REQUIRE(last == 1.0);
  REQUIRE(folder.empty());
  const Profile& p = measured->profile;
  REQUIRE(!p.name.empty());
  REQUIRE(p.created_by.find("dyn profile --gpu cpu") == 0);
  REQUIRE(p.device.vendor == "cpu");
  REQUIRE(p.device.memory.count() > 0);
  REQUIRE(p.device.memory_bandwidth.count() > 1e6);
  REQUIRE(p.device.peak.at(Precision::fp32).count() > 1e6);
  for (const char* field : {"memory", "memory_bandwidth", "peak"}) {
    REQUIRE(!p.device.sources.at(field).empty());
  }
  std::set<std::pair<OperatorKind, Precision>> kinds;
  for (const OperatorFit& f : p.operators) {
    kinds.emplace(f.kind, f.precision);
    REQUIRE(f.provenance == Provenance::measured);
    REQUIRE(f.compute_efficiency > 0);
    REQUIRE(f.compute_efficiency <= 1);
    REQUIRE(f.bandwidth_efficiency > 0);
    REQUIRE(f.bandwidth_efficiency <= 1);
    REQUIRE(f.overhead >= Duration(0));
    REQUIRE(f.relative_error > 0);
    REQUIRE(f.source.find("dyn profile --gpu cpu") != std::string::npos);
  }
  REQUIRE(kinds.count({OperatorKind::gemm, Precision::bf16}) == 1);
  REQUIRE(kinds.count({OperatorKind::gemm, Precision::fp32}) == 1);
  REQUIRE(kinds.count({OperatorKind::attention_prefill, Precision::bf16}) == 1);
  REQUIRE(kinds.count({OperatorKind::attention_decode, Precision::bf16}) == 1);
  REQUIRE(kinds.count({OperatorKind::elementwise, Precision::bf16}) == 1);
  REQUIRE(p.storage.size() == 2);
  for (const StorageFit& s : p.storage) {
    REQUIRE(s.read.count() > 0);
    REQUIRE(s.write.count() > 0);
    REQUIRE(s.latency > Duration(0));
  }
  // What is written can be read, and says the same.
  const Profile back = parse_profile(Document::parse(to_json(p), "profile.json"));
  REQUIRE(to_json(back) == to_json(p));
  REQUIRE(back.operators.size() == p.operators.size());
}

TEST_CASE("A measurement that is cancelled gives nothing and leaves no file behind", "[measure]") {
  const Folder folder;
  for (const std::string at : {"peak rate", "disk", "prefill attention"}) {
    std::atomic<bool> cancelled{false};
    MeasureOptions options = quick(folder.path());
    options.cancelled = &cancelled;
    options.progress = [&](double, const std::string& what) {
      cancelled = cancelled || what == at;
    };
    REQUIRE_FALSE(measure_cpu(options));
    REQUIRE(cancelled);
    REQUIRE(folder.empty());
  }
}

TEST_CASE("A disk that cannot be measured is a warning, not the end", "[measure]") {
  const auto measured = measure_cpu(quick("/no/such/folder"));
  REQUIRE(measured);
  REQUIRE(measured->warnings.size() == 1);
  REQUIRE(measured->warnings[0].find("/no/such/folder") != std::string::npos);
  REQUIRE(measured->profile.storage.size() == 1);
}

/// Every look at it takes a microsecond.
class TickingClock final : public Clock {
 public:
  Duration now() override { return now_ += std::chrono::microseconds(1); }

 private:
  Duration now_{0};
};

TEST_CASE("All times are read from the clock that was given", "[measure]") {
  TickingClock clock;
  MeasureOptions options = quick("");
  options.clock = &clock;
  const auto measured = measure_cpu(options);
  REQUIRE(measured);
  REQUIRE(measured->profile.storage[0].latency == Duration(1));  // 20000 loads in a microsecond
  REQUIRE(measured->profile.device.memory_bandwidth.count() > 4e12);  // 8 MiB in a microsecond
}

}  // namespace
}  // namespace dyn::profiler
