#include "stream.h"

#include <algorithm>

#include "error.h"

namespace tisdiss::internal {

namespace {

constexpr double kAverageS = 0.5;  // over which steps tell what repetitions change: a single one says little

// Steps whose estimates are put into the order of the talkers, so that a budget counts the time for that.
class OrderedSteps : public StepEngine {
 public:
  OrderedSteps(StepEngine& steps, CausalOrder& talkers, size_t sources, size_t samples)
      : steps_(steps), talkers_(talkers), sources_(sources), samples_(samples) {}

  void start(const float* mix, size_t samples) override { steps_.start(mix, samples); }
  void repeat() override { steps_.repeat(); }
  const float* change() const override { return steps_.change(); }
  void decode(float* estimate) override {
    steps_.decode(estimate);
    talkers_.put_in_order({estimate, sources_, samples_}, samples_);
  }

 private:
  StepEngine& steps_;
  CausalOrder& talkers_;
  const size_t sources_, samples_;
};

}  // namespace

void Progress::add(const StepResult& step) {
  ++steps;
  misses += step.missed;
  last = step;
}

Stream::Stream(std::shared_ptr<const Sessions> sessions, const Plan& plan, const Timings& timings, Talkers talkers)
    : sessions_(std::move(sessions)),
      steps_(*sessions_, plan.max_depth),
      opened_(plan),
      plan_(plan),
      timings_(timings),
      waiting_(plan.window_samples),
      estimate_(plan.window_samples * static_cast<size_t>(sessions_->manifest.sources)) {
  if (sessions_->manifest.voice && talkers == Talkers::kDecided) talkers_.emplace(*sessions_);
  const Manifest& manifest = sessions_->manifest;
  if (manifest.estimate) {
    const auto sources = static_cast<size_t>(manifest.sources);
    const auto delay = static_cast<size_t>(manifest.latency_samples) - waiting_.size();
    estimator_.emplace(manifest);
    need_.emplace(*estimator_, sources, kTrailingS, plan.min_gain_db, std::min(1.0, plan.advance_s / kAverageS));
    trailing_.emplace(*estimator_, manifest.sample_rate, sources, waiting_.size(), delay);
  }
  reset();
}

void Stream::reset() {
  steps_.reset();
  if (talkers_) talkers_->reset();
  if (need_) need_->reset();
  if (trailing_) trailing_->reset();
  plan_ = opened_;
  progress_ = {};
  quality_ = {};
  heard_ = owed_ = 0;
  to_drop_ = static_cast<size_t>(sessions_->manifest.latency_samples) - waiting_.size();
  state_ = State::kOpen;
}

void Stream::set_depth(int depth) {
  need(!plan_.budget_ms, TISDISS_ERROR_OPTION, "the budget chooses the depth: open the stream without one");
  if (depth < 0 || depth > opened_.max_depth) {
    throw Error(TISDISS_ERROR_OPTION, "the depth must be from 0 to " + std::to_string(opened_.max_depth) +
                                          ", which the stream was opened with, not " + std::to_string(depth));
  }
  plan_.depth = plan_.min_depth = plan_.max_depth = depth;
  plan_.quality_db = promised_db(sessions_->manifest, depth);
}

void Stream::refuse_if_over() const {
  need(state_ != State::kEnded, TISDISS_ERROR_STATE, "the stream has ended: tisdiss_stream_reset begins a new one");
  need(state_ != State::kFailed, TISDISS_ERROR_STATE, "the stream has failed: tisdiss_stream_reset begins a new one");
}

size_t Stream::ready(size_t samples) const {
  const size_t whole = (heard_ + samples) / waiting_.size() * waiting_.size();
  return whole > to_drop_ ? whole - to_drop_ : 0;
}

void Stream::process(const float* mix, size_t samples, const Rows& out) {
  owed_ += samples;
  size_t given = 0;
  while (samples > 0) {
    const size_t taken = std::min(samples, waiting_.size() - heard_);
    std::copy_n(mix, taken, waiting_.data() + heard_);
    heard_ += taken;
    mix += taken;
    samples -= taken;
    if (heard_ == waiting_.size()) given += step(out.from(given), waiting_.size());
  }
}

void Stream::flush(const Rows& out) {
  state_ = State::kEnded;
  size_t given = 0;
  while (owed_ > 0) {
    std::fill(waiting_.begin() + static_cast<std::ptrdiff_t>(heard_), waiting_.end(), 0.0f);
    given += step(out.from(given), owed_);
  }
}

size_t Stream::step(const Rows& out, size_t most) {
  const size_t length = waiting_.size();
  const State before = state_;
  state_ = State::kFailed;  // unless it comes back from the network
  const auto run = [&](StepEngine& steps) {
    Watch* watch = need_ ? &*need_ : nullptr;
    progress_.add(run_step(steps, waiting_.data(), length, plan_, timings_, estimate_.data(), now_s, watch));
  };
  if (talkers_) {
    OrderedSteps ordered(steps_, *talkers_, out.count, length);
    run(ordered);
  } else {
    run(steps_);
  }
  if (trailing_ && trailing_->add(waiting_.data(), {estimate_.data(), out.count, length}, need_->changes())) {
    MeanEstimate now;
    now.add(trailing_->voices());
    progress_.quality = now.mean();
    quality_.add(trailing_->voices());
  }
  state_ = before;
  heard_ = 0;
  const size_t dropped = std::min(to_drop_, length);
  const size_t wanted = std::min(length - dropped, most);
  to_drop_ -= dropped;
  owed_ -= wanted;
  for (size_t source = 0; source < out.count; ++source) {
    std::copy_n(estimate_.data() + source * length + dropped, wanted, out.row(source));
  }
  return wanted;
}

}  // namespace tisdiss::internal
