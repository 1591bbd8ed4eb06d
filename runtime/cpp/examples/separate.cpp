// Separates a WAV file (16-bit or float, at the bundle's sample rate) into one WAV file for each voice.
//
//     tisdiss_separate BUNDLE TALK.wav [--budget-ms B | --depth N]      writes TALK_spk1.wav, TALK_spk2.wav, …
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "tisdiss_rt.hpp"

namespace {

struct Sound {
  int sample_rate = 0;
  std::vector<float> samples;  // channels are averaged
};

template <class Number>
Number read_number(const std::string& bytes, size_t at) {
  Number number;
  if (bytes.size() < at + sizeof number) throw std::runtime_error("the WAV file is truncated");
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

float read_sample(const std::string& bytes, size_t at, int format, int bits) {
  if (format == 3 && bits == 32) return read_number<float>(bytes, at);
  if (format == 1 && bits == 16) return static_cast<float>(read_number<int16_t>(bytes, at)) / 32768.0f;
  throw std::runtime_error("only WAV files of 16-bit integers or 32-bit floats can be read");
}

Sound read_wav(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.compare(0, 4, "RIFF") != 0 || bytes.size() < 12) throw std::runtime_error(path + " is not a WAV file");
  Sound sound;
  int format = 0, bits = 0;
  size_t channels = 0;
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const std::string name = bytes.substr(at, 4);
    const size_t length = read_number<uint32_t>(bytes, at + 4), begin = at + 8;
    if (name == "fmt ") {
      format = read_number<uint16_t>(bytes, begin);
      channels = read_number<uint16_t>(bytes, begin + 2);
      sound.sample_rate = read_number<int32_t>(bytes, begin + 4);
      bits = read_number<uint16_t>(bytes, begin + 14);
      if (format == 0xFFFE) format = read_number<uint16_t>(bytes, begin + 24);  // the extensible header
    } else if (name == "data" && channels > 0) {
      const size_t width = static_cast<size_t>(bits) / 8, end = std::min(bytes.size(), begin + length);
      for (size_t frame = begin; width && frame + channels * width <= end; frame += channels * width) {
        float sum = 0.0f;
        for (size_t c = 0; c < channels; ++c) sum += read_sample(bytes, frame + c * width, format, bits);
        sound.samples.push_back(sum / static_cast<float>(channels));
      }
    }
    at = begin + length + length % 2;
  }
  return sound;
}

template <class Number>
void append(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void write_wav(const std::string& path, const std::vector<float>& samples, int sample_rate) {
  const auto length = static_cast<uint32_t>(2 * samples.size());
  std::string bytes = "RIFF";
  append(bytes, 36 + length);
  bytes += "WAVEfmt ";
  append(bytes, uint32_t{16});
  append(bytes, uint16_t{1});  // integers
  append(bytes, uint16_t{1});  // channel
  append(bytes, static_cast<uint32_t>(sample_rate));
  append(bytes, static_cast<uint32_t>(2 * sample_rate));
  append(bytes, uint16_t{2});
  append(bytes, uint16_t{16});
  bytes += "data";
  append(bytes, length);
  for (const float sample : samples) {
    append(bytes, static_cast<int16_t>(std::lrint(std::clamp(sample * 32768.0f, -32768.0f, 32767.0f))));
  }
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw std::runtime_error(path + " cannot be written");
  }
}

void separate(const std::string& bundle, const std::string& path, const tisdiss::RunOptions& options) {
  tisdiss::Separator separator(bundle);
  const tisdiss::Info info = separator.info();
  const Sound sound = read_wav(path);
  if (sound.sample_rate != info.sample_rate) {
    throw std::runtime_error(path + " has " + std::to_string(sound.sample_rate) + " Hz: resample it to " +
                             std::to_string(info.sample_rate));
  }
  tisdiss::Report report;
  const auto voices = separator.separate(sound.samples, options, &report);
  std::printf("%s on %s: windows of %g s, depth %d, the last took %.1f ms; %llu of %llu over budget\n", info.name,
              info.provider, report.window_s, report.planned_depth, report.elapsed_ms,
              static_cast<unsigned long long>(report.misses), static_cast<unsigned long long>(report.steps));
  if (report.predicted_ms > options.budget_ms) std::printf("%.0f ms would fit here\n", std::ceil(report.predicted_ms));
  const std::string stem = std::filesystem::path(path).replace_extension().string();
  for (size_t i = 0; i < voices.size(); ++i) {
    const std::string target = stem + "_spk" + std::to_string(i + 1) + ".wav";
    write_wav(target, voices[i], info.sample_rate);
    std::puts(target.c_str());
  }
}

}  // namespace

int main(int count, char** arguments) {
  const bool with_option = count == 5;
  if (count != 3 && !with_option) {
    std::fprintf(stderr, "usage: %s BUNDLE TALK.wav [--budget-ms B | --depth N]\n", arguments[0]);
    return 2;
  }
  try {
    tisdiss::RunOptions options;
    const std::string name = with_option ? arguments[3] : "";
    if (name == "--budget-ms") {
      options.budget_ms = std::stod(arguments[4]);
    } else if (name == "--depth") {
      options.depth = std::stoi(arguments[4]);
    } else if (with_option) {
      throw std::runtime_error("unknown option " + name);
    }
    separate(arguments[1], arguments[2], options);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
