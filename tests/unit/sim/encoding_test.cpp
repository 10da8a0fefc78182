// Images in whole simulations: encoded by engines, and by an encode pool.
#include <catch2/catch.hpp>
#include <set>

#include "dyn/core/catalogue.h"
#include "dyn/core/error.h"
#include "dyn/sim/run_trace.h"
#include "figures.h"
#include "fleets.h"

namespace dyn::sim {
namespace {

using namespace test;

/// Each request has so many images of 100 tokens at the beginning of its prompt, all different.
void add_images(Workload& load, std::uint32_t count) {
  for (std::size_t i = 0; i < load.requests.size(); ++i) {
    RequestImages images;
    images.first = static_cast<std::uint32_t>(load.images.size());
    images.count = count;
    for (std::uint32_t k = 0; k < count; ++k) {
      load.images.push_back({load.images.size(), 100 * std::int64_t{k}, {400, 100}});
    }
    load.request_images.push_back(images);
  }
}

Workload with_images(const std::vector<Ask>& asks, std::uint32_t count) {
  Workload load = workload(asks);
  add_images(load, count);
  return load;
}

/// Steps of 5 ms.
Fleet one_worker() {
  LinearTimer::Times times;
  times.base = ms(5);
  return aggregated(1, times);
}

/// 1000 bytes a token over links of 100 MB/s: an image's embeddings take a millisecond.
Fleet with_encoders(Fleet fleet, EncodeWorkers workers) {
  encode_apart(fleet, workers, ms(10));
  fleet.plan.transfer.bandwidth = BytesPerSec(1e8);
  return fleet;
}

TEST_CASE("the step that computes an image's first token is longer by its encoding") {
  Fleet fleet = one_worker();
  encode_in_engines(fleet, ms(10));
  const SimulationResult run = simulate(fleet.spec(), with_images({{ms(0), 300, 3}}, 2));
  // Two images in the first step; then plain ones.
  CHECK(run.records[0].first_token == at(ms(25)));
  CHECK(run.records[0].finished == at(ms(35)));
  CHECK(run.records[0].encode == Duration{0});
  CHECK(run.report.find("image_encode_time") == nullptr);
}

TEST_CASE("a prompt in chunks has each image encoded in the step that begins it") {
  Fleet fleet = one_worker();
  fleet.plan.pools[0].config.max_num_batched_tokens = 150;
  encode_in_engines(fleet, ms(10));
  // Chunks of 150, 150 and 20 tokens: images 0 and 1 begin in the first, image 2 in the second.
  const SimulationResult run = simulate(fleet.spec(), with_images({{ms(0), 320, 1}}, 3));
  CHECK(run.records[0].first_token == at(ms(25 + 15 + 5)));
}

TEST_CASE("images whose tokens are cached are not encoded again") {
  Fleet fleet = one_worker();
  encode_in_engines(fleet, ms(10));
  Workload load = with_images({{ms(0), 320, 1}, {ms(100), 320, 1}}, 3);
  load.block_tokens = 16;
  for (WorkloadRequest& request : load.requests) {
    request.first_block = 0;
    request.block_count = 20;
  }
  kvbm::BlockHash hash = kvbm::chain_root("prompt");
  for (int i = 0; i < 20; ++i) {
    load.blocks.push_back(hash = kvbm::chain(hash, 0));
  }
  const SimulationResult run = simulate(fleet.spec(), load);
  CHECK(run.records[0].first_token == at(ms(35)));
  // 304 of 320 tokens are found: no image is left.
  CHECK(run.records[1].first_token == at(ms(105)));
  // Where the cache ends within the last image, it is encoded once more.
  load.requests[1].input_tokens = 296;
  load.requests[1].block_count = 19;
  CHECK(simulate(fleet.spec(), load).records[1].first_token == at(ms(115)));
}

TEST_CASE("an encode worker encodes first, and the embeddings travel to who computes the prompt") {
  const Fleet fleet = with_encoders(one_worker(), {});
  const SimulationResult run = simulate(fleet.spec(), with_images({{ms(0), 300, 3}}, 2));
  const RequestRecord& record = run.records[0];
  CHECK(record.first_token == at(ms(20 + 2 + 5)));
  CHECK(record.finished == at(ms(37)));
  CHECK(record.encode == ms(22));
  CHECK(figure(run, "image_encode_time") == Approx(22));
  CHECK(figure(run, "images") == 2);
  CHECK(figure(run, "image_reuse_rate") == 0);
  CHECK(figure(run, "encoder_utilization") == Approx(20.0 / 37));
}

TEST_CASE("requests of one instant are encoded together, those without images wait for nobody") {
  const Fleet fleet = with_encoders(one_worker(), {});
  Workload load = with_images({{ms(0), 300, 1}, {ms(0), 300, 1}, {ms(0), 50, 1}}, 1);
  load.request_images[2].count = 0;
  const SimulationResult run = simulate(fleet.spec(), load);
  CHECK(run.records[2].first_token == at(ms(5)));
  // 20 ms together; their embeddings share the worker's link.
  CHECK(run.records[0].first_token == at(ms(27)));
  CHECK(run.records[1].first_token == at(ms(27)));
}

TEST_CASE("an image that comes again is found in the cache of its worker") {
  EncodeWorkers workers;
  workers.cache = Bytes(1'000'000);
  workers.replicas = 2;
  const Fleet fleet = with_encoders(one_worker(), workers);
  Workload load = with_images({{ms(0), 300, 1}, {ms(100), 300, 1}}, 2);
  for (std::size_t i = 0; i < 4; ++i) {
    load.images[i].id = std::vector<policy::ImageId>{1, 2, 2, 1}[i];
  }
  const SimulationResult run = simulate(fleet.spec(), load);
  CHECK(run.records[0].first_token == at(ms(27)));
  CHECK(run.records[1].first_token == at(ms(107)));
  CHECK(figure(run, "image_reuse_rate") == 0.5);
}

TEST_CASE("in a disaggregated fleet the prefill worker gets the embeddings") {
  LinearTimer::Times times;
  times.base = ms(5);
  for (const HandOff hand_off : {HandOff::pull, HandOff::push}) {
    Fleet fleet = with_encoders(disaggregated(1, 1, times, times), {});
    fleet.plan.disaggregation.hand_off = hand_off;
    fleet.plan.disaggregation.overlap = false;
    const SimulationResult run = simulate(fleet.spec(), with_images({{ms(0), 300, 2}}, 1));
    // 10 ms to encode, 1 ms to send, a step to prefill, one to decode.
    CHECK(run.records[0].encode == ms(11));
    CHECK(run.records[0].first_token == at(ms(11 + 5 + 5)));
    CHECK(run.records[0].prefill_worker == 0);
  }
}

TEST_CASE("the explanation of a request has the time of its images") {
  const Fleet fleet = with_encoders(one_worker(), {});
  SimulationSpec spec = fleet.spec();
  Explainer explainer(0);
  spec.sink = &explainer;
  const SimulationResult run = simulate(spec, with_images({{ms(0), 300, 3}}, 2));
  const Explanation told = explainer.result(run.records[0].finished);
  CHECK(told.phases[static_cast<std::size_t>(Explanation::Phase::encode)] == ms(22));
  CHECK(told.total() == ms(37));
  Duration sum{0};
  for (const Duration phase : told.phases) {
    sum += phase;
  }
  CHECK(sum == told.total());
}

TEST_CASE("a client that leaves takes its images along") {
  const Fleet fleet = with_encoders(one_worker(), {});
  for (const Duration after : {ms(5), ms(21), ms(24)}) {  // encoding, on the way, computing
    Workload load = with_images({{ms(0), 300, 3}, {ms(1), 300, 3}}, 2);
    load.patience = {after, Workload::kPatient};
    const SimulationResult run = simulate(fleet.spec(), load);
    CHECK(run.records[0].status == RequestStatus::cancelled);
    CHECK(run.records[0].finished == at(after));
    CHECK(run.records[1].status == RequestStatus::completed);
  }
}

TEST_CASE("a request whose worker crashes has its embeddings sent again, not encoded again") {
  LinearTimer::Times times;
  times.base = ms(5);
  const Fleet fleet = with_encoders(aggregated(2, times), {});
  FaultSpec faults;
  FaultEvent crash;
  crash.kind = FaultKind::worker_crash;
  crash.at = ms(11);
  crash.worker = 0;
  crash.duration = ms(1000);
  for (const Duration when : {Duration(us(10'500)), Duration(ms(13))}) {  // on the way, computing
    crash.at = when;
    faults.schedule = {crash};
    SimulationSpec spec = fleet.spec();
    spec.faults = &faults;
    const SimulationResult run = simulate(spec, with_images({{ms(0), 300, 1}}, 1));
    CHECK(run.records[0].status == RequestStatus::completed);
    CHECK(run.records[0].first_token == at(when + ms(1 + 5)));
    CHECK(figure(run, "images") == 1);
  }
}

FaultEvent fault_of_encoder(FaultKind kind, Duration when, int worker = 0) {
  FaultEvent fault;
  fault.kind = kind;
  fault.at = when;
  fault.encode = true;
  fault.worker = worker;
  return fault;
}

SimulationResult run_with(const Fleet& fleet, const Workload& load,
                          const std::vector<FaultEvent>& schedule) {
  FaultSpec faults;
  faults.schedule = schedule;
  SimulationSpec spec = fleet.spec();
  spec.faults = &faults;
  return simulate(spec, load);
}

TEST_CASE("what a crashed encode worker had is encoded by another, or when it is back") {
  // 10 ms to encode, 1 ms on the way, a step of 5 ms.
  for (const Duration when : {Duration(ms(4)), Duration(us(10'500))}) {  // encoding, on the way
    FaultEvent crash = fault_of_encoder(FaultKind::worker_crash, when);
    crash.duration = ms(30);
    EncodeWorkers two;
    two.replicas = 2;
    const Workload load = with_images({{ms(0), 300, 1}}, 1);
    const SimulationResult moved = run_with(with_encoders(one_worker(), two), load, {crash});
    CHECK(moved.records[0].status == RequestStatus::completed);
    CHECK(moved.records[0].first_token == at(when + ms(10 + 1 + 5)));
    CHECK(moved.records[0].migrations == 1);
    REQUIRE(moved.fleet.faults.size() == 1);
    CHECK(moved.fleet.faults[0].encode);
    CHECK(moved.fleet.faults[0].requests == 1);
    CHECK(moved.fleet.faults[0].migrated == 1);
    CHECK(figure(moved, "images") == 2);
    const SimulationResult waited = run_with(with_encoders(one_worker(), {}), load, {crash});
    CHECK(waited.records[0].first_token == at(when + ms(30 + 10 + 1 + 5)));
    CHECK(waited.fleet.faults[0].until == at(when + ms(30)));
  }
}

TEST_CASE("embeddings that are where they are needed outlive who made them") {
  FaultEvent crash = fault_of_encoder(FaultKind::worker_crash, ms(12));
  crash.duration = ms(500);
  const SimulationResult run =
      run_with(with_encoders(one_worker(), {}), with_images({{ms(0), 300, 1}}, 1), {crash});
  CHECK(run.records[0].first_token == at(ms(16)));
  CHECK(run.fleet.faults[0].requests == 0);
}

TEST_CASE("a slow encode worker takes longer for the batches that it begins") {
  FaultEvent slow = fault_of_encoder(FaultKind::slow_node, ms(5));
  slow.factor = 0.5;
  slow.duration = ms(100);
  const SimulationResult run =
      run_with(with_encoders(one_worker(), {}),
               with_images({{ms(0), 300, 1}, {ms(40), 300, 1}, {ms(200), 300, 1}}, 1), {slow});
  const auto took = [&](std::size_t i) { return run.records[i].first_token - run.records[i].sent; };
  CHECK(took(0) == ms(16));
  CHECK(took(1) == ms(26));
  CHECK(took(2) == ms(16));
}

TEST_CASE("an encode worker that is taken away takes nothing new, and ends what it can") {
  FaultEvent notice = fault_of_encoder(FaultKind::spot_reclaim, ms(5));
  notice.notice = ms(20);
  const Workload load = with_images({{ms(0), 300, 1}, {ms(6), 300, 1}, {ms(40), 300, 1}}, 1);
  const SimulationResult alone = run_with(with_encoders(one_worker(), {}), load, {notice});
  CHECK(alone.records[0].first_token == at(ms(16)));
  CHECK(alone.records[1].status == RequestStatus::rejected);  // nobody will ever encode it
  CHECK(alone.records[1].finished == at(ms(25)));
  CHECK(alone.records[2].finished == at(ms(40)));
  notice.duration = ms(100);
  const SimulationResult back = run_with(with_encoders(one_worker(), {}), load, {notice});
  CHECK(back.records[1].status == RequestStatus::completed);
  CHECK(back.records[1].first_token == at(ms(125 + 20 + 2 + 5)));  // with the third
  // While it was taken nobody paid for it.
  CHECK(figure(back, "gpu_hours") * 3.6e6 ==
        Approx(2 * to_millis(back.records[1].finished - SimTime{}) - 100));
}

TEST_CASE("embeddings wait while the port of their worker is down") {
  FaultEvent down = fault_of_encoder(FaultKind::link_down, ms(5));
  down.duration = ms(50);
  const SimulationResult run =
      run_with(with_encoders(one_worker(), {}), with_images({{ms(0), 300, 1}}, 1), {down});
  CHECK(run.records[0].first_token == at(ms(55 + 1 + 5)));
}

TEST_CASE("random faults befall encode workers as well") {
  EncodeWorkers many;
  many.replicas = 8;
  FaultSpec faults;
  FaultRate rate;
  rate.kind = FaultKind::worker_crash;
  rate.mean_between = ms(5);
  rate.duration = ms(1);
  faults.rates = {rate};
  const Fleet fleet = with_encoders(one_worker(), many);
  std::vector<Ask> asks;
  for (int i = 0; i < 100; ++i) {
    asks.push_back({ms(10 * i), 100, 1});
  }
  SimulationSpec spec = fleet.spec();
  spec.faults = &faults;
  const SimulationResult run = simulate(spec, with_images(asks, 1));
  std::size_t encode = 0;
  for (const FaultImpact& fault : run.fleet.faults) {
    encode += fault.encode ? 1 : 0;
  }
  // Eight of nine workers.
  CHECK(static_cast<double>(encode) / static_cast<double>(run.fleet.faults.size()) ==
        Approx(8.0 / 9).margin(0.1));
}

TEST_CASE(
    "synthetic images are tokens after the shared prefix, and share blocks where they repeat") {
  Traffic traffic;
  traffic.isl = Tokens(400);
  traffic.osl = Tokens(10);
  traffic.rate = RequestsPerSec(10);
  traffic.requests = 200;
  traffic.shared_prefix = Tokens(160);
  traffic.images.emplace();
  traffic.images->per_request = 2;
  traffic.images->tokens = 96;
  traffic.images->distinct = 3;
  traffic.images->skew = 0;
  const ModelSpec model = find_model("Qwen/Qwen3-8B");
  const Workload load = make_synthetic(traffic, 1, 16, {}, &model);
  REQUIRE(load.request_images.size() == 200);
  std::size_t same = 0;
  for (std::uint32_t i = 0; i < 200; ++i) {
    CHECK(load.requests[i].input_tokens == 400 + 2 * 96);
    REQUIRE(load.images_of(i).size() == 2);
    CHECK(load.images_of(i)[0].start == 160);
    CHECK(load.images_of(i)[1].start == 256);
    for (std::uint32_t k = 0; k < i; ++k) {
      const auto a = load.images_of(i), b = load.images_of(k);
      std::size_t alike = 0;
      while (alike < 2 && a[alike].id == b[alike].id) {
        ++alike;
      }
      const auto block = [&](std::uint32_t request, std::size_t n) {
        return load.blocks[load.requests[request].first_block + n];
      };
      // The shared prefix has 10 blocks, each image 6.
      const std::size_t shared = 10 + 6 * alike;
      CHECK(block(i, shared - 1) == block(k, shared - 1));
      CHECK(block(i, shared) != block(k, shared));
      same += alike == 2 ? 1 : 0;
    }
  }
  CHECK(same > 1000);  // of 19,900 pairs a ninth
  traffic.images->distinct.reset();
  const Workload fresh = make_synthetic(traffic, 1, 16, {}, &model);
  std::set<policy::ImageId> different;
  for (const policy::PromptImage& image : fresh.images) {
    different.insert(image.id);
  }
  CHECK(different.size() == 400);
  traffic.images->share = 0.25;
  const Workload some = make_synthetic(traffic, 1, 16, {}, &model);
  CHECK(static_cast<double>(some.images.size()) == Approx(100).margin(30));
  traffic.images->tokens.reset();
  CHECK_THROWS_AS(make_synthetic(traffic, 1, 16, {}, &model), Error);
}

TEST_CASE("later turns have the images of the first, and answers do not move them") {
  Traffic traffic;
  traffic.isl = Tokens(64);
  traffic.osl = Tokens(10);
  traffic.concurrency = 1;
  traffic.requests = 9;
  traffic.turns = 3;
  traffic.images.emplace();
  traffic.images->tokens = 32;
  const ModelSpec model = find_model("Qwen/Qwen3-8B");
  const Workload load = make_synthetic(traffic, 1, 16, {}, &model);
  CHECK(load.images.size() == 3);
  CHECK(load.requests[1].input_tokens == 32 + 64 + 10 + 64);
  for (std::uint32_t i = 0; i < 9; ++i) {
    CHECK(load.images_of(i)[0] == load.images[i / 3]);
  }
}

}  // namespace
}  // namespace dyn::sim
