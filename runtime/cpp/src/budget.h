// The latency budget, as tisdiss_rt/planning explains and does it: same decisions from the same times.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "manifest.h"
#include "tisdiss_rt.h"

namespace tisdiss::internal {

class Need;

constexpr double kMargin = 0.04;  // of the budget, to be ready earlier by
constexpr double kQuantile = 0.95;
constexpr size_t kHistory = 64;      // measurements remembered of each graph
constexpr int64_t kMemorySteps = 3000;  // for which pauses are remembered
constexpr size_t kTolerated = 4;        // pauses within that time that may make a step late
constexpr int kRetrySteps = 128;  // without a repetition, where none must run; then one runs, to see its time
constexpr double kCalmS = 0.9;          // pauses are over after so much audio,
constexpr int kCalmGaps = 3;            // and so many times the gap between them
constexpr size_t kMostLateSteps = 512;
constexpr double kLeastMs = 1e-3;  // that a graph takes
// What of a budget repetitions beyond the least may be planned with.
constexpr double planned_ms(double budget_ms) { return (1 - kMargin) * budget_ms; }
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// The newest numbers, oldest first. It allocates nothing, so that a step may use it.
template <size_t Capacity>
class History {
 public:
  void add(double value) {
    if (count_ == Capacity) {
      std::copy(values_.begin() + 1, values_.end(), values_.begin());
      --count_;
    }
    values_[count_++] = value;
  }

  void clear() { count_ = 0; }

  // The high quantile that predictions are made from; the largest of a few values.
  double high() const {
    return ranked(static_cast<size_t>(std::ceil(kQuantile * static_cast<double>(count_))) - 1);
  }

  // The lower one of the two in the middle.
  double median() const { return ranked((count_ - 1) / 2); }

  bool empty() const { return count_ == 0; }

 private:
  double ranked(size_t rank) const {
    if (count_ == 0) return 0.0;
    std::array<double, Capacity> ordered = values_;
    const auto last = ordered.begin() + static_cast<std::ptrdiff_t>(count_);
    std::nth_element(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(rank), last);
    return ordered[rank];
  }

  std::array<double, Capacity> values_{};
  size_t count_ = 0;
};

// By how much steps were later than expected, and how early the next one has to plan to be ready, as the Python
// class explains it. It allocates nothing either.
class LateSteps {
 public:
  // Takes note of the next step, so long after the last; forgets what is over.
  void add(double late_ms, double step_s);

  // How early to plan to be ready: the worst lateness but for what is tolerated; 0 if there is none.
  double early_ms() const;

 private:
  struct LateStep {
    int64_t step;
    double late_ms;  // than the last decision expected
    bool over;
  };

  template <class Condition>
  void drop_if(Condition condition);

  std::array<LateStep, kMostLateSteps> late_{};  // oldest first
  size_t count_ = 0;
  int64_t step_ = 0;
};

// Milliseconds that each graph took in the last steps on this machine, for one window length; `repetition` has the
// mean of each step. Beside them: `overrun`, how many times as long as expected single repetitions took; `skipped`, the
// number of consecutive steps without a repetition; and the late steps.
struct Timings {
  History<kHistory> stem, repetition, decoder, overrun;
  int skipped = 0;
  LateSteps late_steps;

  double step_ms(int depth) const { return stem.high() + depth * repetition.high() + decoder.high(); }
};

// How long the rest of a step will take, from what was measured and how much slower the step was until now.
class Forecast {
 public:
  Forecast(double budget_ms, const Timings& timings);

  double ready_ms() const { return ready_ms_; }

  // How many times as long as usually stem and `depth` repetitions took, or the last of them; at least 1.
  double slowdown(double elapsed_ms, int depth, double last_ms) const {
    return std::max({1.0, elapsed_ms / (stem_ms_ + depth * repetition_ms_), last_ms / repetition_ms_});
  }

  double repetition_ms(double slowdown) const { return slowdown * repetition_ms_; }

  // Time within which one more repetition and the decoder are expected to be done.
  double finish_ms(double slowdown) const { return slowdown * (overrun_ * repetition_ms_ + decoder_ms_); }

  // So much lateness if planning to be ready earlier helps against it, or 0.
  double counted_ms(double late_ms, int min_depth) const;

 private:
  double ready_ms_, budget_ms_, stem_ms_, repetition_ms_, decoder_ms_, overrun_;
};

struct Plan {
  double window_s;
  size_t window_samples;
  double advance_s;  // of a step from the one before: less than the window where windows overlap
  int depth;  // that the planner expects
  int min_depth, max_depth;
  std::optional<double> budget_ms;
  double predicted_ms = kUnknown;
  double quality_db = kUnknown;
  std::optional<double> min_gain_db = std::nullopt;  // what a repetition must be expected to add
};

struct RunOptions {
  std::optional<double> budget_ms;
  std::optional<int> depth;
  int min_depth = 1;
  std::optional<double> window_s;
  tisdiss_progress progress = nullptr;
  void* progress_data = nullptr;
  std::optional<double> min_gain_db;
};

// One call for each graph; the step under way is inside.
class StepEngine {
 public:
  virtual ~StepEngine() = default;
  virtual void start(const float* mix, size_t samples) = 0;
  virtual void repeat() = 0;
  // How much the last repetition changed the map of each source; NULL where the bundle does not tell it.
  virtual const float* change() const { return nullptr; }
  virtual void decode(float* estimate) = 0;  // (sources, samples)
};

struct StepResult {
  int depth;
  double elapsed_ms;
  bool missed;  // took longer than the budget
};

using Clock = double (*)();  // seconds
double now_s();

// Separates one window within the plan and remembers how long each graph took. `need`, of bundles that tell changes,
// may end it before time does.
StepResult run_step(StepEngine& engine, const float* mix, size_t samples, const Plan& plan, Timings& timings,
                  float* estimate, Clock clock = now_s, Need* need = nullptr);

// What the manifest of a streaming bundle promises at a depth; NaN if unknown.
double promised_db(const Manifest& manifest, int depth);

// Makes the plans for a bundle, one for each combination of options: these are checked, and the machine is
// measured once for each length.
class Planner {
 public:
  // Makes an engine for measuring, that can run so many repetitions.
  using Open = std::function<std::unique_ptr<StepEngine>(int depth)>;

  Planner(const Manifest& manifest, Open open, Clock clock = now_s)
      : manifest_(manifest), open_(std::move(open)), clock_(clock) {}

  Plan plan(const RunOptions& options);

  // What windows or steps of so many samples take here, measured the first time.
  Timings& measure(size_t samples);

 private:
  using Key = std::tuple<std::optional<double>, std::optional<int>, int, std::optional<double>>;

  void check(const RunOptions& options) const;
  Plan make(const RunOptions& options);

  const Manifest& manifest_;
  Open open_;
  Clock clock_;
  std::map<size_t, Timings> timings_;
  std::map<Key, Plan> plans_;
};

}  // namespace tisdiss::internal
