#include "estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tisdiss::internal {
namespace {

constexpr double kFrameS = 0.032;
constexpr double kLeast = 1e-6;  // of a ratio of powers: beyond that nothing more is told
constexpr size_t kDeepest = 8;   // repetitions that are told apart
constexpr size_t kQuiet = 10;    // one of so many frames is a pause of a voice
constexpr double kLeastDb = -10.0;  // that are told: what is beyond counts as the limit
constexpr double kMostDb = 30.0;
constexpr double kSilent = 1e-3;  // of the power of all voices: below it a voice does not talk
constexpr double kTiny = 1e-20;
constexpr size_t kMostFeatures = 16;

using Numbers = std::vector<double>;

double decibels(double ratio) { return 10 * std::log10(std::max(ratio, kLeast)); }

double mean(const Numbers& numbers) {
  double sum = 0.0;
  for (const double number : numbers) sum += number;
  return sum / static_cast<double>(numbers.size());
}

// Sums over a window; rows are the mixture, the rest that no voice has, and each voice.
struct Statistics {
  std::vector<Numbers> frames;  // mean square of each frame
  Numbers steps;                // mean square of the differences of neighbouring samples
  std::vector<Numbers> products;  // mean products of voices
};

Statistics statistics_of(const float* mix, const Rows& voices, size_t samples, int sample_rate) {
  std::vector<float> rest(mix, mix + samples);
  std::vector<const float*> rows = {mix, rest.data()};
  for (size_t v = 0; v < voices.count; ++v) rows.push_back(voices.row(v));
  for (size_t i = 0; i < samples; ++i) {
    float sum = 0.0f;
    for (size_t v = 0; v < voices.count; ++v) sum += voices.row(v)[i];
    rest[i] = mix[i] - sum;
  }
  const auto wanted = static_cast<size_t>(std::nearbyint(kFrameS * sample_rate));
  const size_t frame = std::min(wanted, samples), count = samples / frame;
  Statistics found;
  for (const float* row : rows) {
    Numbers powers(count);
    for (size_t f = 0; f < count; ++f) {
      double sum = 0.0;
      for (size_t i = f * frame; i < (f + 1) * frame; ++i) sum += static_cast<double>(row[i]) * row[i];
      powers[f] = sum / static_cast<double>(frame);
    }
    found.frames.push_back(powers);
    double steps = 0.0;
    for (size_t i = 1; i < samples; ++i) {
      const double step = static_cast<double>(row[i]) - row[i - 1];
      steps += step * step;
    }
    found.steps.push_back(steps / static_cast<double>(std::max<size_t>(1, samples - 1)));
  }
  for (size_t a = 0; a < voices.count; ++a) {
    Numbers products(voices.count);
    for (size_t b = 0; b < voices.count; ++b) {
      double sum = 0.0;
      for (size_t i = 0; i < samples; ++i) sum += static_cast<double>(voices.row(a)[i]) * voices.row(b)[i];
      products[b] = sum / static_cast<double>(samples);
    }
    found.products.push_back(products);
  }
  return found;
}

// Squared changes in dB, of the last repetition and of the one before it.
struct LastChanges {
  double last_mean = 0.0, before_mean = 0.0, most = -std::numeric_limits<double>::infinity();

