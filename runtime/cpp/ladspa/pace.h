// Tells hosts that play sound from hosts that render it to a file: the former wait for a clock between their calls.
//
//     playing     |run|          |run|          |run|          most of a block's duration passes between two calls
//     rendering   |run|run|run|run|run|
#pragma once

#include <algorithm>

namespace tisdiss::ladspa {

class Pace {
 public:
  // A call begins, with so much sound.
  void begin(double now_s, double sound_s) {
    if (called_) {
      const double waited = std::clamp((now_s - ended_s_) / sound_s_, 0.0, 1.0);
      share_ += std::min(1.0, sound_s_ / kMemoryS) * (waited - share_);
    }
    called_ = true;
    sound_s_ = sound_s;
  }

  void end(double now_s) { ended_s_ = now_s; }

  // Whether the host plays. Not until it has waited for a clock for a while: two thirds of a second.
  bool plays() const { return share_ > kPlays; }

 private:
  static constexpr double kMemoryS = 0.5;
  static constexpr double kPlays = 0.7;  // so that a host that always makes two calls at once does not: it is ahead

  bool called_ = false;
  double ended_s_ = 0.0;
  double sound_s_ = 0.0;  // of the last call
  double share_ = 0.0;    // of the sound's duration that passes between calls, lately
};

}  // namespace tisdiss::ladspa
