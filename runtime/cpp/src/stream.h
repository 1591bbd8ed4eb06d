// Live sound in chunks of any length, for steps of one length, as tisdiss_rt/streaming/stream.py explains it. The output is
// the input's timeline from its first sample on: it only comes later.
//
//     pushed        | step 0 | step 1 | step 2 | step 3 |              flush pushes zeros
//     steps give    | before | step 0 | step 1 | step 2 |              with a latency of two steps
//                   |  drop  |
#pragma once

#include <atomic>
#include <memory>

#include "budget.h"
#include "causal.h"
#include "need.h"
#include "sessions.h"
#include "stream_steps.h"
#include "trailing.h"
#include "windows.h"

namespace tisdiss::internal {

// What happened so far.
struct Progress {
  uint64_t steps = 0;
  uint64_t misses = 0;
  StepResult last{0, 0.0, false};
  Estimated quality;
  SignalEstimates estimates;  // of all of it

  void add(const StepResult& step);
};

class Stream {
 public:
  // Whether it decides who is who, where the bundle has voiceprints, or leaves that to whoever has the whole signal.
  enum class Talkers { kDecided, kLeft };

  Stream(std::shared_ptr<const Sessions> sessions, const Plan& plan, const Timings& timings,
         Talkers talkers = Talkers::kDecided);

  size_t ready(size_t samples) const;
  size_t rest() const { return owed_; }

  // Takes a chunk, and writes what has become ready: `ready` samples of each source.
  void process(const float* mix, size_t samples, const Rows& out);

  // Ends the stream, and writes the rest.
  void flush(const Rows& out);

  void reset();
  void set_depth(int depth);
  void refuse_if_over() const;

  const Plan& plan() const { return plan_; }
  const Progress& progress() const { return progress_; }

 private:
  enum class State { kOpen, kEnded, kFailed };

  // Runs a step on what waits, and puts the estimate into the order of the talkers. The time that the end of a block
  // takes is set aside before: nothing that comes as surely needs to be feared in every step.
  StepResult separate(const Rows& estimate);

  // Runs a step on what waits, and writes what of it is wanted; gives how much that is.
  size_t step(const Rows& out, size_t most);

  const std::shared_ptr<const Sessions> sessions_;
  StreamSteps steps_;
  std::optional<CausalOrder> talkers_;  // where it decides who is who
  // Where the bundle tells how good its voices are.
  std::optional<Estimator> estimator_;
  std::optional<Need> need_;
  std::optional<Trailing> trailing_;
  const Plan opened_;  // as the stream was opened
  Plan plan_;
  Timings timings_;
  History<kHistory> block_ends_ms_;
  Progress progress_;
  std::vector<float> waiting_;   // the next step, so far `heard_` samples
  std::vector<float> estimate_;  // of a step
  // These may be read while another thread is in a call.
  std::atomic<size_t> heard_ = 0;
  std::atomic<size_t> to_drop_ = 0;  // samples that come out before the first
  std::atomic<size_t> owed_ = 0;     // samples that came in and did not come out yet
  State state_ = State::kOpen;
};

}  // namespace tisdiss::internal
