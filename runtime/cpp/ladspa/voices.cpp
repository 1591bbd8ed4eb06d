#include "voices.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace tisdiss::ladspa {
namespace {

constexpr double kLongestBlockS = 1.0;  // what is longer is taken in pieces: hosts that play have none
// Of the thread; what it has missed by then, it leaves out. A host that renders is up to two blocks and a buffer ahead.
constexpr double kMostBehindS = 2.0 * kLongestBlockS + 0.5;
constexpr double kRingS = kMostBehindS + 1.5 * kLongestBlockS;
constexpr double kPatienceS = 5.0;  // of a host that renders, without anything from the thread
constexpr double kFadeS = 0.005;    // from one voice to another
constexpr float kLoudest = 10.0f;   // of the input, where full scale is 1

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

size_t samples_of(double seconds, double hz) { return static_cast<size_t>(std::ceil(seconds * hz)); }

float clean(float sample) { return std::isfinite(sample) ? std::clamp(sample, -kLoudest, kLoudest) : 0.0f; }

}  // namespace

VoicesOfHost::VoicesOfHost(const std::string& folder, uint32_t host_hz, const Settings& settings)
    : host_hz_(host_hz),
      separation_(folder, host_hz, settings),
      lag_(separation_.lag()),
      step_(separation_.step()),
      mix_(samples_of(kRingS, host_hz)),
      voices_{Ring(samples_of(kRingS, host_hz)), Ring(samples_of(kRingS, host_hz))} {
  sem_init(&wake_, 0, 0);
}

VoicesOfHost::~VoicesOfHost() {
  stop();
  sem_destroy(&wake_);
}

void VoicesOfHost::start() {
  stop();
  separation_.reset();
  pace_ = {};
  policy_ = SCHED_OTHER;
  priority_ = 0;
  latency_ = silence_ = 0;
  position_ = 0;
  missed_ = 0;
  fresh_ = true;
  mix_.clear();
  for (Ring& ring : voices_) ring.clear();
  stopping_ = false;
  thread_ = std::thread([this] {
    try {
      work();
    } catch (const std::exception& failure) {
      tell(failure.what());
    }
  });
}

void VoicesOfHost::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  sem_post(&wake_);
  thread_.join();
  if (missed_ > 0) {
    tell(std::to_string(static_cast<long>(std::ceil(1e3 * static_cast<double>(missed_) / host_hz_))) +
         " ms were not ready in time: set a longer buffer, or a lower budget or depth");
  }
}

// ---- the host's thread ----

void VoicesOfHost::run(const float* mix, size_t count, const Controls& controls,
                       const std::array<float*, kVoices>& out) {
  if (count == 0) return;
  pace_.begin(now_s(), static_cast<double>(count) / host_hz_, policy_ != SCHED_OTHER);
  if (fresh_) follow_priority();
  budget_ms_.store(controls.settings.budget_ms, std::memory_order_relaxed);
  depth_.store(controls.settings.depth, std::memory_order_relaxed);
  const size_t longest = samples_of(kLongestBlockS, host_hz_);
  for (size_t done = 0; done < count;) {
    const size_t piece = std::min(count - done, longest);
    listen(mix ? mix + done : nullptr, piece);
    std::array<float*, kVoices> rows = out;
    for (float*& row : rows) {
      if (row) row += done;
    }
    play(piece, controls, rows);
    done += piece;
  }
  pace_.end(now_s());
}

// The thread runs one level below the host's, if that has real-time priority.
void VoicesOfHost::follow_priority() {
  sched_param parameters{};
  const int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
  if ((policy != SCHED_FIFO && policy != SCHED_RR) || sched_getparam(0, &parameters) != 0) return;
  priority_.store(std::max(1, parameters.sched_priority - 1), std::memory_order_relaxed);
  policy_.store(policy, std::memory_order_relaxed);
}

