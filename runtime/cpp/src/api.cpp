// The C interface: arguments are checked here, and no exception gets out of here.
#include "tisdiss_rt.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "assignment.h"
#include "budget.h"
#include "error.h"
#include "estimate.h"
#include "files.h"
#include "mutex.h"
#include "need.h"
#include "offline.h"
#include "sessions.h"
#include "stream.h"
#include "stream_steps.h"
#include "structs.h"
#include "windows.h"

namespace tisdiss::internal {
namespace {

// Samples of a stream beyond this are no sound at full scale 1; a network that follows levels never recovers.
constexpr float kLoudest = 1e6f;

// Text of the last failed call on this thread; an array, so that keeping it cannot fail.
thread_local std::array<char, 4096> error_text{};

constexpr double kPieceS = 1.0;  // of a signal that a streaming bundle separates, between two calls of `progress`

std::unique_ptr<StepEngine> open_steps(const Sessions& sessions, int depth) {
  if (sessions.manifest.streaming) return std::make_unique<StreamSteps>(sessions, depth);
  return std::make_unique<OfflineSteps>(sessions);
}

}  // namespace
}  // namespace tisdiss::internal

struct tisdiss_bundle {
  tisdiss_bundle(const tisdiss::internal::Files& files, const tisdiss::internal::OpenOptions& options)
      : sessions(std::make_shared<tisdiss::internal::Sessions>(files, options)),
        planner(sessions->manifest, [this](int depth) { return tisdiss::internal::open_steps(*sessions, depth); }) {}

  const std::shared_ptr<const tisdiss::internal::Sessions> sessions;
  tisdiss::internal::Mutex planning;  // whoever uses the planner
  tisdiss::internal::Planner planner;
};

struct tisdiss_stream {
  tisdiss_stream(tisdiss_bundle& bundle, const tisdiss::internal::Plan& plan, const tisdiss::internal::Timings& timings)
      : stream(bundle.sessions, plan, timings), sources(static_cast<size_t>(bundle.sessions->manifest.sources)) {}

  tisdiss::internal::Stream stream;
  const size_t sources;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;  // a call runs
};

