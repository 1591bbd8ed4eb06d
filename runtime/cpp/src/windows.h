// Long signals in overlapping windows, as tisdiss_rt/audio/overlap_add.py explains and does it: the newer estimate fades in
// while the older one fades out, and each window's sources take the order that continues the window before.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace tisdiss::internal {

// Rows of numbers, `stride` apart.
struct Rows {
  float* data;
  size_t count;
  size_t stride;

  float* row(size_t index) const { return data + index * stride; }
  Rows from(size_t column) const { return {data + column, count, stride}; }
};

// The source that goes to each output.
using Order = std::vector<size_t>;

// All orders of so many sources, that of the network first.
std::vector<Order> all_orders(size_t sources);

// Whether sound is so quiet that the network need not run.
bool is_silent(const float* sound, size_t samples);

// A raised cosine from 0 to 1.
std::vector<float> fade_in(size_t samples);

// Separates a window: `samples` of the mixture from `start` on, to rows of as many.
using SeparateWindow = std::function<void(size_t start, size_t samples, float* estimate)>;

// Separates a signal of `samples` in windows of `window`, which is even, into `out`.
void separate_windows(size_t samples, size_t window, const SeparateWindow& separate, const Rows& out);

}  // namespace tisdiss::internal
