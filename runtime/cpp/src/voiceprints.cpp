#include "voiceprints.h"

#include <cmath>

#include "denormals.h"

namespace tisdiss::internal {
namespace {

constexpr double kBlockS = 0.256;
constexpr float kTiny = 1e-20f;  // against division by nothing

}  // namespace

Voiceprints::Voiceprints(const Sessions& sessions, size_t stretches, size_t samples)
    : size(static_cast<size_t>(sessions.manifest.voice->graph.outputs[0].shape[2])),
      sessions_(sessions),
      stretches_(stretches),
      samples_(samples),
      sources_(static_cast<size_t>(sessions.manifest.sources)),
      frames_(samples / sessions.manifest.voice->hop),
      voices_(sources_ * stretches * samples),
      of_frames_(sources_ * stretches * frames_ * size),
      weights_(sources_ * stretches * frames_),
      prints_(stretches * sources_ * size) {
  const auto tensor = [&](std::vector<float>& numbers, std::vector<size_t> sizes) {
    tensors_.push_back(sessions.ort.tensor(numbers.data(), numbers.size(), {sizes.begin(), sizes.end()}));
  };
  tensor(voices_, {sources_, stretches * samples});
  tensor(of_frames_, {sources_, stretches * frames_, size});
  tensor(weights_, {sources_, stretches * frames_});
}

void Voiceprints::run() {
  const DenormalsAreZero faster;
  const std::array<const char*, 1> inputs = {"voices"};
  const std::array<const char*, 2> outputs = {"prints", "weights"};
  const std::array<const OrtValue*, 1> given = {tensors_[0].get()};
  std::array<OrtValue*, 2> filled = {tensors_[1].get(), tensors_[2].get()};
  OrtStatus* status = sessions_.ort.api.Run(sessions_.voice(), nullptr, inputs.data(), given.data(), given.size(),
                                            outputs.data(), outputs.size(), filled.data());
  if (status) sessions_.ort.check(status, "the voice graph");
  for (size_t stretch = 0; stretch < stretches_; ++stretch) {
    for (size_t source = 0; source < sources_; ++source) {
      float* mean = prints_.data() + (stretch * sources_ + source) * size;
      std::fill_n(mean, size, 0.0f);
      float total = kTiny;
      const size_t first = (source * stretches_ + stretch) * frames_;
      for (size_t frame = first; frame < first + frames_; ++frame) {
        total += weights_[frame];
        for (size_t i = 0; i < size; ++i) mean[i] += weights_[frame] * of_frames_[frame * size + i];
      }
      for (size_t i = 0; i < size; ++i) mean[i] /= total;
    }
  }
}

size_t block_samples(const Manifest& manifest) {
  const auto hop = static_cast<double>(manifest.voice->hop);
  return manifest.voice->hop * static_cast<size_t>(std::nearbyint(kBlockS * manifest.sample_rate / hop));
}

void to_point(float* print, size_t size) {
  double squared = 0.0;
  for (size_t i = 0; i < size; ++i) squared += static_cast<double>(print[i]) * print[i];
  const float length = static_cast<float>(std::sqrt(squared)) + kTiny;
  for (size_t i = 0; i < size; ++i) print[i] /= length;
}

double squared_distance(const float* one, const float* two, size_t size) {
  double sum = 0.0;
  for (size_t i = 0; i < size; ++i) sum += std::pow(static_cast<double>(one[i]) - two[i], 2);
  return sum;
}

}  // namespace tisdiss::internal