namespace tisdiss::internal {
namespace {

// A text that is too long is cut between two characters of UTF-8, whose later bytes are 10xxxxxx.
tisdiss_status keep(tisdiss_status status, const char* text) {
  size_t length = std::strlen(text);
  if (length >= error_text.size()) {
    length = error_text.size() - 1;
    while (length > 0 && (text[length] & 0xC0) == 0x80) --length;
  }
  std::copy_n(text, length, error_text.data());
  error_text[length] = '\0';
  return status;
}

// Runs the body of a call and turns exceptions into a status and a text.
template <class Body>
tisdiss_status guarded(Body&& body) noexcept {
  try {
    body();
    return TISDISS_OK;
  } catch (const Error& failure) {
    return keep(failure.status, failure.what());
  } catch (const std::bad_alloc&) {
    return keep(TISDISS_ERROR_MEMORY, "not enough memory");
  } catch (const std::exception& failure) {
    return keep(TISDISS_ERROR_INTERNAL, failure.what());
  } catch (...) {
    return keep(TISDISS_ERROR_INTERNAL, "unknown failure");
  }
}

template <class Body>
tisdiss_status on_bundle(tisdiss_bundle* bundle, Body&& body) noexcept {
  if (!bundle) return keep(TISDISS_ERROR_ARGUMENT, "the bundle is NULL: open one with tisdiss_open");
  return guarded([&] { body(*bundle); });
}

template <class Body>
tisdiss_status on_stream(tisdiss_stream* stream, Body&& body) noexcept {
  if (!stream) return keep(TISDISS_ERROR_ARGUMENT, "the stream is NULL: open one with tisdiss_stream_open");
  if (stream->busy.test_and_set(std::memory_order_acquire)) {
    return keep(TISDISS_ERROR_STATE, "the stream is busy in another thread: one call at a time");
  }
  const tisdiss_status status = guarded([&] { body(*stream); });
  stream->busy.clear(std::memory_order_release);
  return status;
}

void need_argument(bool condition, const char* text) { need(condition, TISDISS_ERROR_ARGUMENT, text); }

tisdiss_open_options complete(const tisdiss_open_options* given) {
  return read_struct(given, tisdiss_open_options TISDISS_OPEN_OPTIONS_INIT,
                     TISDISS_END(tisdiss_open_options, reserved), "TISDISS_OPEN_OPTIONS_INIT");
}

Files files_of(const char* folder, const tisdiss_open_options& set) {
  need_argument(folder || set.file_count > 0, "the folder is NULL: give the path of a bundle, or its files in options that begin with TISDISS_OPEN_OPTIONS_INIT");
  need_argument(!folder || set.file_count == 0, "there are a folder and files: leave one out");
  if (folder) return Files(folder);
  need_argument(set.files, "the files are NULL");
  std::map<std::string, std::string_view> content;
  for (size_t i = 0; i < set.file_count; ++i) {
    const tisdiss_file& file = set.files[i];
    need_argument(file.name && (file.data || file.size == 0), "a file has no name or no data");
    content[file.name] = {static_cast<const char*>(file.data), file.size};
  }
  return Files(std::move(content));
}

OpenOptions read(const tisdiss_open_options& set) {
  need(set.reserved == 0, TISDISS_ERROR_OPTION, "`reserved` is for later versions: leave it 0");
  OpenOptions options;
  if (set.onnxruntime) options.onnxruntime = set.onnxruntime;
  if (set.provider) options.provider = set.provider;
  if (set.precision) options.precision = set.precision;
  options.threads = set.threads;
  options.onnxruntime_api = set.onnxruntime_api;
  return options;
}

RunOptions read(const tisdiss_run_options* given) {
  const tisdiss_run_options set =
      read_struct(given, tisdiss_run_options TISDISS_RUN_OPTIONS_INIT, TISDISS_END(tisdiss_run_options, window_s),
                  "TISDISS_RUN_OPTIONS_INIT");
  RunOptions options;
  if (set.budget_ms != 0) options.budget_ms = set.budget_ms;
  if (set.depth != -1) options.depth = set.depth;
  if (set.window_s != 0) options.window_s = set.window_s;
  options.min_depth = set.min_depth;
  options.progress = set.progress;
  options.progress_data = set.progress_data;
  if (set.min_gain_db != 0) options.min_gain_db = set.min_gain_db;
  return options;
}

void tell(const RunOptions& options, size_t done, size_t samples) {
  if (!options.progress) return;
  const double share = static_cast<double>(done) / static_cast<double>(samples);
  need(options.progress(options.progress_data, share) == 0, TISDISS_ERROR_CANCELLED, "cancelled");
}

Plan plan_of(tisdiss_bundle& bundle, const RunOptions& options) {
  const Locked lock(bundle.planning);
  return bundle.planner.plan(options);
}

// What a step of the plan takes; nothing is measured without a budget.
Timings timings_of(tisdiss_bundle& bundle, const Plan& plan) {
  const Locked lock(bundle.planning);
  return plan.budget_ms ? bundle.planner.measure(plan.window_samples) : Timings();
}

void check_mix(const float* mix, size_t samples) {
  need_argument(mix || samples == 0, "the mixture is NULL");
  const bool finite = std::all_of(mix, mix + samples, [](float x) { return std::isfinite(x); });
  need_argument(finite, "the mixture has NaN or infinity: replace them");
}

void check_level(const float* mix, size_t samples) {
  const bool in_scale = std::all_of(mix, mix + samples, [](float x) { return std::abs(x) <= kLoudest; });
  need_argument(in_scale, "the mixture has samples beyond 1e6, where full scale is 1: scale it down");
}

void check_out(const float* out, size_t capacity, size_t samples) {
  need_argument(out || samples == 0, "the output is NULL");
  if (capacity >= samples) return;
  throw Error(TISDISS_ERROR_ARGUMENT, "the output has room for " + std::to_string(capacity) +
                                          " samples of each source, where " + std::to_string(samples) +
                                          " are needed");
}

// Windows overlap: what was written for one would be read for the next.
void check_apart(const float* mix, size_t samples, const float* out, size_t values) {
  const std::less_equal<const float*> before;
  need_argument(before(mix + samples, out) || before(out + values, mix),
                "the output overlaps the mixture: give it memory of its own");
}

void check_report(const tisdiss_report* report) {
  if (report) check_size(*report, "TISDISS_REPORT_INIT");
}

void write(const Plan& plan, const Progress& progress, tisdiss_report* report) {
  if (!report) return;
  const tisdiss_report values = {
      0,              plan.window_s,   plan.predicted_ms, plan.quality_db,    progress.last.elapsed_ms,
      progress.steps, progress.misses, plan.depth,        progress.last.depth, progress.quality.si_sdr_db,
      progress.quality.low_db, progress.quality.high_db};
  write_struct(values, report);
}

Progress separate_offline(tisdiss_bundle& bundle, const float* mix, size_t samples, const Plan& plan,
                          const RunOptions& options, const Rows& out) {
  const Manifest& manifest = bundle.sessions->manifest;
  OfflineSteps steps(*bundle.sessions);
  Progress progress;
  std::optional<Estimator> estimator;
  std::optional<Need> need;
  if (manifest.estimate) {
    estimator.emplace(manifest);
    need.emplace(*estimator, out.count, plan.window_s, plan.min_gain_db);
  }
  Timings timings = timings_of(bundle, plan);
  const auto separate = [&](size_t start, size_t length, float* estimate) {
    const float* begin = mix + start;
    tell(options, start, samples);
    if (is_silent(begin, length)) {
      std::fill_n(estimate, length * out.count, 0.0f);
      progress.add({0, 0.0, false});
      return;
    }
    Timings other = timings;  // a window of another length predicts nothing for the next full one
    Timings& known = length == plan.window_samples ? timings : other;
    progress.add(run_step(steps, begin, length, plan, known, estimate, now_s, need ? &*need : nullptr));
    if (!estimator) return;
    progress.estimates.add(estimator->voices(begin, {estimate, out.count, length}, length, need->changes()));
  };
  separate_windows(samples, plan.window_samples, separate, out);
  if (plan.budget_ms) {
    const Locked lock(bundle.planning);
    bundle.planner.measure(plan.window_samples) = timings;
  }
  return progress;
}

Progress separate_streaming(tisdiss_bundle& bundle, const float* mix, size_t samples, const Plan& plan,
                            const RunOptions& options, const Rows& out) {
  check_level(mix, samples);
  Stream stream(bundle.sessions, plan, timings_of(bundle, plan), Stream::Talkers::kLeft);
  const auto piece = static_cast<size_t>(kPieceS * bundle.sessions->manifest.sample_rate);
  size_t written = 0;
  for (size_t start = 0; start < samples; start += piece) {
    tell(options, start, samples);
    const size_t length = std::min(piece, samples - start), ready = stream.ready(length);
    stream.process(mix + start, length, out.from(written));
    written += ready;
  }
  stream.flush(out.from(written));
  return stream.progress();
}

}  // namespace
}  // namespace tisdiss::internal