void VoicesOfHost::listen(const float* mix, size_t count) {
  for (size_t i = 0; i < count; ++i) mix_.put(i, mix ? clean(mix[i]) : 0.0f);
  mix_.publish(count);
  sem_post(&wake_);
}

// Asks again and again: a host that renders has the time, and one that plays does not come here.
void VoicesOfHost::wait_for(int64_t end) const {
  int64_t before = -1;
  double since_s = 0.0;
  for (int64_t now = voices_[1].end(); now < end; now = voices_[1].end()) {
    if (now != before) {
      before = now;
      since_s = now_s();
    }
    if (now_s() - since_s > kPatienceS) return;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

void VoicesOfHost::play(size_t count, const Controls& controls, const std::array<float*, kVoices>& out) {
  const size_t needed = lag_ + count + std::max(step_, samples_of(controls.buffer_ms / 1e3, host_hz_));
  if (needed > latency_) {
    silence_ += needed - latency_;
    latency_ = needed;
  }
  const size_t silent = std::min(silence_, count);
  const int64_t due = position_ + static_cast<int64_t>(count - silent);
  if (thread_.joinable() && !pace_.plays()) wait_for(due);
  const int64_t end = std::min(due, voices_[1].end());
  missed_ += static_cast<uint64_t>(due - std::max(position_, end));
  const float step = static_cast<float>(1.0 / (kFadeS * host_hz_));
  for (size_t i = 0; i < count; ++i) {
    std::array<float, kVoices> now{};
    if (i >= silent && position_ < end) now = {voices_[0].get(position_), voices_[1].get(position_)};
    position_ += i >= silent;
    for (size_t output = 0; output < kVoices; ++output) {
      const float wanted = controls.voice == static_cast<int>(kVoices - output) ? 1.0f : 0.0f;
      float& other = other_[output];
      other = fresh_ ? wanted : std::clamp(wanted, other - step, other + step);
      const float sample = now[output] + other * (now[1 - output] - now[output]);
      if (out[output]) out[output][i] = std::clamp(sample, -1.0f, 1.0f);
    }
    fresh_ = false;
  }
  silence_ -= silent;
}

// ---- the thread ----

void VoicesOfHost::work() {
  int policy = SCHED_OTHER;
  int64_t position = 0;
  std::vector<float> chunk;
  while (true) {
    while (sem_wait(&wake_) != 0) {
    }
    if (policy != policy_.load()) {
      policy = policy_.load();
      const sched_param parameters{priority_.load()};
      sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &parameters);  // where that is allowed
    }
    for (catch_up(&position); position < mix_.end(); catch_up(&position)) {
      if (stopping_) return;
      chunk.clear();
      const int64_t end = std::min(position + static_cast<int64_t>(step_), mix_.end());
      while (position < end) chunk.push_back(mix_.get(position++));
      give(separation_.process(chunk, {budget_ms_.load(), depth_.load()}));
      // Real-time priority without a pause is ended by the system on some desktops.
      if (policy != SCHED_OTHER) std::this_thread::sleep_for(std::chrono::nanoseconds(1));
    }
    if (stopping_) return;
  }
}

// Leaves out what is too long ago: as much of the voices is silent.
void VoicesOfHost::catch_up(int64_t* position) {
  const int64_t behind = mix_.end() - *position;
  if (behind <= static_cast<int64_t>(samples_of(kMostBehindS, host_hz_))) return;
  const auto unit = static_cast<int64_t>(separation_.unit());
  const int64_t left_out = behind / unit * unit;
  give(Voices(kVoices, std::vector<float>(static_cast<size_t>(left_out))));
  *position += left_out;
}

void VoicesOfHost::give(const Voices& voices) {
  for (size_t voice = 0; voice < kVoices; ++voice) {
    const std::vector<float>& sound = voices[voice];
    for (size_t i = 0; i < sound.size(); ++i) voices_[voice].put(i, sound[i]);
  }
  for (size_t voice = 0; voice < kVoices; ++voice) voices_[voice].publish(voices[voice].size());
}

}  // namespace tisdiss::ladspa
