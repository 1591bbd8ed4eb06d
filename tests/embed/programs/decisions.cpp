// The budget's decisions from given times, by a clock that only the network moves:
//
//     decisions steps < TEXT     "budget min max advance_s", then lines "stem decoder repetition..." in ms, of `max` repetitions
//     decisions plan BUNDLE < TEXT     a count, so many lines "samples stem repetition decoder" in ms, then lines "budget min"
//
// prints depth, milliseconds and lateness of each step, or window, depth, most and predicted milliseconds of each plan, and
// the same once more after the planner has learnt that everything takes a second.
#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>

#include "budget.h"
#include "files.h"

using namespace tisdiss::internal;

namespace {

double clock_s = 0.0;

double read_clock() { return clock_s; }

// Takes the given times.
class Timed : public StepEngine {
 public:
  explicit Timed(std::map<size_t, std::vector<double>> by_samples) : by_samples_(std::move(by_samples)) {}

  void set(std::vector<double> times_ms) { times_ms_ = std::move(times_ms); }

  void start(const float*, size_t samples) override {
    if (by_samples_.count(samples)) times_ms_ = by_samples_[samples];
    next_ = 2;
    clock_s += times_ms_[0] / 1e3;
  }
  void repeat() override { clock_s += times_ms_[next_++] / 1e3; }
  void decode(float*) override { clock_s += times_ms_[1] / 1e3; }

 private:
  std::map<size_t, std::vector<double>> by_samples_;
  std::vector<double> times_ms_;  // stem, decoder, repetitions
  size_t next_ = 2;
};

void replay_steps() {
  Plan plan{};
  double budget_ms = 0.0;
  std::cin >> budget_ms >> plan.min_depth >> plan.max_depth >> plan.advance_s >> std::ws;
  plan.budget_ms = budget_ms;
  Timings timings;
  for (History<kHistory>* history : {&timings.stem, &timings.repetition, &timings.decoder}) {
    history->add(1.0);
  }
  Timed engine({});
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream numbers(line);
    std::vector<double> times_ms;
    for (double time_ms; numbers >> time_ms;) times_ms.push_back(time_ms);
    engine.set(times_ms);
    const auto step = run_step(engine, nullptr, 0, plan, timings, nullptr, read_clock);
    std::printf("%d %.17g %d\n", step.depth, step.elapsed_ms, step.missed);
  }
}

using Times = std::map<size_t, std::vector<double>>;

void replay_plan(const Manifest& manifest, const RunOptions& options, const Times& by_samples) {
  Planner planner(manifest, [&](int) { return std::make_unique<Timed>(by_samples); }, read_clock);
  for (int turn = 0; turn < 2; ++turn) {
    const Plan plan = planner.plan(options);
    std::printf("%g %d %d %.6f\n", plan.window_s, plan.depth, plan.max_depth, plan.predicted_ms);
    for (const auto& entry : by_samples) {
      Timings& timings = planner.measure(entry.first);
      for (auto* history : {&timings.stem, &timings.repetition, &timings.decoder}) history->add(1000.0);
    }
  }
}

void replay_plans(const char* bundle) {
  const Manifest manifest = load_manifest(Files(bundle));
  Times by_samples;
  size_t count = 0, samples = 0;
  std::cin >> count;
  for (double stem = 0, repetition = 0, decoder = 0; by_samples.size() < count;) {
    std::cin >> samples >> stem >> repetition >> decoder;
    by_samples[samples] = {stem, decoder, repetition, repetition};
  }
  RunOptions options;
  for (double budget_ms = 0.0; std::cin >> budget_ms >> options.min_depth;) {
    options.budget_ms = budget_ms;
    replay_plan(manifest, options, by_samples);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2) {
    replay_steps();
  } else {
    replay_plans(arguments[2]);
  }
  return 0;
}