using namespace tisdiss::internal;

const char* tisdiss_version(void) { return TISDISS_VERSION; }

const char* tisdiss_error_text(const tisdiss_bundle*) { return error_text.data(); }

const char* tisdiss_stream_error_text(const tisdiss_stream*) { return error_text.data(); }

tisdiss_status tisdiss_open(const char* folder, const tisdiss_open_options* options, tisdiss_bundle** bundle) {
  if (bundle) *bundle = nullptr;
  return guarded([&] {
    need_argument(bundle, "the place for the bundle is NULL");
    const tisdiss_open_options set = complete(options);
    static Mutex opening;  // not every ONNX Runtime lets several threads start it at once
    const Locked lock(opening);
    *bundle = new tisdiss_bundle(files_of(folder, set), read(set));
  });
}

// When the program ends, ONNX Runtime may have gone before a handle of static duration: that is left alone then.
void tisdiss_close(tisdiss_bundle* bundle) {
  if (!is_exiting) delete bundle;
}

tisdiss_status tisdiss_get_info(tisdiss_bundle* bundle, tisdiss_info* info) {
  return on_bundle(bundle, [&](tisdiss_bundle& self) {
    need_argument(info, "the info is NULL");
    check_size(*info, "TISDISS_INFO_INIT");
    const Sessions& sessions = *self.sessions;
    const Manifest& manifest = sessions.manifest;
    const tisdiss_info values = {0,
                                 manifest.name.c_str(),
                                 sessions.provider->name,
                                 sessions.precision.c_str(),
                                 manifest.licence.c_str(),
                                 sessions.threads,
                                 manifest.sample_rate,
                                 manifest.sources,
                                 manifest.trained_depth,
                                 manifest.max_depth,
                                 manifest.streaming,
                                 manifest.step_samples,
                                 manifest.latency_samples,
                                 sessions.ort.version};
    write_struct(values, info);
  });
}

