// Streams of one bundle on threads of their own, in real time:
//
//     threads BUNDLE MIX.f32 BUDGET_MS      prints, for each stream, steps and misses
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "tisdiss_rt.hpp"

namespace {

std::vector<float> read_mix(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<float> mix(bytes.size() / sizeof(float));
  std::memcpy(mix.data(), bytes.data(), mix.size() * sizeof(float));
  return mix;
}

void play(tisdiss::Stream& stream, const tisdiss::Info& info, const std::vector<float>& mix) {
  using namespace std::chrono;
  const auto step = static_cast<size_t>(info.step_samples);
  std::vector<float> out(static_cast<size_t>(info.sources) * step);
  const auto begin = steady_clock::now();
  for (size_t at = 0; at + step <= mix.size(); at += step) {
    std::this_thread::sleep_until(begin + duration<double>(static_cast<double>(at) / info.sample_rate));
    stream.process({mix.data() + at, step}, out.data(), step);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  tisdiss::Separator separator(arguments[1]);
  const std::vector<float> mix = read_mix(arguments[2]);
  tisdiss::RunOptions options;
  options.budget_ms = std::stod(arguments[3]);
  std::vector<tisdiss::Stream> streams;
  for (int i = 0; i < 2; ++i) streams.push_back(separator.stream(options));
  const tisdiss::Info info = separator.info();
  std::vector<std::thread> threads;
  for (tisdiss::Stream& stream : streams) {
    threads.emplace_back([&] { play(stream, info, mix); });
  }
  for (std::thread& thread : threads) thread.join();
  for (tisdiss::Stream& stream : streams) {
    const tisdiss::Report report = stream.report();
    std::printf("%llu %llu\n", static_cast<unsigned long long>(report.steps),
                static_cast<unsigned long long>(report.misses));
  }
  return 0;
}