  explicit LastChanges(const Changes& changes) {
    const auto& of_last = changes.of[changes.depth - 1];
    const auto& of_before = changes.of[changes.depth > 1 ? changes.depth - 2 : 0];
    const auto count = static_cast<double>(changes.sources);
    for (size_t v = 0; v < changes.sources; ++v) {
      const double last = decibels(of_last[v] * of_last[v]);
      last_mean += last / count;
      before_mean += decibels(of_before[v] * of_before[v]) / count;
      most = std::max(most, last);
    }
  }
};

double depth_feature(const Changes& changes) { return static_cast<double>(std::min(changes.depth, kDeepest)); }

// The features of one voice.
Numbers voice_features(const Statistics& statistics, size_t voice, const Changes& changes, double window_s) {
  const size_t sources = statistics.products.size();
  Numbers power;
  for (const Numbers& frames : statistics.frames) power.push_back(mean(frames) + kTiny);
  Numbers features;
  if (changes.depth > 0) {
    const LastChanges found(changes);
    features = {found.last_mean, found.before_mean - found.last_mean, depth_feature(changes)};
  }
  double all = 0.0;
  for (size_t v = 0; v < sources; ++v) all += power[2 + v];
  features.push_back(decibels(power[2 + voice] / power[0]));
  features.push_back(decibels((all - power[2 + voice]) / power[0]));
  features.push_back(decibels(power[1] / power[0]));
  const std::vector<Numbers>& products = statistics.products;
  double likeness = 0.0;
  for (size_t v = 0; v < sources; ++v) {
    if (v == voice) continue;
    const double lengths = (std::sqrt(products[voice][voice]) + 1e-10) * (std::sqrt(products[v][v]) + 1e-10);
    likeness = std::max(likeness, std::abs(products[voice][v]) / lengths);
  }
  features.push_back(likeness);
  const Numbers& own = statistics.frames[2 + voice];
  double contested = 0.0, squares = 0.0;
  for (size_t f = 0; f < own.size(); ++f) {
    double whole = 0.0;
    for (size_t v = 0; v < sources; ++v) whole += statistics.frames[2 + v][f];
    contested += own[f] * (whole - own[f]) / (whole + kTiny);
    squares += own[f] * own[f];
  }
  const auto count = static_cast<double>(own.size());
  const double level = power[2 + voice];
  features.push_back(decibels(contested / count / level));
  features.push_back(decibels(level * level / (squares / count + kTiny)));
  Numbers ordered = own;
  std::sort(ordered.begin(), ordered.end());
  ordered.resize(std::max<size_t>(1, own.size() / kQuiet));
  features.push_back(decibels(mean(ordered) / level));
  features.push_back(decibels(statistics.steps[2 + voice] / power[2 + voice]));
  features.push_back(decibels(statistics.steps[0] / power[0]));
  features.push_back(std::log2(window_s));
  return features;
}

// The value of a polynomial of second degree, see tisdiss_rt/estimate/polynomial.py.
template <class Features>
double value_of(const Polynomial& polynomial, const Features& features) {
  const size_t count = features.size();
  std::array<double, kMostFeatures> unit;
  for (size_t i = 0; i < count; ++i) {
    const double low = polynomial.low[i], high = polynomial.high[i];
    unit[i] = std::clamp(2 * (features[i] - low) / (high - low) - 1, -1.0, 1.0);
  }
  const double* weight = polynomial.weights.data();
  double value = *weight++;
  for (size_t i = 0; i < count; ++i) value += *weight++ * unit[i];
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i; j < count; ++j) value += *weight++ * unit[i] * unit[j];
  }
  return value;
}

}  // namespace

void MeanEstimate::add(const Estimated& voice) {
  if (!voice.is_known()) return;
  level_ += voice.si_sdr_db;
  low_ += voice.low_db;
  high_ += voice.high_db;
  ++count_;
}

void MeanEstimate::add(const std::vector<Estimated>& voices) {
  for (const Estimated& voice : voices) add(voice);
}

Estimated MeanEstimate::mean() const {
  if (count_ == 0) return {};
  const auto count = static_cast<double>(count_);
  return {level_ / count, low_ / count, high_ / count};
}

void SignalEstimates::add(const std::vector<Estimated>& voices) {
  Estimated most;
  for (const Estimated& voice : voices) {
    if (!most.is_known() || voice.si_sdr_db > most.si_sdr_db) most = voice;
  }
  all.add(voices);
  best.add(most);
}

std::vector<Estimated> Estimator::voices(const float* mix, const Rows& voices, size_t samples,
                                         const Changes& changes) const {
  const Statistics statistics = statistics_of(mix, voices, samples, sample_rate_);
  const size_t way = changes.depth == 0 ? 0 : 1;
  double all = 0.0;
  for (size_t v = 0; v < voices.count; ++v) all += mean(statistics.frames[2 + v]);
  std::vector<Estimated> found(voices.count);
  for (size_t v = 0; v < voices.count; ++v) {
    if (!(mean(statistics.frames[2 + v]) > kSilent * all)) continue;
    const double window_s = static_cast<double>(samples) / sample_rate_;
    const Numbers features = voice_features(statistics, v, changes, window_s);
    const double level = value_of(part_.levels[way], features);
    const double spread = std::exp(value_of(part_.spreads[way], features));
    const auto told = [](double db) { return std::clamp(db, kLeastDb, kMostDb); };
    found[v] = {told(level), told(level - part_.below * spread), told(level + part_.above * spread)};
  }
  return found;
}

bool Estimator::pass_on_alone(const float* mix, float* voices, size_t sources, size_t samples) const {
  const Statistics statistics = statistics_of(mix, {voices, sources, samples}, samples, sample_rate_);
  Numbers power;
  for (const Numbers& frames : statistics.frames) power.push_back(mean(frames) + kTiny);
  const auto loudest = std::max_element(power.begin() + 2, power.end());
  double others = 0.0;
  for (auto voice = power.begin() + 2; voice != power.end(); ++voice) others += voice == loudest ? 0.0 : *voice;
  const Alone& least = *part_.alone;
  if (-decibels(others / *loudest) < least.others_db || -decibels(power[1] / power[0]) < least.rest_db) return false;
  std::fill_n(voices, sources * samples, 0.0f);
  std::copy_n(mix, samples, voices + static_cast<size_t>(loudest - power.begin() - 2) * samples);
  return true;
}

double Estimator::gain_db(const Changes& changes, double window_s) const {
  const LastChanges found(changes);
  const std::array<double, 5> features = {found.last_mean, found.most - found.last_mean,
                                          found.before_mean - found.last_mean, depth_feature(changes),
                                          std::log2(window_s)};
  return value_of(part_.gain, features);
}

}  // namespace tisdiss::internal