tisdiss_status tisdiss_separate(tisdiss_bundle* bundle, const float* mix, size_t samples,
                                const tisdiss_run_options* options, float* out, size_t capacity,
                                tisdiss_report* report) {
  return on_bundle(bundle, [&](tisdiss_bundle& self) {
    need_argument(samples > 0, "the mixture is empty");
    check_mix(mix, samples);
    check_out(out, capacity, samples);
    check_apart(mix, samples, out, capacity * static_cast<size_t>(self.sessions->manifest.sources));
    check_report(report);
    const RunOptions set = read(options);
    const Plan plan = plan_of(self, set);
    const Manifest& manifest = self.sessions->manifest;
    const Rows rows{out, static_cast<size_t>(manifest.sources), capacity};
    const auto separate = manifest.streaming ? separate_streaming : separate_offline;
    Progress progress = separate(self, mix, samples, plan, set, rows);
    const bool one_talker = manifest.voice && settle(*self.sessions, rows, samples);
    progress.quality = (one_talker ? progress.estimates.best : progress.estimates.all).mean();
    tell(set, samples, samples);
    write(plan, progress, report);
  });
}

tisdiss_status tisdiss_stream_open(tisdiss_bundle* bundle, const tisdiss_run_options* options,
                                   tisdiss_stream** stream) {
  if (stream) *stream = nullptr;
  return on_bundle(bundle, [&](tisdiss_bundle& self) {
    need_argument(stream, "the place for the stream is NULL");
    const Manifest& manifest = self.sessions->manifest;
    need(manifest.streaming, TISDISS_ERROR_UNSUPPORTED,
         "bundle " + manifest.name + " is for whole signals: use tisdiss_separate, or a streaming bundle");
    const Plan plan = plan_of(self, read(options));
    *stream = new tisdiss_stream(self, plan, timings_of(self, plan));
  });
}

void tisdiss_stream_free(tisdiss_stream* stream) {
  if (!is_exiting) delete stream;
}

size_t tisdiss_stream_ready(const tisdiss_stream* stream, size_t samples) {
  return stream ? stream->stream.ready(samples) : 0;
}

size_t tisdiss_stream_rest(const tisdiss_stream* stream) { return stream ? stream->stream.rest() : 0; }

tisdiss_status tisdiss_stream_process(tisdiss_stream* stream, const float* mix, size_t samples, float* out,
                                      size_t capacity, size_t* given) {
  if (given) *given = 0;
  return on_stream(stream, [&](tisdiss_stream& self) {
    need_argument(given, "the place for the number of samples is NULL");
    self.stream.refuse_if_over();
    check_mix(mix, samples);
    check_level(mix, samples);
    const size_t ready = self.stream.ready(samples);
    check_out(out, capacity, ready);
    self.stream.process(mix, samples, {out, self.sources, capacity});
    *given = ready;
  });
}

tisdiss_status tisdiss_stream_flush(tisdiss_stream* stream, float* out, size_t capacity, size_t* given) {
  if (given) *given = 0;
  return on_stream(stream, [&](tisdiss_stream& self) {
    need_argument(given, "the place for the number of samples is NULL");
    self.stream.refuse_if_over();
    const size_t rest = self.stream.rest();
    check_out(out, capacity, rest);
    self.stream.flush({out, self.sources, capacity});
    *given = rest;
  });
}

tisdiss_status tisdiss_stream_reset(tisdiss_stream* stream) {
  return on_stream(stream, [](tisdiss_stream& self) { self.stream.reset(); });
}

tisdiss_status tisdiss_stream_set_depth(tisdiss_stream* stream, int32_t depth) {
  return on_stream(stream, [&](tisdiss_stream& self) { self.stream.set_depth(depth); });
}

tisdiss_status tisdiss_stream_get_report(tisdiss_stream* stream, tisdiss_report* report) {
  return on_stream(stream, [&](tisdiss_stream& self) {
    need_argument(report, "the report is NULL");
    check_report(report);
    write(self.stream.plan(), self.stream.progress(), report);
  });
}
