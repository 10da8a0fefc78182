#include <algorithm>

#include "dyn/core/lora.h"
#include "dyn/core/schemas.h"

namespace dyn {

void describe(ObjectSchema<LoraConfig>& s) {
  s.about("lora",
          "LoRA adapters of an engine, in vLLM's terms. A step has requests of at most 'slots' "
          "adapters; those of further ones wait while others go first. An adapter that is not in "
          "the device is loaded in the step that needs it, which takes as much longer. That "
          "adapters slow the other work of a step down is not modelled.");
  s.field("slots", &LoraConfig::slots, "Adapters in the device, and in one step (max_loras).")
      .between(1, 10'000)
      .because("vLLM's own");
  s.field("host_slots", &LoraConfig::host_slots,
          "Adapters in host memory, those in the device included (max_cpu_loras); the least "
          "recently used leaves.")
      .between(1, 1'000'000)
      .unset("as many as slots");
  s.field("rank", &LoraConfig::rank, "Rank of every adapter (max_lora_rank).")
      .between(1, 1024)
      .because("vLLM's own");
  s.field("size", &LoraConfig::size, "Bytes of an adapter.")
      .above(Bytes(0))
      .example("160 MiB")
      .unset("16-bit weights of this rank for all projections of attention and MLPs, experts not");
  s.field(
       "names", &LoraConfig::names,
       "Names of the adapters (lora_modules). A request of a trace uses the one that its "
       "'model' names; that of the model itself, as the recipe or the catalogue has it, is none.")
      .brief()
      .example("[\"support\", \"legal\"]");
  s.check([](const LoraConfig& lora, Checker& checker) {
    for (std::size_t i = 0; i < lora.names.size(); ++i) {
      if (std::count(lora.names.begin(), lora.names.end(), lora.names[i]) > 1) {
        checker.error("names", i, "two adapters have the name '" + lora.names[i] + "'");
      }
    }
    if (lora.hosted() < lora.slots) {
      checker.error("host_slots", "fewer adapters in host memory than in the device",
                    "at least 'slots', whose adapters are there too");
    }
  });
}

void describe(ObjectSchema<AdapterMix>& s) {
  s.about("adapters", "Which requests of a synthetic load use LoRA adapters.");
  s.field("count", &AdapterMix::count, "Different adapters.")
      .required()
      .between(1, 1'000'000)
      .example("32");
  s.field("share", &AdapterMix::share,
          "Share of the sessions that use an adapter, all their requests the same; the others use "
          "the model as it is.")
      .between(0, 1)
      .because("one fleet for fine-tuned models");
  s.field("skew", &AdapterMix::skew,
          "Exponent of Zipf's law: the k-th adapter is used in proportion to 1 / k^skew; 0: all "
          "alike.")
      .between(0, 10)
      .because("a few have most of the traffic");
}

}  // namespace dyn
