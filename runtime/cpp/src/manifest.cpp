#include "manifest.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "error.h"
#include "files.h"

namespace tisdiss::internal {
namespace {

using nlohmann::json;
using std::string;

constexpr int kFormat = 2;  // format 1 has no parts and no quality per scene
// Beyond these limits a manifest is damaged or meant to do harm; everything real is far below.
constexpr size_t kMostManifestBytes = 1048576;
constexpr int kLeastHz = 1000;  // below, some lengths of time are no sample
constexpr int kMostHz = 768000;
constexpr int kMostSources = 6;  // as their orders are tried
constexpr int kDeepest = 64;     // repetitions of the block
constexpr int kMostWindows = 32;
constexpr int kLongestS = 60;              // of windows, steps and latency
constexpr double kLongestHopS = 0.25;      // of voiceprints: a block of 0.256 s has one at least
constexpr int64_t kMostNumbers = 67108864;  // of a tensor of fixed shape, and of all that a stream keeps
constexpr const char* kManifestName = "manifest.json";
constexpr const char* kVoice = "voice";  // a part
constexpr const char* kEstimate = "estimate";  // another one
constexpr size_t kSplitFeatures = 10;     // of its polynomials
constexpr size_t kRepeatedFeatures = 13;
constexpr size_t kGainFeatures = 5;

void need(bool condition, const string& text) { tisdiss::internal::need(condition, TISDISS_ERROR_BUNDLE, text); }

// Keys that are not known are errors, so that a misspelt or newer entry is never ignored in silence.
void check_keys(const json& value, const string& where, const std::vector<const char*>& known) {
  need(value.is_object(), where + " is not an object");
  for (const char* key : known) need(value.contains(key), where + " lacks " + key);
  for (const auto& item : value.items()) {
    const bool found = std::find(known.begin(), known.end(), item.key()) != known.end();
    need(found, where + " has unknown " + item.key());
  }
}

const json& items(const json& value, const string& where) {
  need(value.is_array(), where + " is not a list");
  return value;
}

string text(const json& value, const string& where) {
  need(value.is_string() && value.get_ref<const string&>().find('\0') == string::npos, where + " is not a text");
  return value.get<string>();
}

double number(const json& value, const string& where) {
  need(value.is_number(), where + " is not a number");
  return value.get<double>();
}

int integer(const json& value, const string& where) {
  need(value.is_number_integer(), where + " is not a whole number");
  const auto whole = value.get<int64_t>();
  const bool fits = whole >= 0 && whole <= std::numeric_limits<int>::max();
  need(fits, where + " is out of range");
  return static_cast<int>(whole);
}

FileRef read_file_ref(const json& value, const string& where) {
  check_keys(value, where, {"path", "sha256"});
  return {text(value["path"], where + ".path"), text(value["sha256"], where + ".sha256")};
}

void need_inside(const FileRef& file) {
  const std::filesystem::path path = std::filesystem::u8path(file.path);
  const bool upwards = std::find(path.begin(), path.end(), "..") != path.end();
  const bool inside = !file.path.empty() && file.path.find_first_of("\\:") == string::npos &&
                      file.path.front() != '/' && !upwards;
  need(inside, "the path '" + file.path + "' leaves the bundle");
}

std::vector<TensorSpec> read_tensors(const json& value, const string& where) {
  std::vector<TensorSpec> tensors;
  for (const json& item : items(value, where)) {
    check_keys(item, where, {"name", "shape"});
    TensorSpec tensor{text(item["name"], where + ".name"), {}};
    for (const json& size : items(item["shape"], where + ".shape")) {
      const bool varies = size.is_string();
      if (varies) text(size, where + ".shape");
      tensor.shape.push_back(varies ? -1 : integer(size, where + ".shape"));
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

GraphSpec read_graph(const json& value, const string& where) {
  check_keys(value, where, {"inputs", "outputs", "files"});
  GraphSpec graph{read_tensors(value["inputs"], where + ".inputs"),
                  read_tensors(value["outputs"], where + ".outputs"),
                  {}};
  need(value["files"].is_object(), where + ".files is not an object");
  for (const auto& item : value["files"].items()) {
    text(json(item.key()), where + ".files");
    graph.files[item.key()] = read_file_ref(item.value(), where + ".files." + item.key());
  }
  return graph;
}

// A graph that is run, and not only read past.
GraphSpec read_used_graph(const json& value, const string& where) {
  GraphSpec graph = read_graph(value, where);
  for (const auto* tensors : {&graph.inputs, &graph.outputs}) {
    for (const TensorSpec& tensor : *tensors) {
      int64_t count = 1;
      for (const int64_t size : tensor.shape) {
        if (size < 0) continue;
        count *= size;  // at most the limit times the greatest integer
        need(0 < count && count <= kMostNumbers,
             "the shape of " + tensor.name + " must be of up to " + std::to_string(kMostNumbers) + " numbers");
      }
    }
  }
  need(graph.files.count("fp32") > 0, where + ".files has no fp32");
  for (const auto& file : graph.files) need_inside(file.second);
  return graph;
}

void read_state(const json& value, Manifest& manifest) {
  for (const json& item : items(value, "state")) {
    check_keys(item, "state", {"graph", "input", "newest", "axis"});
    const string graph = text(item["graph"], "state.graph");
    const auto found = std::find(kGraphNames.begin(), kGraphNames.end(), graph);
    need(found != kGraphNames.end(), "unknown graph '" + graph + "' in state");
    StateBuffer buffer{static_cast<GraphIndex>(found - kGraphNames.begin()),
                       text(item["input"], "state.input"), text(item["newest"], "state.newest"),
                       static_cast<size_t>(integer(item["axis"], "state.axis"))};
    manifest.state.push_back(std::move(buffer));
  }
}

void need_possible(int depth, const Manifest& manifest) {
  need(0 <= depth && depth <= manifest.max_depth,
       "quality must be of depths from 0 to " + std::to_string(manifest.max_depth));
}

std::vector<DepthQuality> read_depth_quality(const json& value, const string& where, const Manifest& manifest) {
  std::vector<DepthQuality> depths;
  for (const json& item : items(value, where)) {
    check_keys(item, where, {"depth", "si_sdri_db", "low_db", "high_db"});
    depths.push_back({integer(item["depth"], where + ".depth"), number(item["si_sdri_db"], where + ".si_sdri_db")});
    number(item["low_db"], where + ".low_db");
    number(item["high_db"], where + ".high_db");
    need_possible(depths.back().depth, manifest);
  }
  return depths;
}

void read_quality(const json& value, int format, Manifest& manifest) {
  if (value.is_null()) return;
  if (format == 1) {
    check_keys(value, "quality", {"test_set", "metric", "mixtures", "depths", "windows"});
  } else {
    check_keys(value, "quality", {"test_set", "metric", "mixtures", "depths", "windows", "scenes"});
    for (const json& item : items(value["scenes"], "quality.scenes")) {
      check_keys(item, "quality.scenes", {"scene", "depths"});
      text(item["scene"], "quality.scenes.scene");
      read_depth_quality(item["depths"], "quality.scenes.depths", manifest);
    }
  }
  text(value["test_set"], "quality.test_set");
  text(value["metric"], "quality.metric");
  integer(value["mixtures"], "quality.mixtures");
  manifest.depth_quality = read_depth_quality(value["depths"], "quality.depths", manifest);
  for (const json& item : items(value["windows"], "quality.windows")) {
    check_keys(item, "quality.windows", {"window_s", "depth", "si_sdri_db"});
    manifest.window_quality.push_back({number(item["window_s"], "quality.windows.window_s"),
                                       integer(item["depth"], "quality.windows.depth"),
                                       number(item["si_sdri_db"], "quality.windows.si_sdri_db")});
    need_possible(manifest.window_quality.back().depth, manifest);
  }
}

void read_timing(const json& value, Manifest& manifest) {
  const string kind = text(value["kind"], "kind");
  need(kind == "offline" || kind == "streaming", "unknown kind '" + kind + "'; there are offline, streaming");
  manifest.streaming = kind == "streaming";
  for (const json& window : items(value["windows_s"], "windows_s")) {
    manifest.windows_s.push_back(number(window, "windows_s"));
  }
  if (!manifest.streaming) {
    const std::vector<double>& windows = manifest.windows_s;
    const bool rising = std::adjacent_find(windows.begin(), windows.end(), std::greater_equal<>()) == windows.end();
    need(!windows.empty() && rising && windows.size() <= kMostWindows,
         "windows_s must be up to " + std::to_string(kMostWindows) + " numbers in rising order");
    const double least_s = static_cast<double>(manifest.min_samples) / manifest.sample_rate;
    need(least_s <= windows.front() && windows.back() <= kLongestS,
         "windows_s must be from min_samples to " + std::to_string(kLongestS) + " s");
    need(value["state"].is_array(), "state is not a list");
    need(value["stream"].is_null() && value["state"].empty(), "stream and state are for streaming bundles");
    return;
  }
  need(manifest.windows_s.empty(), "windows_s is for offline bundles");
  check_keys(value["stream"], "stream", {"step_samples", "latency_samples"});
  manifest.step_samples = integer(value["stream"]["step_samples"], "stream.step_samples");
  manifest.latency_samples = integer(value["stream"]["latency_samples"], "stream.latency_samples");
  need(0 < manifest.step_samples && manifest.step_samples <= manifest.latency_samples &&
           manifest.latency_samples <= kLongestS * manifest.sample_rate,
       "stream must have 0 < step_samples <= latency_samples, at most " + std::to_string(kLongestS) + " s");
}

double voice_value(const json& values, const char* key) {
  const bool one = values.contains(key) && values[key].size() == 1;
  const double value = one ? values[key][0].get<double>() : 0.0;
  need(value > 0, "the part voice must have a graph, hop, same and certainty");
  return value;
}

VoicePart read_voice(const json& part, int sample_rate) {
  need(!part["graph"].is_null(), "the part voice must have a graph, hop, same and certainty");
  const json& values = part["values"];
  const double hop = voice_value(values, "hop");
  need(hop == std::floor(hop), "the hop of the part voice must be a whole number");
  need(hop <= kLongestHopS * sample_rate, "the hop of the part voice must be of at most 0.25 s");
  VoicePart voice{read_used_graph(part["graph"], "parts.graph"), static_cast<size_t>(hop), voice_value(values, "same"),
                  voice_value(values, "certainty")};
  const auto& [inputs, outputs, files] = voice.graph;
  const bool fits = inputs.size() == 1 && inputs[0].name == "voices" && outputs.size() == 2 &&
                    outputs[0].name == "prints" && outputs[0].shape.size() == 3 && outputs[0].shape[2] > 0 &&
                    outputs[1].name == "weights";
  need(fits, "the part voice must turn voices into prints and weights");
  return voice;
}

std::vector<double> estimate_values(const json& values, const string& key, size_t count) {
  const bool fits = values.contains(key) && values[key].size() == count;
  need(fits, "the part estimate must have " + std::to_string(count) + " numbers in " + key);
  return values[key].get<std::vector<double>>();
}

// `what` the polynomial gives, of so many features that are named by `of`.
Polynomial estimate_polynomial(const json& values, const string& of, const string& what, size_t features) {
  Polynomial found{estimate_values(values, of + ".low", features), estimate_values(values, of + ".high", features),
                   estimate_values(values, of + "." + what, 1 + features + features * (features + 1) / 2)};
  for (size_t i = 0; i < features; ++i) {
    need(found.low[i] < found.high[i], "the part estimate must have " + of + ".low below " + of + ".high");
  }
  return found;
}

EstimatePart read_estimate(const json& part) {
  const json& values = part["values"];
  EstimatePart estimate;
  const std::array<const char*, 2> ways = {"split", "repeated"};
  for (size_t way = 0; way < ways.size(); ++way) {
    const size_t features = way == 0 ? kSplitFeatures : kRepeatedFeatures;
    estimate.levels[way] = estimate_polynomial(values, ways[way], "level", features);
    estimate.spreads[way] = estimate_polynomial(values, ways[way], "spread", features);
  }
  estimate.gain = estimate_polynomial(values, "gain", "level", kGainFeatures);
  const std::vector<double> interval = estimate_values(values, "interval", 2);
  estimate.below = interval[0];
  estimate.above = interval[1];
  if (values.contains("alone")) {
    const std::vector<double> least = estimate_values(values, "alone", 2);
    need(least[0] > 0 && least[1] > 0, "the part estimate must have numbers above 0 in alone");
    estimate.alone = {least[0], least[1]};
  }
  return estimate;
}

// Optional parts that are not known are passed over, required ones are refused.
void read_parts(const json& value, Manifest& manifest) {
  std::set<string> names;
  for (const json& item : items(value, "parts")) {
    check_keys(item, "parts", {"name", "required", "graph", "values"});
    const string name = text(item["name"], "parts.name");
    need(names.insert(name).second, "parts must have different names");
    need(item["required"].is_boolean(), "parts.required is not true or false");
    if (!item["graph"].is_null()) read_graph(item["graph"], "parts.graph");
    need(item["values"].is_object(), "parts.values is not an object");
    for (const auto& entry : item["values"].items()) {
      text(json(entry.key()), "parts.values");
      for (const json& element : items(entry.value(), "parts.values")) number(element, "parts.values");
    }
    if (name == kVoice) {
      manifest.voice = read_voice(item, manifest.sample_rate);
    } else if (name == kEstimate) {
      manifest.estimate = read_estimate(item);
    } else {
      need(!item["required"].get<bool>(),
           "needs the part '" + name + "', which this tisdiss-rt does not know; upgrade");
    }
  }
}

Manifest read_manifest(const json& value) {
  need(value.is_object(), "the manifest is not an object");
  const int format = value.contains("format") ? integer(value["format"], "format") : kFormat;
  need(format <= kFormat, "made for a newer tisdiss-rt (format " + std::to_string(format) + "); upgrade");
  need(format >= 1, "unknown format " + std::to_string(format));
  std::vector<const char*> known = {"format", "name", "kind", "sample_rate", "sources", "min_samples", "windows_s",
                                    "depth", "graphs", "stream", "state", "conformance", "quality", "training",
                                    "licence"};
  if (format > 1) known.push_back("parts");
  check_keys(value, "the manifest", known);
  Manifest manifest;
  manifest.name = text(value["name"], "name");
  manifest.licence = text(value["licence"], "licence");
  manifest.sample_rate = integer(value["sample_rate"], "sample_rate");
  manifest.sources = integer(value["sources"], "sources");
  manifest.min_samples = integer(value["min_samples"], "min_samples");
  need(kLeastHz <= manifest.sample_rate && manifest.sample_rate <= kMostHz,
       "sample_rate must be from " + std::to_string(kLeastHz) + " to " + std::to_string(kMostHz));
  need(0 < manifest.sources && manifest.sources <= kMostSources,
       "sources must be from 1 to " + std::to_string(kMostSources));
  const int most_samples = kLongestS * manifest.sample_rate;
  need(0 < manifest.min_samples && manifest.min_samples <= most_samples,
       "min_samples must be from 1 to " + std::to_string(most_samples));
  check_keys(value["depth"], "depth", {"trained", "max"});
  manifest.trained_depth = integer(value["depth"]["trained"], "depth.trained");
  manifest.max_depth = integer(value["depth"]["max"], "depth.max");
  need(manifest.trained_depth <= manifest.max_depth && manifest.max_depth >= 1 && manifest.max_depth <= kDeepest,
       "depth must have 0 <= trained <= max, 1 <= max <= " + std::to_string(kDeepest));
  check_keys(value["graphs"], "graphs", {"stem", "block", "decoder"});
  for (size_t i = 0; i < kGraphNames.size(); ++i) {
    manifest.graphs[i] = read_used_graph(value["graphs"][kGraphNames[i]], string("graphs.") + kGraphNames[i]);
  }
  read_timing(value, manifest);
  read_state(value["state"], manifest);
  read_quality(value["quality"], format, manifest);
  if (!value["training"].is_null()) {
    check_keys(value["training"], "training", {"data", "steps", "licence"});
    text(value["training"]["data"], "training.data");
    integer(value["training"]["steps"], "training.steps");
    text(value["training"]["licence"], "training.licence");
  }
  if (format > 1) read_parts(value["parts"], manifest);
  manifest.conformance = read_file_ref(value["conformance"], "conformance");
  need_inside(manifest.conformance);
  return manifest;
}

bool has(const std::vector<TensorSpec>& tensors, const string& name) {
  return position(tensors, name) < tensors.size();
}

// Every input of a graph is the mixture, an output of the stem or one of the graph's buffers.
void check_tensors(const Manifest& manifest) {
  const auto& [stem, block, decoder] = manifest.graphs;
  need(has(stem.inputs, "mix"), "the stem must take mix");
  need(has(stem.outputs, "z"), "the stem has no output z");
  need(!block.outputs.empty() && block.outputs[0].name != kChangeOutput, "the block's first output must be the next z");
  need(!decoder.outputs.empty() && decoder.outputs[0].name == "est", "the decoder's output must be est");
  const auto& est = decoder.outputs[0].shape;
  need(est.size() == 2 && est[0] == manifest.sources, "est must be (sources, samples)");
  const auto& mix = stem.inputs[position(stem.inputs, "mix")].shape;
  need(mix.size() == 2 && mix[0] == 1, "mix must be (1, samples)");
  for (size_t i = 1; i < block.outputs.size(); ++i) {
    const TensorSpec& output = block.outputs[i];
    need(output.name != kChangeOutput || output.shape == std::vector<int64_t>{manifest.sources},
         "change must be (sources,)");
  }
  need(!manifest.estimate || has(block.outputs, kChangeOutput), "the part estimate needs the block's output change");
  need(!manifest.streaming || !manifest.estimate || !manifest.estimate->alone,
       "the part estimate must have no numbers in alone for streams");
  for (size_t i = 0; i < kGraphNames.size(); ++i) {
    for (const TensorSpec& input : manifest.graphs[i].inputs) {
      const bool buffer = std::any_of(manifest.state.begin(), manifest.state.end(), [&](const StateBuffer& b) {
        return b.graph == static_cast<GraphIndex>(i) && b.input == input.name;
      });
      const bool known = input.name == "mix" || buffer || (i != kStem && has(stem.outputs, input.name));
      need(known, string("an input of ") + kGraphNames[i] + " comes from nowhere: " + input.name);
    }
  }
}

// In a streaming bundle every shape is fixed, and what is new fits its buffer.
void check_state(const Manifest& manifest) {
  for (size_t i = 0; i < kGraphNames.size(); ++i) {
    for (const auto* tensors : {&manifest.graphs[i].inputs, &manifest.graphs[i].outputs}) {
      for (const TensorSpec& tensor : *tensors) elements(tensor);
    }
  }
  const auto& [stem, block, decoder] = manifest.graphs;
  const std::vector<int64_t> estimate = {manifest.sources, manifest.step_samples};
  need(decoder.outputs[0].shape == estimate, "est must be (sources, step_samples)");
  need(stem.inputs[position(stem.inputs, "mix")].shape == std::vector<int64_t>{1, manifest.step_samples},
       "mix must be (1, step_samples)");
  need(block.outputs[0].shape == stem.outputs[position(stem.outputs, "z")].shape,
       "the block's first output must have the shape of z");
  size_t kept = 0;  // numbers
  for (const StateBuffer& buffer : manifest.state) {
    const GraphSpec& graph = manifest.graphs[buffer.graph];
    need(has(graph.inputs, buffer.input) && has(graph.outputs, buffer.newest),
         "state " + buffer.input + " must be an input of " + kGraphNames[buffer.graph] + ", and " +
             buffer.newest + " an output");
    const auto& all = graph.inputs[position(graph.inputs, buffer.input)].shape;
    const auto& newest = graph.outputs[position(graph.outputs, buffer.newest)].shape;
    need(buffer.axis < all.size(), "state " + buffer.input + " has no axis " + std::to_string(buffer.axis));
    std::vector<int64_t> appended = all;
    if (newest.size() == all.size()) appended[buffer.axis] = newest[buffer.axis];
    const bool fits = newest == appended && newest[buffer.axis] <= all[buffer.axis];
    need(fits, "state " + buffer.input + ": the output " + buffer.newest + " cannot be appended to it");
    const size_t repetitions = buffer.graph == kBlock ? static_cast<size_t>(manifest.max_depth) : 1;
    kept += repetitions * elements(graph.inputs[position(graph.inputs, buffer.input)]);
    need(kept <= static_cast<size_t>(kMostNumbers),
         "state must be of up to " + std::to_string(kMostNumbers) + " numbers, for all repetitions");
  }
}

// Of a bundle in memory only those are needed that are used.
void check_files(const Manifest& manifest, const Files& files) {
  std::vector<FileRef> named = {manifest.conformance};
  for (const GraphSpec& graph : manifest.graphs) {
    for (const auto& item : graph.files) named.push_back(item.second);
  }
  if (manifest.voice) named.push_back(manifest.voice->graph.files.at("fp32"));
  for (const FileRef& file : named) {
    need(files.has_file(file.path), "bundle " + files.label() + " is incomplete: " + file.path + " is missing");
  }
}

}  // namespace

Manifest load_manifest(const Files& files) {
  const string path = files.label(kManifestName);
  need(files.has(kManifestName), files.label() + " is not a bundle: it has no " + kManifestName);
  const string content = files.read(kManifestName, kMostManifestBytes);
  const bool is_marked = content.rfind("\xEF\xBB\xBF", 0) == 0;  // which JSON must not be
  const json value = is_marked ? json(json::value_t::discarded) : json::parse(content, nullptr, false);
  need(!value.is_discarded(), path + " cannot be read: it is not JSON");
  Manifest manifest;
  try {
    manifest = read_manifest(value);
    check_tensors(manifest);
    if (manifest.streaming) check_state(manifest);
  } catch (const Error& error) {
    throw Error(error.status, path + ": " + error.what());
  }
  if (files.in_folder()) check_files(manifest, files);
  return manifest;
}

size_t position(const std::vector<TensorSpec>& tensors, const string& name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const TensorSpec& tensor) { return tensor.name == name; });
  return static_cast<size_t>(found - tensors.begin());
}

size_t elements(const TensorSpec& tensor) {
  size_t count = 1;
  for (const int64_t size : tensor.shape) {
    need(size > 0, tensor.name + " must have a fixed shape");
    count *= static_cast<size_t>(size);  // the manifest's limit holds
  }
  return count;
}

}  // namespace tisdiss::internal
