#include <memory>
#include <random>
#include <sstream>

#include "budget.h"
#include "error.h"

namespace tisdiss {
namespace {

constexpr int kMeasuredSteps = 3;
constexpr int kMeasuredDepth = 2;       // both feature buffers get used
constexpr double kMeasuringS = 0.5;     // stop measuring a window after this time
constexpr float kNoiseLevel = 0.1f;     // of the noise to measure with; full scale is 1
constexpr double kLongestHalf = 1 << 30;  // of a window, in samples: all that a signal may have
constexpr double kNothing = -std::numeric_limits<double>::infinity();

using Quality = std::map<int, double>;  // dB by depth

// Length of a window in samples: even, so that its halves overlap exactly.
size_t window_samples(const Manifest& manifest, double window_s) {
  const double half = std::nearbyint(window_s * manifest.sample_rate / 2);  // ties to even, as in Python
  return std::max<size_t>(2, 2 * static_cast<size_t>(std::min(half, kLongestHalf)));
}

Quality window_quality(const Manifest& manifest, double window_s) {
  Quality quality;
  for (const WindowQuality& entry : manifest.window_quality) {
    if (entry.window_s == window_s) quality[entry.depth] = entry.si_sdri_db;
  }
  return quality;
}

double quality_at(const Quality& quality, int depth, double otherwise) {
  const auto found = quality.find(depth);
  return found == quality.end() ? otherwise : found->second;
}

// The depth of best measured quality, or the trained one.
int best_depth(const Quality& quality, const Manifest& manifest) {
  if (quality.empty()) return manifest.trained_depth;
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(quality.begin(), quality.end(), less)->first;
}

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

}  // namespace

double promised_db(const Manifest& manifest, int depth) {
  for (const DepthQuality& entry : manifest.depth_quality) {
    if (entry.depth == depth) return entry.si_sdri_db;
  }
  return kUnknown;
}

Plan Planner::plan(const RunOptions& options) {
  check(options);
  const Key key(options.budget_ms, options.depth, options.min_depth, options.window_s);
  const auto known = plans_.find(key);
  if (known != plans_.end()) return known->second;
  return plans_[key] = manifest_.streaming ? stream_plan(options) : window_plan(options);
}

Timings& Planner::measure(size_t samples) {
  const auto known = timings_.find(samples);
  if (known != timings_.end()) return known->second;
  const int depth = std::min(kMeasuredDepth, manifest_.max_depth);
  const std::unique_ptr<StepEngine> engine = open_(depth);
  std::mt19937 random(0);
  std::normal_distribution<float> noise(0.0f, kNoiseLevel);
  std::vector<float> mix(samples);
  for (float& sample : mix) sample = noise(random);
  std::vector<float> estimate(samples * static_cast<size_t>(manifest_.sources));
  const Plan plan{0.0, samples, 0.0, depth, depth, depth, std::nullopt};
  Timings warming;
  run_step(*engine, mix.data(), samples, plan, warming, estimate.data(), clock_);
  Timings timings;
  const double begin_s = clock_();
  for (int step = 0; step < kMeasuredSteps; ++step) {
    run_step(*engine, mix.data(), samples, plan, timings, estimate.data(), clock_);
    if (clock_() - begin_s > kMeasuringS) break;
  }
  return timings_[samples] = timings;
}

void Planner::check(const RunOptions& options) const {
  const auto need = [](bool condition, const std::string& what) {
    tisdiss::need(condition, TISDISS_ERROR_OPTION, what);
  };
  need(!options.budget_ms || !options.depth, "a budget and a fixed depth exclude each other: leave one out");
  need(!options.budget_ms || (*options.budget_ms > 0 && std::isfinite(*options.budget_ms)),
       "the budget must be above 0 ms");
  const int most = manifest_.max_depth;
  const auto check_depth = [&](const char* name, int depth) {
    need(0 <= depth && depth <= most,
         text("the ", name, " must be from 0 to ", most, " for this bundle, not ", depth));
  };
  if (options.depth) check_depth("depth", *options.depth);
  check_depth("minimum depth", options.min_depth);
  if (!options.window_s) return;
  need(!manifest_.streaming, "a streaming bundle has steps of fixed length: leave the window out");
  const double least_s = static_cast<double>(manifest_.min_samples) / manifest_.sample_rate;
  need(*options.window_s >= least_s && std::isfinite(*options.window_s),
       text("the window must be at least ", least_s, " s, not ", *options.window_s));
}

Plan Planner::window_plan(const RunOptions& options) {
  std::vector<double> windows_s = manifest_.windows_s;
  if (options.window_s) windows_s = {*options.window_s};
  if (!options.budget_ms) {
    const double window_s = windows_s.back();
    const int depth = options.depth.value_or(manifest_.trained_depth);
    const double quality_db = quality_at(window_quality(manifest_, window_s), depth, kUnknown);
    const size_t samples = window_samples(manifest_, window_s);
    return {window_s, samples, window_s / 2, depth, depth, depth, std::nullopt, kUnknown, quality_db};
  }
  const double budget_ms = *options.budget_ms;
  std::optional<Plan> best;
  std::tuple<double, int, double> best_rank;
  for (const double window_s : windows_s) {
    const size_t samples = window_samples(manifest_, window_s);
    const Timings& timings = measure(samples);
    const Quality quality = window_quality(manifest_, window_s);
    const int limit = std::max(options.min_depth, best_depth(quality, manifest_));
    for (int depth = options.min_depth; depth <= limit; ++depth) {
      const double predicted_ms = timings.step_ms(depth);
      if (best && predicted_ms > planned_ms(budget_ms)) break;
      const std::tuple rank(quality_at(quality, depth, kNothing), std::min(depth, manifest_.trained_depth), window_s);
      if (best && rank <= best_rank) continue;
      best_rank = rank;
      best = Plan{window_s, samples,   window_s / 2, depth, options.min_depth,
                  limit,    budget_ms, predicted_ms, quality_at(quality, depth, kUnknown)};
    }
    if (timings.step_ms(options.min_depth) > budget_ms) break;
  }
  return *best;
}

Plan Planner::stream_plan(const RunOptions& options) {
  const auto samples = static_cast<size_t>(manifest_.step_samples);
  Quality quality;
  for (const DepthQuality& entry : manifest_.depth_quality) quality[entry.depth] = entry.si_sdri_db;
  const int fixed = options.depth.value_or(manifest_.trained_depth);
  const double step_s = static_cast<double>(samples) / manifest_.sample_rate;
  Plan plan{step_s, samples, step_s, fixed, fixed, fixed, options.budget_ms};
  if (options.budget_ms) {
    const Timings& timings = measure(samples);
    plan.depth = plan.min_depth = options.min_depth;
    plan.max_depth = std::max(options.min_depth, best_depth(quality, manifest_));
    const double most_ms = planned_ms(*options.budget_ms);
    while (plan.depth < plan.max_depth && timings.step_ms(plan.depth + 1) <= most_ms) ++plan.depth;
    plan.predicted_ms = timings.step_ms(plan.depth);
  }
  plan.quality_db = promised_db(manifest_, plan.depth);
  return plan;
}

}  // namespace tisdiss
