#include "windows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace tisdiss::internal {
namespace {

// An order must be better by this share of the overlap's energy before it replaces the last known one.
constexpr double kMargin = 1e-3;
constexpr double kPi = 3.14159265358979323846;
constexpr float kSilence = 1e-10f;  // a peak below it: less than any integer format can hold

double product(const float* a, const float* b, size_t samples) {
  double sum = 0.0;
  for (size_t i = 0; i < samples; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double energy(const Rows& rows, size_t samples) {
  double sum = 0.0;
  for (size_t r = 0; r < rows.count; ++r) sum += product(rows.row(r), rows.row(r), samples);
  return sum;
}

// All orders, those that change least against `last` first.
std::vector<Order> orders_nearest_first(const Order& last) {
  std::vector<Order> orders = all_orders(last.size());
  const auto changes = [&](const Order& other) {
    return std::inner_product(last.begin(), last.end(), other.begin(), 0, std::plus<>(), std::not_equal_to<>());
  };
  std::stable_sort(orders.begin(), orders.end(),
                   [&](const Order& a, const Order& b) { return changes(a) < changes(b); });
  return orders;
}

// The order of `after` that agrees best with `before` in so many samples.
Order match_order(const Rows& before, const Rows& after, size_t samples, const Order& last) {
  const double margin = kMargin * std::sqrt(energy(before, samples) * energy(after, samples));
  std::vector<double> agreement;  // (before, after)
  for (size_t b = 0; b < before.count; ++b) {
    for (size_t a = 0; a < after.count; ++a) agreement.push_back(product(before.row(b), after.row(a), samples));
  }
  Order best = last;
  double best_score = -std::numeric_limits<double>::infinity();
  for (const Order& order : orders_nearest_first(last)) {
    double score = 0.0;
    for (size_t row = 0; row < order.size(); ++row) score += agreement[row * after.count + order[row]];
    if (score > best_score + margin) {
      best = order;
      best_score = score;
    }
  }
  return best;
}

// Joins an estimate of so many samples to what is there already, which fades out over the first `fade` ones.
void join(const Rows& estimate, size_t samples, const std::vector<float>& fade, const Order& order, const Rows& out) {
  for (size_t row = 0; row < out.count; ++row) {
    const float* from = estimate.row(order[row]);
    float* to = out.row(row);
    for (size_t i = 0; i < fade.size(); ++i) to[i] += fade[i] * (from[i] - to[i]);
    std::copy(from + fade.size(), from + samples, to + fade.size());
  }
}

}  // namespace

std::vector<Order> all_orders(size_t sources) {
  Order order(sources);
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<Order> orders;
  do orders.push_back(order);
  while (std::next_permutation(order.begin(), order.end()));
  return orders;
}

bool is_silent(const float* sound, size_t samples) {
  return std::all_of(sound, sound + samples, [](float x) { return std::abs(x) < kSilence; });
}

std::vector<float> fade_in(size_t samples) {
  std::vector<float> fade(samples);
  for (size_t i = 0; i < samples; ++i) {
    const double phase = kPi * (static_cast<double>(i) + 0.5) / static_cast<double>(samples);
    fade[i] = static_cast<float>(0.5 - 0.5 * std::cos(phase));
  }
  return fade;
}

void separate_windows(size_t samples, size_t window, const SeparateWindow& separate, const Rows& out) {
  const size_t hop = window / 2, length = std::min(window, samples);
  std::vector<float> numbers(out.count * length);
  const Rows estimate{numbers.data(), out.count, length};
  Order order(out.count);
  std::iota(order.begin(), order.end(), size_t{0});
  separate(0, length, estimate.data);
  join(estimate, length, {}, order, out);
  const std::vector<float> fade = samples > window ? fade_in(hop) : std::vector<float>();
  // The last window ends where the signal ends, and so overlaps by more than half; what is before the fade of
  // its predecessor is dropped.
  for (size_t joint = hop; joint + hop < samples; joint += hop) {
    const size_t start = std::min(joint, samples - window);
    const size_t dropped = joint - start;
    separate(start, window, estimate.data);
    order = match_order(out.from(joint), estimate.from(dropped), hop, order);
    join(estimate.from(dropped), window - dropped, fade, order, out.from(joint));
  }
}

}  // namespace tisdiss::internal
