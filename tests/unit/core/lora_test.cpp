#include "dyn/core/lora.h"

#include <catch2/catch.hpp>

#include "dyn/core/catalogue.h"
#include "dyn/core/document.h"
#include "dyn/core/error.h"
#include "dyn/core/layout.h"
#include "dyn/core/recipe.h"

namespace dyn {
namespace {

TEST_CASE("An adapter has its rank times the widths of all projections") {
  // Llama 3.1 8B: hidden 4096, 32 heads and 8 KV heads of 128, MLP 14336, 32 layers.
  const ModelSpec model = find_model("meta-llama/Llama-3.1-8B-Instruct");
  LoraConfig lora;
  const std::int64_t widths = (4096 + 4096) * 2 + (4096 + 1024) * 2 + (4096 + 14336) * 3;
  CHECK(adapter_bytes(lora, model).count() == 32 * 16 * 2 * widths);
  CHECK(adapter_bytes_per_gpu(lora, model, {}) == adapter_bytes(lora, model));
  lora.rank = 64;
  CHECK(adapter_bytes(lora, model).count() == 32 * 64 * 2 * widths);
}

TEST_CASE("Tensor parallelism cuts one matrix of each projection, pipelines cut the layers") {
  const ModelSpec model = find_model("meta-llama/Llama-3.1-8B-Instruct");
  const LoraConfig lora;
  ParallelLayout layout;
  layout.tensor = 2;
  const std::int64_t widths =
      (4096 + 2048) + (4096 + 512) * 2 + (2048 + 4096) + (4096 + 7168) * 2 + (7168 + 4096);
  CHECK(adapter_bytes_per_gpu(lora, model, layout).count() == 32 * 16 * 2 * widths);
  layout.pipeline = 4;
  CHECK(adapter_bytes_per_gpu(lora, model, layout).count() == 8 * 16 * 2 * widths);
}

TEST_CASE("An adapter of a given size is spread as one of its rank would be") {
  const ModelSpec model = find_model("meta-llama/Llama-3.1-8B-Instruct");
  LoraConfig lora;
  lora.size = Bytes(1'000'000);
  CHECK(adapter_bytes(lora, model) == Bytes(1'000'000));
  ParallelLayout layout;
  layout.tensor = 4;
  const Bytes part = adapter_bytes_per_gpu(lora, model, layout);
  CHECK(part > Bytes(250'000));
  CHECK(part < Bytes(1'000'000));
  CHECK(adapter_bytes_per_gpu(lora, ModelSpec{}, {}) == Bytes(1'000'000));
}

/// The first line of each error.
std::string errors_of(const std::string& text) {
  std::string all;
  try {
    parse_recipe(Document::parse(text, "r.yaml"));
  } catch (const Error& error) {
    for (const ErrorItem& item : error.items()) {
      const std::string line = Error(error.kind(), {item}).what();
      all += line.substr(0, line.find('\n')) + '\n';
    }
  }
  return all;
}

bool complains(const std::string& text, const std::string& about) {
  INFO(errors_of(text));
  return errors_of(text).find(about) != std::string::npos;
}

const std::string kHead = "schema: dyn.recipe/1\nmodel: m\nhardware: {gpu: h200}\n";
const std::string kLoad = "traffic: {isl: 100, osl: 10, rate: 1 req/s, adapters: {count: 4}}\n";

TEST_CASE("What is wrong with adapters is said where it is") {
  CHECK(errors_of(kHead + kLoad + "engine: {lora: {}}\n").empty());
  CHECK(complains(kHead + kLoad,
                  "/traffic: 'adapters' are used, but engines have no slots for them"));
  CHECK(complains(kHead + kLoad + "engine: {lora: {slots: 4, host_slots: 2}}\n",
                  "/engine/lora/host_slots: fewer adapters in host memory than in the device"));
  CHECK(complains(kHead + kLoad + "engine: {lora: {slots: 0}}\n", "/engine/lora/slots"));
  CHECK(complains(kHead + kLoad + "engine: {lora: {rank: 4096}}\n", "/engine/lora/rank"));
  const auto mix = [](const std::string& adapters) {
    return kHead + "traffic: {isl: 100, osl: 10, rate: 1 req/s, adapters: {" + adapters +
           "}}\nengine: {lora: {}}\n";
  };
  CHECK(complains(mix("share: 0.5"), "missing key 'count'"));
  CHECK(complains(mix("count: 1, share: 2"), "/traffic/adapters/share"));
  CHECK(complains(mix("count: 1, skew: -1"), "/traffic/adapters/skew"));
  CHECK(complains(kHead + "traffic: {trace: t.jsonl, adapters: {count: 1}}\nengine: {lora: {}}\n",
                  "'adapters' belongs to a synthetic load"));
}

TEST_CASE("Pools may have slots of their own") {
  const std::string text = kHead + kLoad + "deployment: {pools: [{engine: {lora: {slots: 3}}}]}\n";
  const Recipe recipe = parse_recipe(Document::parse(text, "recipe.yaml"));
  CHECK(recipe.deployment->pools[0].engine->lora->slots == 3);
  CHECK(recipe.deployment->pools[0].engine->lora->hosted() == 3);
}

}  // namespace
}  // namespace dyn
