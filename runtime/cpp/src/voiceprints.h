// What separated voices are compared by: the part `voice` of a bundle, as tisdiss_rt/talkers/voiceprints.py explains it.
#pragma once

#include <vector>

#include "sessions.h"

namespace tisdiss::internal {

// Runs the graph on stretches of one length. All tensors are made once, so that a step may use it.
class Voiceprints {
 public:
  // For bundles with the part, and so many stretches of so many samples, a multiple of the part's hop.
  Voiceprints(const Sessions& sessions, size_t stretches, size_t samples);

  // The voices of a source, to be filled before `run`: all stretches, one after the other.
  float* voices(size_t source) { return voices_.data() + source * stretches_ * samples_; }
  void run();

  // After `run`: of a stretch and source, `size` numbers, the mean over the frames.
  const float* print(size_t stretch, size_t source) const {
    return prints_.data() + (stretch * sources_ + source) * size;
  }

  const size_t size;  // of a voiceprint

 private:
  const Sessions& sessions_;
  const size_t stretches_, samples_, sources_, frames_;
  std::vector<float> voices_, of_frames_, weights_;
  std::vector<Value> tensors_;  // over these
  std::vector<float> prints_;
};

// Samples of a block that is described: a whole number of the part's hops.
size_t block_samples(const Manifest& manifest);

// Where voices are compared: the direction of so many numbers, in place.
void to_point(float* print, size_t size);

// Their squared distance.
double squared_distance(const float* one, const float* two, size_t size);

}  // namespace tisdiss::internal
