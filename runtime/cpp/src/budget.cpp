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
  const int64_t oldest = step_ - static_cast<int64_t>(kPauseMemoryS / step_s);
  drop_if([&](const Pause& pause) { return pause.step <= oldest; });
  for (double worst = worst_ms(); worst > 0; worst = worst_ms()) {
    const auto alike = [&](const Pause& pause) { return pause.pause_ms >= worst / 2; };
    size_t count = 0;
    int64_t last = 0;
    for (size_t i = 0; i < count_; ++i) {
      if (!alike(pauses_[i])) continue;
      ++count;
      last = pauses_[i].step;
    }
    if (count < kManyPauses || last > step_ - static_cast<int64_t>(kCalmS / step_s)) break;
    drop_if(alike);
  }
}

double Pauses::worst_ms() const {
  double worst = 0.0;
  for (size_t i = 0; i < count_; ++i) worst = std::max(worst, pauses_[i].late_ms);
  return worst;
}

StepTime run_step(StepEngine& engine, const float* mix, size_t samples, const Plan& plan, Timings& timings,
                  float* estimate, Clock clock) {
  const double begin = clock();
  const auto elapsed_ms = [&] { return (clock() - begin) * 1e3; };
  const auto timed = [&](auto& history, auto&& call) {
    const double before_ms = elapsed_ms();
    call();
    history.add(elapsed_ms() - before_ms);
  };
  const double budget_ms = plan.budget_ms.value_or(0.0);
  const double ready_ms = std::min(budget_ms - timings.pauses.worst_ms(), planned_ms(budget_ms));
  const auto one_more_fits = [&] {
    return !plan.budget_ms || elapsed_ms() + timings.finish_ms(1) <= ready_ms;
  };

  timed(timings.stem, [&] { engine.start(mix, samples); });
  int depth = 0;
  while (depth < plan.min_depth || (depth < plan.max_depth && one_more_fits())) {
    timed(timings.repetition, [&] { engine.repeat(); });
    ++depth;
  }
  timed(timings.decoder, [&] { engine.decode(estimate); });
  // Nothing new was learnt about a repetition: one slow moment must not rule it out for ever.
  if (depth == 0 && timings.repetition.size() > 1) timings.repetition.drop_largest();
  const double took_ms = elapsed_ms();
  if (plan.budget_ms) {
    const double longer_ms = took_ms - timings.step_ms(depth);
    // At the least depth nothing was decided; it can only be later than expected.
    const double late_ms = std::max(0.0, depth > plan.min_depth ? took_ms - ready_ms : longer_ms);
    // What not even the least depth could have absorbed does not count: less depth would not help.
    const bool avoidable = timings.step_ms(plan.min_depth) + late_ms <= *plan.budget_ms;
    timings.pauses.add(avoidable ? late_ms : 0.0, longer_ms, plan.window_s);
  }
  return {depth, took_ms};
}

}  // namespace tisdiss
