// The last seconds of a stream, as tisdiss_rt/streaming/trailing.py explains: once a second, how good its voices are.
#pragma once

#include "estimate.h"

namespace tisdiss::internal {

constexpr double kTrailingS = 2.0;  // that an estimate is of

class Trailing {
 public:
  // `delay`: samples by which voices are behind the mixture. The estimator must live as long.
  Trailing(const Estimator& estimator, int sample_rate, size_t sources, size_t step, size_t delay);

  // Takes a step, its voices, and what its repetitions changed; returns whether there is a new estimate.
  bool add(const float* mix, const Rows& voices, const Changes& changes);

  void reset();

  // The quality of each voice; unknown before there is an estimate.
  const std::vector<Estimated>& voices() const { return voices_; }

 private:
  bool estimate();
  Changes mean_changes() const;

  const Estimator& estimator_;
  const size_t sources_, step_, delay_, window_, every_;
  const size_t kept_;  // steps of a window
  size_t steps_ = 0;   // so far
  // Rings of steps: of the mixture, which is ahead, of the voices, and of the changes.
  std::vector<float> mix_, separated_;
  std::vector<Changes> changes_;
  std::vector<Estimated> voices_;
};

}  // namespace tisdiss::internal
