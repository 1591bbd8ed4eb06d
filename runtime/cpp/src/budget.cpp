#include "budget.h"

#include <chrono>

namespace tisdiss {

double now_s() {
  using std::chrono::duration;
  return duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Condition>
void Pauses::drop_if(Condition condition) {
  const auto end = pauses_.begin() + static_cast<std::ptrdiff_t>(count_);
  count_ = static_cast<size_t>(std::remove_if(pauses_.begin(), end, condition) - pauses_.begin());
}

void Pauses::add(double late_ms, double longer_ms, double step_s) {
  ++step_;
  if (late_ms > 0 || longer_ms > 0) {
    if (count_ == kMostPauses) drop_if([oldest = pauses_[0].step](const Pause& p) { return p.step == oldest; });
    pauses_[count_++] = {step_, late_ms, std::max(late_ms, longer_ms)};
  }
  drop_if([&](const Pause& pause) { return pause.step <= step_ - kMemorySteps; });
  for (double early = early_ms(); early > 0; early = early_ms()) {
    const auto alike = [&](const Pause& pause) { return pause.pause_ms >= early / 2; };
    int64_t count = 0, first = 0, last = 0;
    for (size_t i = 0; i < count_; ++i) {
      if (!alike(pauses_[i])) continue;
      if (count++ == 0) first = pauses_[i].step;
      last = pauses_[i].step;
    }
    const double gap = static_cast<double>(last - first) / static_cast<double>(count - 1);
    const auto calm = static_cast<double>(static_cast<int64_t>(kCalmS / step_s));
    if (static_cast<double>(step_ - last) < std::max(calm, kCalmGaps * gap)) break;
    for (size_t i = 0; i < count_; ++i) {
      if (alike(pauses_[i])) pauses_[i].late_ms = 0.0;
    }
  }
}

double Pauses::early_ms() const {
  std::array<double, kTolerated + 1> worst{};  // in falling order
  for (size_t i = 0; i < count_; ++i) {
    double late_ms = pauses_[i].late_ms;
    for (double& one : worst) {
      if (late_ms > one) std::swap(late_ms, one);
    }
  }
  return worst.back();
}

Forecast::Forecast(const Timings& timings)
    : stem_ms_(std::max(kLeastMs, timings.stem.median())),
      repetition_ms_(std::max(kLeastMs, timings.repetition.median())),
      decoder_ms_(std::max(kLeastMs, timings.decoder.median())),
      surprise_(timings.surprise.empty() ? timings.repetition.high() / repetition_ms_ : timings.surprise.high()) {}

StepTime run_step(StepEngine& engine, const float* mix, size_t samples, const Plan& plan, Timings& timings,
                  float* estimate, Clock clock) {
  const double begin = clock();
  const auto elapsed_ms = [&] { return (clock() - begin) * 1e3; };
  const auto timed = [&](auto& history, auto&& call) {
    const double before_ms = elapsed_ms();
    call();
    history.add(elapsed_ms() - before_ms);
  };
  std::optional<Forecast> forecast;
  double ready_ms = 0.0, expected_ms = 0.0;
  if (plan.budget_ms) {
    forecast.emplace(timings);
    expected_ms = timings.step_ms(0);
    ready_ms = std::min(*plan.budget_ms - timings.pauses.early_ms(), planned_ms(*plan.budget_ms));
  }

  timed(timings.stem, [&] { engine.start(mix, samples); });
  int depth = 0;
  for (; depth < plan.max_depth; ++depth) {
    double pace = 1.0;
    if (forecast) {
      const double now_ms = elapsed_ms();
      pace = forecast->pace(now_ms, depth);
      if (depth >= plan.min_depth && now_ms + forecast->finish_ms(pace) > ready_ms) break;
      expected_ms = now_ms + forecast->finish_ms(pace);
    }
    timed(timings.repetition, [&] { engine.repeat(); });
    if (forecast) timings.surprise.add(timings.repetition.last() / forecast->repetition_ms(pace));
  }
  timed(timings.decoder, [&] { engine.decode(estimate); });
  // Nothing new was learnt about a repetition: one slow moment must not rule it out for ever.
  if (depth == 0) {
    timings.repetition.drop_largest(1);
    timings.surprise.drop_largest(0);
  }
  const double took_ms = elapsed_ms();
  if (plan.budget_ms) {
    const double late_ms = std::max(0.0, took_ms - expected_ms);
    // What not even the least depth could have absorbed does not count: less depth would not help.
    const bool avoidable = timings.step_ms(plan.min_depth) + late_ms <= *plan.budget_ms;
    timings.pauses.add(avoidable ? late_ms : 0.0, took_ms - timings.step_ms(depth), plan.window_s);
  }
  return {depth, took_ms};
}

}  // namespace tisdiss
