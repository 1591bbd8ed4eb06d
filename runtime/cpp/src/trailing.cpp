#include "trailing.h"

#include <algorithm>
#include <cmath>

namespace tisdiss::internal {
namespace {

constexpr double kEveryS = 1.0;   // from one estimate to the next

size_t up(size_t samples, size_t step) { return (samples + step - 1) / step; }

size_t whole(double number) { return static_cast<size_t>(std::nearbyint(number)); }

}  // namespace

Trailing::Trailing(const Estimator& estimator, int sample_rate, size_t sources, size_t step, size_t delay)
    : estimator_(estimator),
      sources_(sources),
      step_(step),
      delay_(delay),
      window_(whole(kTrailingS * sample_rate)),
      every_(std::max<size_t>(1, whole(kEveryS * sample_rate / static_cast<double>(step)))),
      kept_(up(window_, step)),
      mix_((kept_ + up(delay, step)) * step),
      separated_(sources * kept_ * step),
      changes_(kept_),
      voices_(sources) {}

void Trailing::reset() {
  steps_ = 0;
  std::fill(voices_.begin(), voices_.end(), Estimated{});
}

bool Trailing::add(const float* mix, const Rows& voices, const Changes& changes) {
  const size_t slot = steps_ % kept_, ahead = steps_ % (mix_.size() / step_);
  std::copy_n(mix, step_, mix_.begin() + static_cast<std::ptrdiff_t>(ahead * step_));
  for (size_t v = 0; v < sources_; ++v) {
    std::copy_n(voices.row(v), step_, separated_.data() + (v * kept_ + slot) * step_);
  }
  changes_[slot] = changes;
  ++steps_;
  return steps_ >= mix_.size() / step_ && steps_ % every_ == 0 && estimate();
}

bool Trailing::estimate() {
  const auto in_order = [&](const float* ring, size_t slots, float* out) {
    const size_t begin = steps_ % slots * step_, length = slots * step_;
    std::copy(ring + begin, ring + length, out);
    std::copy(ring, ring + begin, out + length - begin);
  };
  std::vector<float> mix(mix_.size()), voices(separated_.size());
  in_order(mix_.data(), mix_.size() / step_, mix.data());
  for (size_t v = 0; v < sources_; ++v) {
    in_order(separated_.data() + v * kept_ * step_, kept_, voices.data() + v * kept_ * step_);
  }
  const float* heard = mix.data() + mix.size() - delay_ - window_;
  if (is_silent(heard, window_)) return false;  // there is nothing to estimate
  const Rows rows{voices.data() + kept_ * step_ - window_, sources_, kept_ * step_};
  voices_ = estimator_.voices(heard, rows, window_, mean_changes());
  return true;
}

Changes Trailing::mean_changes() const {
  double depths = 0.0;
  for (const Changes& one : changes_) depths += static_cast<double>(one.depth);
  Changes mean;
  mean.sources = sources_;
  mean.depth = whole(depths / static_cast<double>(kept_));  // ties to even, as in Python
  for (size_t repetition = 0; repetition < mean.depth; ++repetition) {
    double ran = 0.0;
    for (const Changes& one : changes_) {
      if (one.depth <= repetition) continue;
      ran += 1.0;
      for (size_t v = 0; v < sources_; ++v) mean.of[repetition][v] += one.of[repetition][v] * one.of[repetition][v];
    }
    for (size_t v = 0; v < sources_; ++v) mean.of[repetition][v] = std::sqrt(mean.of[repetition][v] / ran);
  }
  return mean;
}

}  // namespace tisdiss::internal
