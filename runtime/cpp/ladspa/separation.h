// The two voices of a stream at the host's sample rate, for a thread that has the time to compute them.
#pragma once

#include <speex/speex_resampler.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tisdiss_rt.hpp"

namespace tisdiss::ladspa {

constexpr size_t kVoices = 2;

struct Settings {
  double budget_ms;  // of a step; 0 is none
  int depth;         // where there is no budget
};

// Output i is the sound at time i / to_hz of the input: nothing is shifted, the delay is only about when it comes.
// Of one channel, as Speex resets the first one alone.
class Resampler {
 public:
  Resampler(uint32_t from_hz, uint32_t to_hz);

  std::vector<float> process(const std::vector<float>& sound);

  // How much input after an output sample goes in before it comes, in samples of the input.
  size_t lag() const;
  void reset();

 private:
  const uint32_t from_hz_, to_hz_;
  std::unique_ptr<SpeexResamplerState, void (*)(SpeexResamplerState*)> state_;  // none for equal rates
};

class Separation {
 public:
  // Opens a streaming bundle; throws std::exception with a message for the user.
  Separation(const std::string& folder, uint32_t host_hz, const Settings& settings);

  // Takes the next sound, and returns what of the voices has become ready: the timeline of the sound, from its first
  // sample on. A failure is told on standard error and gives silence.
  Voices process(const std::vector<float>& mix, const Settings& settings);

  void reset();

  // In samples at the host's rate: how far behind the input its voices end at most; a step, rounded up; and the
  // shortest sound that both rates have a whole number of samples for.
  size_t lag() const;
  size_t step() const;
  size_t unit() const;

 private:
  void open(const Settings& settings);
  Voices separate(const std::vector<float>& mix, const Settings& settings);
  Voices silence();
  size_t at_host_rate(size_t samples) const;

  const uint32_t host_hz_;
  Separator separator_;
  const Info info_;
  Resampler down_;
  std::array<Resampler, kVoices> up_;
  Settings opened_;
  std::optional<Stream> stream_;
  int64_t owed_ = 0;  // samples that went in and did not come out yet
  bool told_ = false;
};

// Tells whoever reads the host's messages.
void tell(const std::string& text);

}  // namespace tisdiss::ladspa
