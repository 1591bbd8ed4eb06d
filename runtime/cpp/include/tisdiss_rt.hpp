// The C++17 interface of tisdiss_rt.h: handles that free themselves, and exceptions that carry the error message.
//
//     tisdiss::Separator separator("edge-16k");
//     tisdiss::Voices voices = separator.separate(mix);
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tisdiss_rt.h"

namespace tisdiss {

using Voices = std::vector<std::vector<float>>;  // (sources, samples)

// Sound in the caller's memory: anything with data() and size(), such as std::vector<float> or
// std::span<const float>, or a pointer and a length.
class Span {
 public:
  Span(const float* data, size_t size) : data_(data), size_(size) {}

  template <class Samples>
  Span(const Samples& samples) : data_(samples.data()), size_(samples.size()) {}

  const float* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const float* data_;
  size_t size_;
};

class Failure : public std::runtime_error {
 public:
  Failure(tisdiss_status status, const char* text) : std::runtime_error(text), status(status) {}

  const tisdiss_status status;
};

struct OpenOptions : tisdiss_open_options {
  OpenOptions() : tisdiss_open_options TISDISS_OPEN_OPTIONS_INIT {}
};

struct RunOptions : tisdiss_run_options {
  RunOptions() : tisdiss_run_options TISDISS_RUN_OPTIONS_INIT {}
};

struct Report : tisdiss_report {
  Report() : tisdiss_report TISDISS_REPORT_INIT {}
};

struct Info : tisdiss_info {
  Info() : tisdiss_info TISDISS_INFO_INIT {}
};

namespace detail {

// Copy the rows that a call writes one after the other into vectors of their own.
template <class Write>
Voices rows(size_t sources, size_t samples, Write&& write) {
  std::vector<float> flat(sources * samples);
  write(flat.data(), samples);
  Voices voices;
  for (size_t i = 0; i < sources; ++i) {
    const float* row = flat.data() + i * samples;
    voices.emplace_back(row, row + samples);
  }
  return voices;
}

}  // namespace detail

// Live sound, opened by Separator::stream; for one thread at a time.
class Stream {
 public:
  // Push a chunk of any length; return the output that has become ready.
  Voices process(Span mix) {
    return detail::rows(sources_, ready(mix.size()), [&](float* out, size_t capacity) { process(mix, out, capacity); });
  }

  // The same, allocating no more than tisdiss_stream_process does: write rows of `capacity` floats, one for each
  // source, and return the number of samples written to each.
  size_t process(Span mix, float* out, size_t capacity) {
    size_t given = 0;
    check(tisdiss_stream_process(handle_.get(), mix.data(), mix.size(), out, capacity, &given));
    return given;
  }

  // End the stream; return the rest of the output.
  Voices flush() {
    return detail::rows(sources_, tisdiss_stream_rest(handle_.get()), [&](float* out, size_t capacity) {
      size_t given = 0;
      check(tisdiss_stream_flush(handle_.get(), out, capacity, &given));
    });
  }

  void reset() { check(tisdiss_stream_reset(handle_.get())); }
  void set_depth(int depth) { check(tisdiss_stream_set_depth(handle_.get(), depth)); }
  size_t ready(size_t samples) const { return tisdiss_stream_ready(handle_.get(), samples); }

  Report report() {
    Report report;
    check(tisdiss_stream_get_report(handle_.get(), &report));
    return report;
  }

 private:
  friend class Separator;

  Stream(tisdiss_stream* handle, size_t sources) : handle_(handle, tisdiss_stream_free), sources_(sources) {}

  void check(tisdiss_status status) const {
    if (status != TISDISS_OK) throw Failure(status, tisdiss_stream_error_text(handle_.get()));
  }

  std::unique_ptr<tisdiss_stream, void (*)(tisdiss_stream*)> handle_;
  size_t sources_;
};

// An opened bundle. Calls from several threads may overlap, and several streams of it run at once, each on a thread of
// its own.
class Separator {
 public:
  explicit Separator(const std::string& folder, const OpenOptions& options = {})
      : handle_(open(folder.c_str(), options), tisdiss_close) {}

  // Of a bundle whose files the options have.
  explicit Separator(const OpenOptions& options) : handle_(open(nullptr, options), tisdiss_close) {}

  Info info() const {
    Info info;
    check(tisdiss_get_info(handle_.get(), &info));
    return info;
  }

  // Separate a whole signal at the bundle's sample rate.
  Voices separate(Span mix, const RunOptions& options = {}, Report* report = nullptr) {
    return detail::rows(static_cast<size_t>(info().sources), mix.size(), [&](float* out, size_t capacity) {
      check(tisdiss_separate(handle_.get(), mix.data(), mix.size(), &options, out, capacity, report));
    });
  }

  Stream stream(const RunOptions& options = {}) {
    tisdiss_stream* stream = nullptr;
    check(tisdiss_stream_open(handle_.get(), &options, &stream));
    return Stream(stream, static_cast<size_t>(info().sources));
  }

 private:
  static tisdiss_bundle* open(const char* folder, const OpenOptions& options) {
    tisdiss_bundle* bundle = nullptr;
    const tisdiss_status status = tisdiss_open(folder, &options, &bundle);
    if (status != TISDISS_OK) throw Failure(status, tisdiss_error_text(nullptr));
    return bundle;
  }

  void check(tisdiss_status status) const {
    if (status != TISDISS_OK) throw Failure(status, tisdiss_error_text(handle_.get()));
  }

  std::unique_ptr<tisdiss_bundle, void (*)(tisdiss_bundle*)> handle_;
};

}  // namespace tisdiss
