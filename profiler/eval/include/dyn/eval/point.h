#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dyn/core/profile.h"
#include "dyn/core/provenance.h"
#include "dyn/eval/measured.h"

namespace dyn::eval {

/// Milliseconds of one step by kind of work.
struct ClassTimes {
  double gemm = 0;
  double attention = 0;
  double experts = 0;
  double collective = 0;
  double elementwise = 0;
  double sampling = 0;
  double host = 0;
  double total() const {
    return gemm + attention + experts + collective + elementwise + sampling + host;
  }
};

/// What happened inside a simulated point: what a correction of its figures may depend on. Of one
/// attention-DP rank; of a disaggregated point `prefill` is of its prefill workers, the rest of its
/// decode workers.
struct PointFeatures {
  ClassTimes decode;            ///< a decode step of the mean batch
  ClassTimes prefill;           ///< a prefill step of the mean chunk, without decoding sequences
  double mixed_step_ms = 0;     ///< mean time of steps with prefill, as simulated
  double decode_sequences = 0;  ///< mean requests that decode at a time
  double decode_context = 0;    ///< mean KV tokens of one of them
  double chunk_tokens = 0;      ///< mean prompt tokens of a step with prefill
  double chunk_sequences = 0;   ///< mean prompts of such a step
  double steps = 0;
  double prefill_steps = 0;     ///< of these
  double burst_ttft_ms = 0;     ///< mean TTFT of the requests sent at t = 0
  double steady_ttft_ms = 0;    ///< mean TTFT of all others
  double queue_ms = 0;          ///< mean time before a request is first in a batch
  double transfer_ms = 0;       ///< mean time that KV moves
  double kv_pressure = 0;       ///< KV of all slots at full length / KV cache; above 1 they queue
  double preemptions = 0;       ///< of all requests
  double poll_steps = 0;        ///< decode steps between the engine's looks for new requests
  double step_error = 0;        ///< half-width of the model's 90 % interval of a decode step
  double prefill_error = 0;     ///< the same of a prefill step, as fractions
  int ranks = 1;                ///< attention-DP ranks and workers that share the load
  bool layout_changed = false;  ///< the model has no such layout: its nearest was taken
};

/// Mean TTFT and TPOT of a measured deployment as the model says, before any correction.
struct PointPrediction {
  double ttft_ms = 0;
  double tpot_ms = 0;
  Provenance provenance = Provenance::specification;
  PointFeatures features;
  std::string shape{};   ///< architecture and size of the model, whatever its checkpoint is called
  bool experts = false;  ///< the model has any
};

/// The profile of a GPU of the catalogue.
using ProfileSource = std::function<Profile(const std::string& gpu)>;

/// Answers measured points by simulating the client and the scheduler with the latency model: all
/// slots are released at t = 0, each sends its next prompt when its last answer ended, ten
/// prompts a slot, lengths uniform in 80-100 % of the row's (the warm-up before is over then, and
/// prompts share nothing; utils/bench_serving of SemiAnalysisAI/InferenceX 843c625). Ranks of
/// attention data parallelism are alike, so that one of them is simulated with its share of the
/// slots. Compiled models are kept. Thread-safe; equal rows give equal predictions.
class PointPredictor {
 public:
  explicit PointPredictor(ProfileSource profiles);
  ~PointPredictor();

  /// Throws Error(bad_input) for a model that is not known and Error(infeasible) for a row that
  /// cannot be answered: inputs missing, or no layout of this model is near the measured one.
  PointPrediction predict(const MeasuredRow& row) const;

  /// Throws Error(bad_input) that names each row (the first 50) with a measured time that is far
  /// below what its GPUs need at their specified rates to compute the prompt or to read the weights
  /// of a token, as in a table of seconds. Rows of unknown models are passed over.
  void check_times(const MeasuredTable& table) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dyn::eval
