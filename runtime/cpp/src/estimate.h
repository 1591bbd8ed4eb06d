// How good voices are, without a reference, as tisdiss_rt/estimate explains and computes it.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "budget.h"
#include "manifest.h"
#include "windows.h"

namespace tisdiss::internal {

// What the SI-SDR of a voice is expected to be, and an interval that holds in 80 of 100 cases, in dB.
struct Estimated {
  double si_sdr_db = kUnknown, low_db = kUnknown, high_db = kUnknown;

  bool is_known() const { return si_sdr_db == si_sdr_db; }
};

constexpr size_t kAloneDepth = 1;  // at which it is asked whether a voice is alone
constexpr size_t kMostVoices = 6;
constexpr size_t kMostRepetitions = 64;

// How much each repetition of a step changed the map of each voice. It allocates nothing.
struct Changes {
  size_t sources = 0, depth = 0;
  std::array<std::array<double, kMostVoices>, kMostRepetitions> of{};
};

// The mean of estimates that are known.
class MeanEstimate {
 public:
  void add(const Estimated& voice);
  void add(const std::vector<Estimated>& voices);
  Estimated mean() const;

 private:
  double level_ = 0.0, low_ = 0.0, high_ = 0.0;
  size_t count_ = 0;
};

// The means over windows of a signal: of all voices, and of the best of each, for where all are one talker's.
struct SignalEstimates {
  MeanEstimate all, best;

  void add(const std::vector<Estimated>& voices);
};

class Estimator {
 public:
  explicit Estimator(const Manifest& manifest) : part_(*manifest.estimate), sample_rate_(manifest.sample_rate) {}

  // The quality of each voice of a window; unknown for one that does not talk.
  std::vector<Estimated> voices(const float* mix, const Rows& voices, size_t samples, const Changes& changes) const;

  // What one more repetition is expected to add to the mean SI-SDR of the voices.
  double gain_db(const Changes& changes, double window_s) const;

  // Whether the voices at a depth tell which windows have one voice alone.
  bool tells_alone(size_t depth) const { return part_.alone && depth == kAloneDepth; }

  // Whether a window has one voice alone, and no noise, by its voices (sources, samples) at a depth that tells it.
  // These become that one as it is in the mixture, and silence.
  bool pass_on_alone(const float* mix, float* voices, size_t sources, size_t samples) const;

 private:
  const EstimatePart& part_;
  const int sample_rate_;
};

}  // namespace tisdiss::internal
