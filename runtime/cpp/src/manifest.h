// The manifest of a bundle: the schema that tisdiss_rt/manifest owns, read as strictly.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tisdiss::internal {

enum GraphIndex { kStem, kBlock, kDecoder };
constexpr std::array<const char*, 3> kGraphNames = {"stem", "block", "decoder"};
constexpr const char* kChangeOutput = "change";  // output of the block: how much it changed the map of each source

struct FileRef {
  std::string path;
  std::string sha256;
};

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;  // -1 where it varies
};

struct GraphSpec {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::map<std::string, FileRef> files;  // by precision
};

struct StateBuffer {
  GraphIndex graph;
  std::string input;
  std::string newest;
  size_t axis;  // along which it is first in, first out
};

struct DepthQuality {
  int depth;
  double si_sdri_db;
};

struct WindowQuality {
  double window_s;
  int depth;
  double si_sdri_db;
};

// The part `voice`: a graph that turns separated voices into voiceprints, see tisdiss_rt/manifest/schema.py.
struct VoicePart {
  GraphSpec graph;
  size_t hop = 0;         // samples from one frame to the next
  double same = 0.0;      // squared distance at which two voices are as likely of one talker as of two
  double certainty = 0.0;  // how much a squared distance says
};

// A polynomial of second degree in several features, see tisdiss_rt/estimate/polynomial.py.
struct Polynomial {
  std::vector<double> low, high;  // of each feature
  std::vector<double> weights;    // of 1, the features, and their products by pairs
};

// By how many dB other voices are below the loudest, and what no voice has below the mixture, where one is alone.
struct Alone {
  double others_db, rest_db;
};

// The part `estimate`: how good voices are, after the split and after repetitions.
struct EstimatePart {
  std::array<Polynomial, 2> levels;   // in dB
  std::array<Polynomial, 2> spreads;  // logarithms
  Polynomial gain;                    // of one more repetition, in dB
  double below = 0.0, above = 0.0;    // spreads from the level to the ends of the interval
  std::optional<Alone> alone;
};

struct Manifest {
  std::string name;
  std::string licence;
  bool streaming = false;
  int sample_rate = 0;
  int sources = 0;
  int min_samples = 0;
  int trained_depth = 0;
  int max_depth = 0;
  int step_samples = 0;     // of a streaming bundle
  int latency_samples = 0;  // of a streaming bundle
  std::vector<double> windows_s;
  std::array<GraphSpec, 3> graphs;
  std::vector<StateBuffer> state;
  std::optional<VoicePart> voice;
  std::optional<EstimatePart> estimate;
  FileRef conformance;
  std::vector<DepthQuality> depth_quality;
  std::vector<WindowQuality> window_quality;
};

class Files;

// Reads and checks the manifest of a bundle; in a folder every file that it names must be there.
Manifest load_manifest(const Files& files);

// Where a tensor is among others, by name; their number if it is not.
size_t position(const std::vector<TensorSpec>& tensors, const std::string& name);

// How many numbers a tensor of fixed shape holds.
size_t elements(const TensorSpec& tensor);

}  // namespace tisdiss::internal
