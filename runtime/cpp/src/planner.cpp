#include <memory>
#include <random>
#include <sstream>

#include "budget.h"
#include "error.h"

namespace tisdiss::internal {
namespace {

constexpr int kMeasuredSteps = 3;
constexpr int kMeasuredDepth = 2;       // both feature buffers get used
constexpr double kMeasuringS = 0.5;     // stop measuring a window after this time
constexpr float kNoiseLevel = 0.1f;     // of the noise to measure with; full scale is 1
constexpr double kLongestHalf = 1 << 30;  // of a window, in samples: all that a signal may have
constexpr double kWindowStretch = 4;  // by which a window may be longer than the longest of the manifest
constexpr double kNothing = -std::numeric_limits<double>::infinity();

using Quality = std::map<int, double>;  // dB by depth

// Seconds of the windows, or of the one step of a streaming bundle.
std::vector<double> all_lengths_s(const Manifest& manifest) {
  if (!manifest.streaming) return manifest.windows_s;
  return {static_cast<double>(manifest.step_samples) / manifest.sample_rate};
}

// Of a window or step; a window's samples are even, so that its halves overlap exactly.
size_t length_samples(const Manifest& manifest, double length_s) {
  if (manifest.streaming) return static_cast<size_t>(manifest.step_samples);
  const double half = std::nearbyint(length_s * manifest.sample_rate / 2);  // ties to even, as in Python
  return std::max<size_t>(2, 2 * static_cast<size_t>(std::min(half, kLongestHalf)));
}

// How far a step advances from the one before: windows overlap by half.
double advance_s(const Manifest& manifest, double length_s) { return manifest.streaming ? length_s : length_s / 2; }

Quality length_quality(const Manifest& manifest, double length_s) {
  Quality quality;
  if (manifest.streaming) {
    for (const DepthQuality& entry : manifest.depth_quality) quality[entry.depth] = entry.si_sdri_db;
  } else {
    for (const WindowQuality& entry : manifest.window_quality) {
      if (entry.window_s == length_s) quality[entry.depth] = entry.si_sdri_db;
    }
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
  Plan plan = known != plans_.end() ? known->second : plans_[key] = make(options);
  plan.min_gain_db = options.min_gain_db;
  return plan;
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
    tisdiss::internal::need(condition, TISDISS_ERROR_OPTION, what);
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
  if (options.min_gain_db) {
    need(*options.min_gain_db >= 0 && std::isfinite(*options.min_gain_db), "the least gain must be from 0 dB on");
    need(manifest_.estimate.has_value(), "this bundle cannot tell what a repetition adds: export it with --calibrate");
  }
  if (!options.window_s) return;
  need(!manifest_.streaming, "a streaming bundle has steps of fixed length: leave the window out");
  const double least_s = static_cast<double>(manifest_.min_samples) / manifest_.sample_rate;
  const double most_s = kWindowStretch * manifest_.windows_s.back();
  need(least_s <= *options.window_s && *options.window_s <= most_s,
       text("the window must be from ", least_s, " to ", most_s, " s, not ", *options.window_s,
            "; the memory that it takes grows with its square"));
}

Plan Planner::make(const RunOptions& options) {
  const std::vector<double> lengths_s = options.window_s ? std::vector<double>{*options.window_s} : all_lengths_s(manifest_);
  if (!options.budget_ms) {
    const double length_s = lengths_s.back();
    const int depth = options.depth.value_or(manifest_.trained_depth);
    const double quality_db = quality_at(length_quality(manifest_, length_s), depth, kUnknown);
    return {length_s, length_samples(manifest_, length_s), advance_s(manifest_, length_s), depth, depth, depth,
            std::nullopt, kUnknown, quality_db};
  }
  const double budget_ms = *options.budget_ms;
  std::optional<Plan> best;
  std::tuple<double, int, double> best_rank;
  for (const double length_s : lengths_s) {
    const size_t samples = length_samples(manifest_, length_s);
    const Timings& timings = measure(samples);
    const Quality quality = length_quality(manifest_, length_s);
    const int limit = std::max(options.min_depth, best_depth(quality, manifest_));
    for (int depth = options.min_depth; depth <= limit; ++depth) {
      const double predicted_ms = timings.step_ms(depth);
      if (best && predicted_ms > planned_ms(budget_ms)) break;
      const std::tuple rank(quality_at(quality, depth, kNothing), std::min(depth, manifest_.trained_depth), length_s);
      if (best && rank <= best_rank) continue;
      best_rank = rank;
      best = Plan{length_s,          samples, advance_s(manifest_, length_s), depth,
                  options.min_depth, limit,   budget_ms,                      predicted_ms,
                  quality_at(quality, depth, kUnknown)};
    }
    if (timings.step_ms(options.min_depth) > budget_ms) break;
  }
  return *best;
}

}  // namespace tisdiss::internal
