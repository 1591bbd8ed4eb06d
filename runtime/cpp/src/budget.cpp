#include "budget.h"

#include <chrono>

#include "need.h"

namespace tisdiss::internal {

double now_s() {
  using std::chrono::duration;
  return duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Condition>
void LateSteps::drop_if(Condition condition) {
  const auto end = late_.begin() + static_cast<std::ptrdiff_t>(count_);
  count_ = static_cast<size_t>(std::remove_if(late_.begin(), end, condition) - late_.begin());
}

void LateSteps::add(double late_ms, double step_s) {
  ++step_;
  if (late_ms > 0) {
    if (count_ == kMostLateSteps) drop_if([oldest = late_[0].step](const LateStep& s) { return s.step == oldest; });
    late_[count_++] = {step_, late_ms, false};
  }
  drop_if([&](const LateStep& step) { return step.step <= step_ - kMemorySteps; });
  for (double early = early_ms(); early > 0; early = early_ms()) {
    const auto alike = [&](const LateStep& step) { return step.late_ms >= early / 2; };
    int64_t count = 0, first = 0, last = 0;
    for (size_t i = 0; i < count_; ++i) {
      if (!alike(late_[i])) continue;
      if (count++ == 0) first = late_[i].step;
      last = late_[i].step;
    }
    const double gap = static_cast<double>(last - first) / static_cast<double>(count - 1);
    const auto calm = static_cast<double>(static_cast<int64_t>(kCalmS / step_s));
    if (static_cast<double>(step_ - last) < std::max(calm, kCalmGaps * gap)) break;
    for (size_t i = 0; i < count_; ++i) late_[i].over = late_[i].over || alike(late_[i]);
  }
}

double LateSteps::early_ms() const {
  std::array<double, kTolerated + 1> worst{};  // in falling order
  for (size_t i = 0; i < count_; ++i) {
    double late_ms = late_[i].over ? 0.0 : late_[i].late_ms;
    for (double& one : worst) {
      if (late_ms > one) std::swap(late_ms, one);
    }
  }
  return worst.back();
}

Forecast::Forecast(double budget_ms, const Timings& timings)
    : ready_ms_(std::min(budget_ms - timings.late_steps.early_ms(), planned_ms(budget_ms))),
      budget_ms_(budget_ms),
      stem_ms_(std::max(kLeastMs, timings.stem.median())),
      repetition_ms_(std::max(kLeastMs, timings.repetition.median())),
      decoder_ms_(std::max(kLeastMs, timings.decoder.median())),
      overrun_(timings.overrun.empty() ? timings.repetition.high() / repetition_ms_ : timings.overrun.high()) {}

double Forecast::counted_ms(double late_ms, int min_depth) const {
  const double least_ms = stem_ms_ + min_depth * repetition_ms_ + decoder_ms_;
  // The margin helps against less; against more, not even the least depth.
  const bool helps = kMargin * budget_ms_ / 2 < late_ms && late_ms <= budget_ms_ - least_ms;
  return helps ? late_ms : 0.0;
}

StepResult run_step(StepEngine& engine, const float* mix, size_t samples, const Plan& plan, Timings& timings,
                  float* estimate, Clock clock, Need* need) {
  const double begin = clock();
  const auto elapsed_ms = [&] { return (clock() - begin) * 1e3; };
  const auto timed_ms = [&](auto&& call) {
    const double before_ms = elapsed_ms();
    call();
    return elapsed_ms() - before_ms;
  };
  std::optional<Forecast> forecast;
  if (plan.budget_ms) forecast.emplace(*plan.budget_ms, timings);

  timings.stem.add(timed_ms([&] { engine.start(mix, samples); }));
  double repetitions_ms = 0.0, last_ms = 0.0, decoder_ms = 0.0, expected_ms = timings.step_ms(0);
  int depth = 0;
  bool is_known = false;  // whether `estimate` has the voices at this depth
  const auto decode = [&] {
    decoder_ms = timed_ms([&] { engine.decode(estimate); });
    is_known = true;
  };
  const auto asks_for_more = [&] {
    if (!need) return true;
    if (!forecast && need->tells_alone()) {  // a budget counts on one decoder
      decode();
      if (need->pass_on_alone(mix, estimate, samples)) return false;
    }
    return need->asks_for_more();
  };
  if (need) need->begin();
  for (;; ++depth) {
    const bool must_run = forecast && depth < plan.min_depth;
    if ((!must_run && !asks_for_more()) || depth == plan.max_depth) break;
    double slowdown = 1.0;
    if (forecast) {
      const double now_ms = elapsed_ms();
      slowdown = forecast->slowdown(now_ms, depth, last_ms);
      const double done_ms = now_ms + forecast->finish_ms(slowdown);
      if (!must_run && done_ms > forecast->ready_ms()) {
        if (depth > 0 || timings.skipped < kRetrySteps) break;
        // None ran for long. This one tells what they take now, instead of what they took then.
        timings.repetition.clear();
        timings.overrun.clear();
      }
      expected_ms = done_ms;
    }
    is_known = false;
    last_ms = timed_ms([&] {
      engine.repeat();
      if (need) need->add(engine.change());
    });
    repetitions_ms += last_ms;
    if (forecast) timings.overrun.add(last_ms / forecast->repetition_ms(slowdown));
  }
  if (depth > 0) timings.repetition.add(repetitions_ms / depth);
  if (!is_known) decode();
  timings.decoder.add(decoder_ms);
  const double took_ms = elapsed_ms();
  if (forecast) {
    timings.skipped = depth > 0 ? 0 : timings.skipped + 1;
    timings.late_steps.add(forecast->counted_ms(took_ms - expected_ms, plan.min_depth), plan.advance_s);
  }
  return {depth, took_ms, plan.budget_ms && took_ms > *plan.budget_ms};
}

}  // namespace tisdiss::internal
