#include "separation.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace tisdiss::ladspa {
namespace {

// Passes what is below 0.92 of the lower rate's Nyquist frequency, and is 2.5 ms behind at 48 kHz.
constexpr int kQuality = SPEEX_RESAMPLER_QUALITY_DESKTOP;

void append(Voices& voices, const Voices& more) {
  for (size_t voice = 0; voice < kVoices; ++voice) {
    voices[voice].insert(voices[voice].end(), more[voice].begin(), more[voice].end());
  }
}

size_t rounded_up(uint64_t dividend, uint64_t divisor) {
  return static_cast<size_t>((dividend + divisor - 1) / divisor);
}

}  // namespace

void tell(const std::string& text) { std::fprintf(stderr, "tisdiss_ladspa: %s\n", text.c_str()); }

Resampler::Resampler(uint32_t from_hz, uint32_t to_hz)
    : from_hz_(from_hz), to_hz_(to_hz), state_(nullptr, speex_resampler_destroy) {
  if (from_hz == to_hz) return;
  int error = RESAMPLER_ERR_SUCCESS;
  state_.reset(speex_resampler_init(1, from_hz, to_hz, kQuality, &error));
  if (!state_) throw std::runtime_error(std::string("resampling: ") + speex_resampler_strerror(error));
  reset();
}

std::vector<float> Resampler::process(const std::vector<float>& sound) {
  if (!state_) return sound;
  auto taken = static_cast<spx_uint32_t>(sound.size());
  auto given = static_cast<spx_uint32_t>(rounded_up(sound.size() * uint64_t{to_hz_}, from_hz_) + 1);
  std::vector<float> out(given);
  speex_resampler_process_float(state_.get(), 0, sound.data(), &taken, out.data(), &given);
  out.resize(given);
  return out;
}

size_t Resampler::lag() const {
  return state_ ? static_cast<size_t>(speex_resampler_get_input_latency(state_.get())) : 0;
}

void Resampler::reset() {
  if (!state_) return;
  speex_resampler_reset_mem(state_.get());
  speex_resampler_skip_zeros(state_.get());
}

Separation::Separation(const std::string& folder, uint32_t host_hz, const Settings& settings)
    : host_hz_(host_hz),
      separator_(folder),
      info_(separator_.info()),
      down_(host_hz, static_cast<uint32_t>(info_.sample_rate)),
      up_{Resampler(static_cast<uint32_t>(info_.sample_rate), host_hz),
          Resampler(static_cast<uint32_t>(info_.sample_rate), host_hz)} {
  if (info_.sources != static_cast<int32_t>(kVoices)) {
    throw std::runtime_error(folder + " has " + std::to_string(info_.sources) + " voices: the plug-in is for two");
  }
  open(settings);
}

// Without a budget, the stream is opened for all depths, and goes from one to another without a gap.
void Separation::open(const Settings& settings) {
  RunOptions options;
  if (settings.budget_ms > 0) {
    options.budget_ms = settings.budget_ms;
  } else {
    options.depth = info_.max_depth;
  }
  opened_ = {settings.budget_ms, options.depth};
  stream_.reset();
  stream_.emplace(separator_.stream(options));
}

Voices Separation::process(const std::vector<float>& mix, const Settings& settings) {
  const std::vector<float> sound = down_.process(mix);
  owed_ += static_cast<int64_t>(sound.size());
  Voices voices;
  try {
    voices = separate(sound, settings);
    owed_ -= static_cast<int64_t>(voices[0].size());
  } catch (const std::exception& failure) {
    if (!told_) tell(failure.what());
    told_ = true;
    voices = silence();
  }
  for (size_t voice = 0; voice < kVoices; ++voice) voices[voice] = up_[voice].process(voices[voice]);
  return voices;
}

Voices Separation::separate(const std::vector<float>& mix, const Settings& settings) {
  Voices voices(kVoices);
  if (!stream_ || settings.budget_ms != opened_.budget_ms) {
    if (stream_) append(voices, stream_->flush());
    open(settings);
  }
  if (opened_.budget_ms == 0 && settings.depth != opened_.depth) {
    stream_->set_depth(std::clamp(settings.depth, 0, info_.max_depth));
    opened_.depth = settings.depth;
  }
  append(voices, stream_->process(mix));
  return voices;
}

// All that is owed is silent, and a new stream begins.
Voices Separation::silence() {
  Voices voices(kVoices, std::vector<float>(static_cast<size_t>(owed_)));
  owed_ = 0;
  stream_.reset();
  return voices;
}

void Separation::reset() {
  down_.reset();
  for (Resampler& voice : up_) voice.reset();
  owed_ = 0;
  if (!stream_) return;
  stream_->reset();
  if (opened_.budget_ms == 0) opened_.depth = info_.max_depth;  // as it was opened
}

size_t Separation::at_host_rate(size_t samples) const {
  return rounded_up(samples * uint64_t{host_hz_}, static_cast<uint64_t>(info_.sample_rate));
}

size_t Separation::lag() const {
  return down_.lag() + at_host_rate(static_cast<size_t>(info_.latency_samples) + up_[0].lag());
}

size_t Separation::step() const { return at_host_rate(static_cast<size_t>(info_.step_samples)); }

size_t Separation::unit() const { return host_hz_ / std::gcd(host_hz_, static_cast<uint32_t>(info_.sample_rate)); }

}  // namespace tisdiss::ladspa
