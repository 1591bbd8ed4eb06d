// Sound from one thread to another without locks: one writes, one reads. Positions count samples from the start of the
// sound. The writer never waits: what is older than the ring is long is overwritten.
//
//     |        |#################|        |        position p is at p modulo the length
//          end - length        end
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tisdiss::ladspa {

class Ring {
 public:
  explicit Ring(size_t least) : samples_(power_of_two(least)) {}

  // Of the thread that writes: a sample `ahead` of the end, and how many of these the other thread may read now.
  void put(size_t ahead, float sample) {
    at(end_.load(std::memory_order_relaxed) + static_cast<int64_t>(ahead)).store(sample, std::memory_order_relaxed);
  }
  void publish(size_t count) {
    end_.store(end_.load(std::memory_order_relaxed) + static_cast<int64_t>(count), std::memory_order_release);
  }

  // Of the thread that reads: the position after the last sample, and a sample before it.
  int64_t end() const { return end_.load(std::memory_order_acquire); }
  float get(int64_t position) const {
    return samples_[static_cast<uint64_t>(position) & (samples_.size() - 1)].load(std::memory_order_relaxed);
  }

  // While neither thread runs.
  void clear() { end_ = 0; }

 private:
  static size_t power_of_two(size_t least) {
    size_t size = 1;
    while (size < least) size *= 2;
    return size;
  }

  std::atomic<float>& at(int64_t position) { return samples_[static_cast<uint64_t>(position) & (samples_.size() - 1)]; }

  std::vector<std::atomic<float>> samples_;
  std::atomic<int64_t> end_{0};
};

}  // namespace tisdiss::ladspa
