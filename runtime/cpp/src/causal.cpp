#include "causal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tisdiss::internal {
namespace {

constexpr double kActiveDb = -30.0;  // of the stream's level: what is quieter is silence
constexpr double kChange = 4.0;         // cost of another order in a pause,
constexpr double kChangeInSound = 4.0;  // and what sound adds
constexpr double kFadeS = 0.008;                       // from one order to another, at most the piece
constexpr double kQuiet = 1e-4;           // power that a stream is taken to have at least
constexpr double kLevelHalfLifeS = 30.0;  // of the stream's level, when it gets quieter
constexpr double kTalkerHalfLifeS = 60.0;  // of what is known of a talker, while there is speech
constexpr double kKnown = 0.02;            // blocks from which on anything is known of a talker
constexpr double kDoubt = 1.0;             // blocks of a talker that count as much as that they might be anybody
constexpr double kTiny = 1e-20;

}  // namespace

CausalOrder::CausalOrder(const Sessions& sessions)
    : part_(*sessions.manifest.voice),
      sources_(static_cast<size_t>(sessions.manifest.sources)),
      block_(block_samples(sessions.manifest)),
      block_s_(static_cast<double>(block_) / sessions.manifest.sample_rate),
      rising_(fade_in(static_cast<size_t>(std::nearbyint(kFadeS * sessions.manifest.sample_rate)))),
      voiceprints_(sessions, 2, block_),
      orders_(all_orders(sources_)),
      power_(sources_),
      counts_(sources_),
      sums_(sources_ * voiceprints_.size),
      fits_(sources_ * sources_),
      talkers_(sums_.size()),
      points_(sums_.size()),
      now_(sources_) {
  reset();
}

void CausalOrder::reset() {
  heard_ = 0;
  level_ = kQuiet;
  active_.assign(sources_, 0.0);
  std::fill(sums_.begin(), sums_.end(), 0.0f);
  known_.assign(sources_, 0.0);
  scores_.assign(orders_.size(), 0.0);
  order_ = 0;
  for (size_t source = 0; source < sources_; ++source) std::fill_n(voiceprints_.voices(source), 2 * block_, 0.0f);
}

void CausalOrder::put_in_order(const Rows& piece, size_t samples) {
  const size_t before = order_;
  for (size_t taken = 0; taken < samples;) {
    const size_t count = std::min(samples - taken, block_ - heard_);
    for (size_t source = 0; source < sources_; ++source) {
      std::copy_n(piece.row(source) + taken, count, voiceprints_.voices(source) + block_ + heard_);
    }
    taken += count;
    heard_ += count;
    if (heard_ == block_) hear();
  }
  const Order& now = orders_[order_];
  const Order& old = orders_[before];
  for (size_t i = 0; i < samples; ++i) {
    for (size_t source = 0; source < sources_; ++source) now_[source] = piece.row(source)[i];
    for (size_t output = 0; output < sources_; ++output) {
      float value = now_[now[output]];
      if (order_ != before && i < rising_.size()) {
        value = now_[old[output]] + rising_[i] * (value - now_[old[output]]);
      }
      piece.row(output)[i] = value;
    }
  }
}

void CausalOrder::hear() {
  heard_ = 0;
  voiceprints_.run();
  const double sound = weigh();
  fit();
  const double changed = *std::max_element(scores_.begin(), scores_.end()) - (kChange + kChangeInSound * sound);
  for (size_t order = 0; order < orders_.size(); ++order) {
    scores_[order] = std::max(scores_[order], changed);
    for (size_t talker = 0; talker < sources_; ++talker) {
      scores_[order] += fits_[orders_[order][talker] * sources_ + talker];
    }
  }
  order_ = static_cast<size_t>(std::max_element(scores_.begin(), scores_.end()) - scores_.begin());
  const double best = scores_[order_];
  for (double& score : scores_) score -= best;
  drop_renamed();
  learn();
  for (size_t source = 0; source < sources_; ++source) {
    float* voices = voiceprints_.voices(source);
    std::copy_n(voices + block_, block_, voices);
  }
}

void CausalOrder::drop_renamed() {
  const Order& chosen = orders_[order_];
  for (size_t order = 0; order < orders_.size(); ++order) {
    bool is_same = order != order_;
    for (size_t talker = 0; talker < sources_; ++talker) {
      is_same = is_same && (known_[talker] <= kKnown || orders_[order][talker] == chosen[talker]);
    }
    if (is_same) scores_[order] = -std::numeric_limits<double>::infinity();
  }
}

double CausalOrder::weigh() {
  for (size_t source = 0; source < sources_; ++source) {
    const float* newest = voiceprints_.voices(source) + block_;
    power_[source] = 0.0;
    for (size_t i = 0; i < block_; ++i) power_[source] += static_cast<double>(newest[i]) * newest[i];
    power_[source] /= static_cast<double>(block_);
  }
  const double total = std::accumulate(power_.begin(), power_.end(), 0.0);
  level_ = std::max({total, level_ * std::pow(0.5, block_s_ / kLevelHalfLifeS), kQuiet});
  double sound = 0.0;
  for (size_t source = 0; source < sources_; ++source) {
    const double active = power_[source] / (power_[source] + level_ * std::pow(10.0, kActiveDb / 10) + kTiny);
    counts_[source] = active * power_[source] / (total + kTiny);
    sound = std::max(sound, std::min(active, active_[source]));
    active_[source] = active;
  }
  return sound;
}

void CausalOrder::fit() {
  const size_t size = voiceprints_.size;
  talkers_ = sums_;
  for (size_t source = 0; source < sources_; ++source) {
    std::copy_n(voiceprints_.print(1, source), size, points_.data() + source * size);
    to_point(points_.data() + source * size, size);
    to_point(talkers_.data() + source * size, size);
  }
  for (size_t source = 0; source < sources_; ++source) {
    for (size_t talker = 0; talker < sources_; ++talker) {
      const double apart = squared_distance(points_.data() + source * size, talkers_.data() + talker * size, size);
      const double distance = part_.same + known_[talker] / (known_[talker] + kDoubt) * (apart - part_.same);
      fits_[source * sources_ + talker] = -part_.certainty * counts_[source] * distance;
    }
  }
}

void CausalOrder::learn() {
  const double speech = std::accumulate(counts_.begin(), counts_.end(), 0.0);
  const double keep = std::pow(0.5, block_s_ * speech / kTalkerHalfLifeS);
  const size_t size = voiceprints_.size;
  for (size_t talker = 0; talker < sources_; ++talker) {
    const size_t source = orders_[order_][talker];
    const double weight = counts_[source] * counts_[source];
    const float* print = voiceprints_.print(1, source);
    for (size_t i = 0; i < size; ++i) {
      float& sum = sums_[talker * size + i];
      sum = static_cast<float>(keep * sum + weight * print[i]);
    }
    known_[talker] = keep * known_[talker] + weight;
  }
}

}  // namespace tisdiss::internal
