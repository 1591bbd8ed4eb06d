// Calls that programs make from several threads, and bundles in memory, for tools that watch memory and threads:
//
//     calls BUNDLE STREAMING_BUNDLE      prints "done"
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "tisdiss_rt.hpp"

namespace {

constexpr size_t kSamples = 20000, kPiece = 2000;

void check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s: %s\n", what, tisdiss_error_text(nullptr));
  std::exit(1);
}

std::vector<float> sound() {
  std::vector<float> mix(kSamples);
  for (size_t i = 0; i < kSamples; ++i) mix[i] = static_cast<float>(i % 97) / 97 - 0.5f;
  return mix;
}

// Opens the files of a folder in memory that is gone afterwards, in C++ and in C.
tisdiss_bundle* open_in_memory(const char* folder) {
  std::vector<std::string> names, contents;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    names.push_back(entry.path().filename().string());
    contents.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  std::vector<tisdiss_file> files;
  for (size_t i = 0; i < names.size(); ++i) files.push_back({names[i].c_str(), contents[i].data(), contents[i].size()});
  tisdiss::OpenOptions options;
  options.files = files.data();
  options.file_count = files.size();
  check(tisdiss::Separator(options).info().sources == 2, "opening in memory in C++");
  tisdiss_bundle* bundle = nullptr;
  check(tisdiss_open(nullptr, &options, &bundle) == TISDISS_OK, "opening in memory");
  return bundle;
}

struct Cancelling {
  std::atomic<bool> begun{false}, cancelled{false};
};

int32_t go_on(void* data, double done) {
  Cancelling& state = *static_cast<Cancelling*>(data);
  if (done > 0) state.begun = true;
  while (done > 0 && !state.cancelled) std::this_thread::yield();  // so that it cannot end before
  return state.cancelled;
}

void cancel_from_another_thread(tisdiss_bundle* bundle, const std::vector<float>& mix) {
  Cancelling state;
  std::thread other([&] {
    while (!state.begun) std::this_thread::yield();
    tisdiss_info info = TISDISS_INFO_INIT;
    check(tisdiss_get_info(bundle, &info) == TISDISS_OK, "info meanwhile");
    std::vector<float> rows(2 * kPiece);
    check(tisdiss_separate(bundle, mix.data(), kPiece, nullptr, rows.data(), kPiece, nullptr) == TISDISS_OK, "meanwhile");
    state.cancelled = true;
    check(*tisdiss_error_text(bundle) == '\0', "the error is another thread's");
  });
  tisdiss_run_options options = TISDISS_RUN_OPTIONS_INIT;
  options.progress = go_on;
  options.progress_data = &state;
  std::vector<float> rows(2 * kSamples);
  const auto status = tisdiss_separate(bundle, mix.data(), kSamples, &options, rows.data(), kSamples, nullptr);
  check(status == TISDISS_ERROR_CANCELLED, "cancelling");
  other.join();
}

// Two threads on one stream: a call comes through, or answers that the other one runs.
void share_a_stream(tisdiss_bundle* bundle, const std::vector<float>& mix) {
  tisdiss_stream* stream = nullptr;
  check(tisdiss_stream_open(bundle, nullptr, &stream) == TISDISS_OK, "opening a stream");
  std::atomic<size_t> taken{0};
  const auto push = [&] {
    std::vector<float> rows(4 * kPiece);
    for (size_t at = 0; at < kSamples;) {
      size_t given = 0;
      const auto status = tisdiss_stream_process(stream, mix.data() + at, kPiece, rows.data(), 2 * kPiece, &given);
      check(status == TISDISS_OK || status == TISDISS_ERROR_STATE, "sharing a stream");
      if (status == TISDISS_OK) at += kPiece, taken += kPiece;
      std::this_thread::yield();
    }
  };
  std::thread other(push);
  push();
  other.join();
  check(taken == 2 * kSamples, "all sound is taken");
  tisdiss_stream_free(stream);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const std::vector<float> mix = sound();
  tisdiss_bundle *offline = open_in_memory(arguments[1]), *streaming = open_in_memory(arguments[2]);
  cancel_from_another_thread(offline, mix);
  cancel_from_another_thread(streaming, mix);
  share_a_stream(streaming, mix);
  tisdiss_close(offline);
  tisdiss_close(streaming);
  std::puts("done");
  return 0;
}
