// Tells hosts that play sound from hosts that render it to a file: the former wait for a clock between their calls.
//
//     playing     |run|          |run|          |run|          most of a block's duration passes between two calls
//     rendering   |run|run|run|run|run|
//     held up     |run|                    |run|run|run|       a host that plays makes up for what it has missed
//     busy        |run|        |run|        |run|              one that renders, and takes long for something else
//     overloaded  |run.....|     |run.............|     |run   one that plays, which run() makes late: it keeps a beat
#pragma once

#include <algorithm>
#include <cmath>

namespace tisdiss::ladspa {

class Pace {
 public:
  // A call begins, with so much sound, on a thread that has real-time priority or not.
  void begin(double now_s, double sound_s, bool real_time) {
    if (called_) {
      const double waited_s = std::max(0.0, now_s - ended_s_);
      const double passed_s = real_time && is_on_beat(now_s) ? now_s - begun_s_ : waited_s;
      long_.add(passed_s, sound_s_);
      short_.add(waited_s, sound_s_);
      const double kept = std::max(0.0, 1.0 - sound_s_ / kMemoryS);
      passed_s_ = kept * passed_s_ + std::min(passed_s, sound_s_ + kPauseS);
      given_s_ = kept * given_s_ + sound_s_;
    }
    called_ = true;
    begun_s_ = now_s;
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
  static constexpr double kOffBeat = 0.05;

  struct Share {  // of the sound's duration that passes between calls, lately
    double memory_s;
    double most;  // that one call weighs
    double value = 0.0;

    void add(double passed_s, double sound_s) {
      value += std::min(most, sound_s / memory_s) * (std::min(passed_s / sound_s, 1.0) - value);
    }
  };

  // Whether whole blocks have passed since the last call began, however long it took.
  bool is_on_beat(double now_s) const {
    const double blocks = (now_s - begun_s_) / sound_s_, whole = std::round(blocks);
    return whole > 0.0 && std::abs(blocks - whole) < kOffBeat;
  }

  bool called_ = false;
  double begun_s_ = 0.0, ended_s_ = 0.0;
  double sound_s_ = 0.0;  // of the last call
  Share long_{0.5, 0.1}, short_{0.01, 1.0};
  double passed_s_ = 0.0, given_s_ = 0.0;  // between calls, and of sound, lately
};

}  // namespace tisdiss::ladspa
