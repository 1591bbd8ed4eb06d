#include "stream.h"

#include <algorithm>

#include "error.h"

namespace tisdiss::internal {

namespace {

constexpr double kAverageS = 0.5;  // over which steps tell what repetitions change: a single one says little

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

StepResult Stream::separate(const Rows& estimate) {
  const size_t length = waiting_.size();
  const bool ends_block = talkers_ && talkers_->ends_block(length);
  Plan plan = plan_;
  if (plan.budget_ms && ends_block) *plan.budget_ms -= block_ends_ms_.high();
  StepResult result = run_step(steps_, waiting_.data(), length, plan, timings_, estimate.row(0), now_s,
                               need_ ? &*need_ : nullptr);
  if (!talkers_) return result;
  const double begin_s = now_s();
  talkers_->put_in_order(estimate, length);
  const double took_ms = (now_s() - begin_s) * 1e3;
  if (ends_block) block_ends_ms_.add(took_ms);
  result.elapsed_ms += took_ms;
  result.missed = plan_.budget_ms && result.elapsed_ms > *plan_.budget_ms;
  return result;
}

size_t Stream::step(const Rows& out, size_t most) {
  const size_t length = waiting_.size();
  const State before = state_;
  state_ = State::kFailed;  // unless it comes back from the network
  progress_.add(separate({estimate_.data(), out.count, length}));
  if (trailing_ && trailing_->add(waiting_.data(), {estimate_.data(), out.count, length}, need_->changes())) {
    MeanEstimate now;
    now.add(trailing_->voices());
    progress_.quality = now.mean();
    progress_.estimates.add(trailing_->voices());
  }
  state_ = before;
  heard_ = 0;
  const size_t dropped = std::min<size_t>(to_drop_, length);
  const size_t wanted = std::min(length - dropped, most);
  to_drop_ -= dropped;
  owed_ -= wanted;
  for (size_t source = 0; source < out.count; ++source) {
    std::copy_n(estimate_.data() + source * length + dropped, wanted, out.row(source));
  }
  return wanted;
}

}  // namespace tisdiss::internal
