// What the plug-in does between a host's thread, which must not wait, and a thread of its own, which computes:
//
//     run()  ──sound──> ring ──> Separation ──voices──> two rings ──> run(), later by a fixed latency
//
// The latency is what the separation is late at most, a block of the host, as the thread computes while the host waits
// for the next one, and a buffer, a step at least, for computing. It grows where a larger block or buffer comes.
//
// Voices that are not there in time are silent, and those after them come when they are due. Only where the host does
// not play, but renders to a file, run() waits for them.
#pragma once

#include <semaphore.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include "pace.h"
#include "ring.h"
#include "separation.h"

namespace tisdiss::ladspa {

struct Controls {
  Settings settings;
  int voice;  // on both outputs; 0 for each on its own
  double buffer_ms;
};

class VoicesOfHost {
 public:
  // Throws what Separation throws.
  VoicesOfHost(const std::string& folder, uint32_t host_hz, const Settings& settings);
  ~VoicesOfHost();

  // Not while the other or run() runs.
  void start();
  void stop();

  // Takes a block and writes as much of the voices; the output may be where the input is, or null.
  void run(const float* mix, size_t count, const Controls& controls, const std::array<float*, kVoices>& out);

  // In samples, after the first run().
  size_t latency() const { return latency_; }

 private:
  void follow_priority();
  void listen(const float* mix, size_t count);
  void wait_for(int64_t end) const;
  void play(size_t count, const Controls& controls, const std::array<float*, kVoices>& out);

  // Of the thread.
  void work();
  void catch_up(int64_t* position);
  void give(const Voices& voices);

  const double host_hz_;
  Separation separation_;
  const size_t lag_, step_;

  // Of the host's thread.
  Pace pace_;
  size_t latency_ = 0;
  size_t silence_ = 0;    // samples of it to come, before the voices go on
  int64_t position_ = 0;  // of the next sample of the voices
  uint64_t missed_ = 0;   // samples that were not there in time
  std::array<float, kVoices> other_{};  // share of the other voice on an output: it fades
  bool fresh_ = true;     // before the first block

  // Between both.
  Ring mix_;
  std::array<Ring, kVoices> voices_;
  sem_t wake_;
  std::atomic<bool> stopping_{false};
  std::atomic<double> budget_ms_{0};
  std::atomic<int> depth_{0}, policy_{0}, priority_{0};
  std::thread thread_;
};

}  // namespace tisdiss::ladspa
