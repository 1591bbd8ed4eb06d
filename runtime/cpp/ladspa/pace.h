// Tells hosts that play sound from hosts that render it to a file: the former wait for a clock between their calls.
//
//     playing     |run|          |run|          |run|          most of a block's duration passes between two calls
//     rendering   |run|run|run|run|run|
//     held up     |run|                    |run|run|run|       a host that plays makes up for what it has missed
//     busy        |run|        |run|        |run|              one that renders, and takes long for something else
#pragma once

#include <algorithm>

namespace tisdiss::ladspa {

class Pace {
 public:
  // A call begins, with so much sound.
  void begin(double now_s, double sound_s) {
    if (called_) {
      const double waited_s = std::max(0.0, now_s - ended_s_);
      for (Share* share : {&long_, &short_}) {
        const double waited = std::min(waited_s / sound_s_, 1.0);
        share->value += std::min(share->most, sound_s_ / share->memory_s) * (waited - share->value);
      }
      const double kept = std::max(0.0, 1.0 - sound_s_ / kMemoryS);
      passed_s_ = kept * passed_s_ + std::min(waited_s, sound_s_ + kPauseS);
      given_s_ = kept * given_s_ + sound_s_;
    }
    called_ = true;
    sound_s_ = sound_s;
  }

  void end(double now_s) { ended_s_ = now_s; }

  // Whether the host cannot wait: it has kept time for a while, two thirds of a second and a dozen calls, is not ahead
  // of the clock, and does not make up for anything right now.
  bool plays() const {
    return long_.value > kPlays && short_.value > kMakesUp && passed_s_ > kOnTime * given_s_;
  }

 private:
  static constexpr double kPlays = 0.7;  // so that a host that always makes two calls at once does not
  static constexpr double kMakesUp = 0.3;
  static constexpr double kOnTime = 0.9;   // one that renders hardly faster than sound leaves nearly as much time
  static constexpr double kMemoryS = 1.0;  // of the clock
  static constexpr double kPauseS = 0.05;  // that one call may add: a pause alone does not bring a host back to time

  struct Share {  // of the sound's duration that passes between calls, lately
    double memory_s;
    double most;  // that one call weighs
    double value = 0.0;
  };

  bool called_ = false;
  double ended_s_ = 0.0;
  double sound_s_ = 0.0;  // of the last call
  Share long_{0.5, 0.1}, short_{0.01, 1.0};
  double passed_s_ = 0.0, given_s_ = 0.0;  // between calls, and of sound, lately
};

}  // namespace tisdiss::ladspa
