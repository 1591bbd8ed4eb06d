// Depth by need, as tisdiss_rt/planning/need.py explains and does it: same decisions from the same changes.
#pragma once

#include "estimate.h"

namespace tisdiss::internal {

// Takes what the repetitions of a step change, and tells whether one more is worth its time.
class Need {
 public:
  // `share` of a step in the average of its changes with those of the steps before it; 1 for windows, which stand for
  // themselves. The estimator must live as long.
  Need(const Estimator& estimator, size_t sources, double window_s, std::optional<double> min_gain_db, double share = 1.0)
      : estimator_(estimator), window_s_(window_s), min_gain_db_(min_gain_db), share_(share) {
    changes_.sources = sources;
  }

  void begin() { changes_.depth = 0; }

  void add(const float* change) {  // (sources,)
    const size_t number = changes_.depth++;
    for (size_t source = 0; source < changes_.sources; ++source) {
      const double square = static_cast<double>(change[source]) * change[source];
      double& average = squares_[number][source];
      average = number < known_ ? average + share_ * (square - average) : square;
      changes_.of[number][source] = std::sqrt(average);
    }
    known_ = std::max(known_, changes_.depth);
  }

  // The first repetition always is.
  bool asks_for_more() const {
    if (!min_gain_db_ || changes_.depth == 0) return true;
    return estimator_.gain_db(changes_, window_s_) >= *min_gain_db_;
  }

  // Whether the voices at this depth would tell that one of them is alone, which needs no more.
  bool tells_alone() const { return min_gain_db_ && estimator_.tells_alone(changes_.depth); }

  // See Estimator::pass_on_alone.
  bool pass_on_alone(const float* mix, float* voices, size_t samples) const {
    return estimator_.pass_on_alone(mix, voices, changes_.sources, samples);
  }

  // Forgets the steps before.
  void reset() { changes_.depth = known_ = 0; }

  const Changes& changes() const { return changes_; }

 private:
  const Estimator& estimator_;
  const double window_s_;
  const std::optional<double> min_gain_db_;
  const double share_;
  Changes changes_;
  std::array<std::array<double, kMostVoices>, kMostRepetitions> squares_{};
  size_t known_ = 0;  // repetitions that ran since the beginning
};

}  // namespace tisdiss::internal
