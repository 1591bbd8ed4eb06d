// The LADSPA plug-in: two talkers in, each on an output of their own. What it does is in voices.h.
//
// LADSPA has no ports for text: TISDISS_BUNDLE names the bundle's folder, TISDISS_ONNXRUNTIME the library of ONNX Runtime.
#include <dlfcn.h>
#include <ladspa.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "voices.h"

namespace tisdiss::ladspa {
namespace {

constexpr const char* kEnvironmentVariable = "TISDISS_BUNDLE";

enum Port : unsigned long { kInput, kFirst, kSecond, kBudget, kDepth, kVoice, kBuffer, kLatency, kPorts };

constexpr LADSPA_PortDescriptor kAudioIn = LADSPA_PORT_AUDIO | LADSPA_PORT_INPUT;
constexpr LADSPA_PortDescriptor kAudioOut = LADSPA_PORT_AUDIO | LADSPA_PORT_OUTPUT;
constexpr LADSPA_PortDescriptor kControl = LADSPA_PORT_CONTROL | LADSPA_PORT_INPUT;
constexpr LADSPA_PortDescriptor kTold = LADSPA_PORT_CONTROL | LADSPA_PORT_OUTPUT;
constexpr LADSPA_PortRangeHintDescriptor kBounded = LADSPA_HINT_BOUNDED_BELOW | LADSPA_HINT_BOUNDED_ABOVE;

constexpr LADSPA_PortDescriptor kKinds[kPorts] = {kAudioIn, kAudioOut, kAudioOut, kControl, kControl, kControl, kControl, kTold};
constexpr const char* kNames[kPorts] = {"Input", "Output 1", "Output 2",    "Budget (ms)",
                                        "Depth", "Voice",    "Buffer (ms)", "latency"};

// Defaults are shares of the range: a budget of 6 ms as `live` has, the depth 4 that bundles are trained for, and the
// shortest buffer, a step.
constexpr float kMostBudgetMs = 8.0f, kMostDepth = 8.0f;
constexpr float kDefaultBudgetMs = 0.75f * kMostBudgetMs, kDefaultDepth = 0.5f * kMostDepth;
constexpr float kLeastBufferMs = 8.0f, kMostBufferMs = 100.0f;
constexpr LADSPA_PortRangeHint kHints[kPorts] = {
    {0, 0, 0},
    {0, 0, 0},
    {0, 0, 0},
    {kBounded | LADSPA_HINT_DEFAULT_HIGH, 0, kMostBudgetMs},
    {kBounded | LADSPA_HINT_INTEGER | LADSPA_HINT_DEFAULT_MIDDLE, 0, kMostDepth},
    {kBounded | LADSPA_HINT_INTEGER | LADSPA_HINT_DEFAULT_0, 0, kVoices},
    {kBounded | LADSPA_HINT_DEFAULT_MINIMUM, kLeastBufferMs, kMostBufferMs},
    {0, 0, 0},
};

// The variable's, or that which is installed with the plug-in.
std::string bundle_folder() {
  if (const char* folder = std::getenv(kEnvironmentVariable)) return folder;
  Dl_info here{};
  if (dladdr(&kNames, &here) == 0 || !here.dli_fname) return TISDISS_BUNDLE_FROM_HERE;
  return (std::filesystem::absolute(here.dli_fname).parent_path() / TISDISS_BUNDLE_FROM_HERE).lexically_normal().string();
}

struct Plugin {
  explicit Plugin(uint32_t host_hz) : voices(bundle_folder(), host_hz, {kDefaultBudgetMs, 0}) {}

  // Hosts may leave a port unconnected, or connect it to what is no number.
  double control(Port port, float most, float otherwise) const {
    if (!ports[port] || !std::isfinite(*ports[port])) return otherwise;
    return std::clamp(*ports[port], 0.0f, most);
  }

  void run(size_t count) {
    const Controls controls{{control(kBudget, kMostBudgetMs, kDefaultBudgetMs),
                             static_cast<int>(std::lround(control(kDepth, kMostDepth, kDefaultDepth)))},
                            static_cast<int>(std::lround(control(kVoice, kVoices, 0))),
                            control(kBuffer, kMostBufferMs, kLeastBufferMs)};
    voices.run(ports[kInput], count, controls, {ports[kFirst], ports[kSecond]});
    if (ports[kLatency]) *ports[kLatency] = static_cast<LADSPA_Data>(voices.latency());
  }

  VoicesOfHost voices;
  LADSPA_Data* ports[kPorts] = {};
};

Plugin& plugin(LADSPA_Handle handle) { return *static_cast<Plugin*>(handle); }

LADSPA_Handle instantiate(const LADSPA_Descriptor*, unsigned long host_hz) try {
  return new Plugin(static_cast<uint32_t>(host_hz));
} catch (const std::exception& failure) {
  tell(failure.what() + std::string("; ") + kEnvironmentVariable + " names the folder of a streaming bundle");
  return nullptr;
}

void connect_port(LADSPA_Handle handle, unsigned long port, LADSPA_Data* place) {
  if (port < kPorts) plugin(handle).ports[port] = place;
}

void activate(LADSPA_Handle handle) try {
  plugin(handle).voices.start();
} catch (const std::exception& failure) {
  tell(failure.what());
}

void run(LADSPA_Handle handle, unsigned long count) { plugin(handle).run(count); }
void deactivate(LADSPA_Handle handle) { plugin(handle).voices.stop(); }
void cleanup(LADSPA_Handle handle) { delete &plugin(handle); }

const LADSPA_Descriptor kDescriptor = {
    7629171, "tisdiss", 0, "Two talkers, each on an output (tisdiss-rt)", "tisdiss-rt", "Apache-2.0",
    kPorts,  kKinds,    kNames, kHints, nullptr, instantiate,
    connect_port, activate, run, nullptr, nullptr, deactivate, cleanup,
};

}  // namespace
}  // namespace tisdiss::ladspa

extern "C" __attribute__((visibility("default"))) const LADSPA_Descriptor* ladspa_descriptor(unsigned long index) {
  return index == 0 ? &tisdiss::ladspa::kDescriptor : nullptr;
}
