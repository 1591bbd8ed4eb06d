// The same as conformance.c by the C++ wrapper.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tisdiss_rt.hpp"

namespace {

using Samples = std::vector<float>;

Samples read_mix(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Samples mix(bytes.size() / sizeof(float));
  std::memcpy(mix.data(), bytes.data(), mix.size() * sizeof(float));
  return mix;
}

void append(tisdiss::Voices& all, const tisdiss::Voices& more) {
  all.resize(more.size());
  for (size_t i = 0; i < more.size(); ++i) all[i].insert(all[i].end(), more[i].begin(), more[i].end());
}

tisdiss::RunOptions at_depth(int depth, double window_s = 0) {
  tisdiss::RunOptions options;
  options.depth = depth;
  options.window_s = window_s;
  return options;
}

void tell(const tisdiss::Report& report, tisdiss::Voices& voices) {
  const double told[] = {report.estimate_db, report.low_db, report.high_db, static_cast<double>(report.depth)};
  std::copy(std::begin(told), std::end(told), voices[0].begin());
}

tisdiss::Voices by_chunks(tisdiss::Separator& separator, const Samples& mix, int depth, size_t chunk, bool told) {
  tisdiss::Stream stream = separator.stream(at_depth(depth));
  tisdiss::Voices voices;
  for (size_t at = 0; at < mix.size(); at += chunk) {
    append(voices, stream.process({mix.data() + at, std::min(chunk, mix.size() - at)}));
  }
  append(voices, stream.flush());
  if (told) tell(stream.report(), voices);
  return voices;
}

tisdiss::Voices by_steps(tisdiss::Separator& separator, Samples mix, const std::vector<int>& depths) {
  const size_t samples = mix.size(), step = static_cast<size_t>(separator.info().step_samples);
  mix.resize(depths.size() * step);
  tisdiss::Stream stream = separator.stream(at_depth(*std::max_element(depths.begin(), depths.end())));
  tisdiss::Voices voices;
  for (size_t i = 0; i < depths.size(); ++i) {
    stream.set_depth(depths[i]);
    append(voices, stream.process({mix.data() + i * step, step}));
  }
  for (Samples& voice : voices) voice.resize(samples);
  return voices;
}

tisdiss::Voices run(tisdiss::Separator& separator, const Samples& mix, const std::string& what) {
  int depth = 0;
  size_t chunk = 0;
  double window_s = 0, min_gain_db = 0;
  if (std::sscanf(what.c_str(), "separate:%d", &depth) == 1) {
    return separator.separate(mix, at_depth(depth));
  }
  if (std::sscanf(what.c_str(), "windows:%d:%lf", &depth, &window_s) == 2) {
    return separator.separate(mix, at_depth(depth, window_s));
  }
  if (std::sscanf(what.c_str(), "estimate:%d:%lf:%lf", &depth, &window_s, &min_gain_db) == 3) {
    tisdiss::RunOptions options = at_depth(depth, window_s);
    options.min_gain_db = min_gain_db;
    tisdiss::Report report;
    tisdiss::Voices voices = separator.separate(mix, options, &report);
    tell(report, voices);
    return voices;
  }
  if (std::sscanf(what.c_str(), "stream:%d:%zu", &depth, &chunk) == 2) {
    return by_chunks(separator, mix, depth, chunk, false);
  }
  if (std::sscanf(what.c_str(), "told:%d:%zu", &depth, &chunk) == 2) {
    return by_chunks(separator, mix, depth, chunk, true);
  }
  std::istringstream list(what.substr(what.find(':') + 1));
  std::vector<int> depths;
  for (std::string item; std::getline(list, item, ',');) depths.push_back(std::stoi(item));
  return by_steps(separator, mix, depths);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    tisdiss::Separator separator(arguments[1]);
    const Samples mix = read_mix(arguments[2]);
    for (int i = 3; i + 1 < count; i += 2) {
      std::ofstream file(arguments[i + 1], std::ios::binary);
      for (const Samples& voice : run(separator, mix, arguments[i])) {
        file.write(reinterpret_cast<const char*>(voice.data()),
                   static_cast<std::streamsize>(voice.size() * sizeof(float)));
      }
    }
    return 0;
  } catch (const tisdiss::Failure& failure) {
    std::fprintf(stderr, "error: %s\n", failure.what());
    return 1;
  }
}
