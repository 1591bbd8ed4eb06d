#include "sessions.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "cores.h"
#include "error.h"
#include "external_data.h"
#include "files.h"

namespace tisdiss::internal {
namespace {

constexpr int kMostThreads = 256;  // each takes memory, and no graph has work for so many

int choose_threads(int threads, const Manifest& manifest) {
  need(0 <= threads && threads <= kMostThreads, TISDISS_ERROR_OPTION,
       "threads must be from 1 to " + std::to_string(kMostThreads) + ", or 0 for the default");
  if (threads > 0) return threads;
  return manifest.streaming ? 1 : physical_cores();  // a step is too short to be worth sharing
}

std::string choose_precision(const std::string& precision, const Manifest& manifest) {
  if (precision == "auto") return "fp32";
  std::set<std::string> carried;
  for (const GraphSpec& graph : manifest.graphs) {
    for (const auto& item : graph.files) carried.insert(item.first);
  }
  std::string there;
  for (const std::string& name : carried) there += (there.empty() ? "" : ", ") + name;
  need(carried.count(precision) > 0, TISDISS_ERROR_OPTION,
       "bundle " + manifest.name + " has no precision '" + precision + "', only " + there);
  return precision;
}

// The content of the graphs in a precision, or in fp32 where a graph does not have it.
std::array<std::string, 3> read_graphs(const Files& bundle, const Manifest& manifest, const std::string& precision) {
  std::array<std::string, 3> graphs;
  for (size_t i = 0; i < graphs.size(); ++i) {
    const auto& files = manifest.graphs[i].files;
    const auto chosen = files.count(precision) ? files.find(precision) : files.find("fp32");
    graphs[i] = bundle.read_verified(chosen->second);
    refuse_external_data(graphs[i], chosen->second.path);
  }
  return graphs;
}

const Provider& find_provider(const std::string& name) {
  std::string there = "auto";
  for (const Provider& provider : kProviders) {
    if (name == provider.name) return provider;
    there += std::string(", ") + provider.name;
  }
  throw Error(TISDISS_ERROR_OPTION, "unknown provider '" + name + "'; there are " + there);
}

std::string upper(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return text;
}

// Whether a graph has the tensors that the manifest lists, as far as it knows their sizes before it runs.
bool agree(const std::vector<TensorSpec>& has, const std::vector<TensorSpec>& listed) {
  return std::equal(has.begin(), has.end(), listed.begin(), listed.end(), [](const auto& one, const auto& two) {
    const auto fits = [](int64_t size, int64_t said) { return size < 0 || said < 0 || size == said; };
    const auto &sizes = one.shape, &said = two.shape;
    const bool unknown = sizes.empty();
    return one.name == two.name && (unknown || std::equal(sizes.begin(), sizes.end(), said.begin(), said.end(), fits));
  });
}

}  // namespace

Sessions::Sessions(const Files& files, const OpenOptions& options)
    : manifest(load_manifest(files)),
      ort(options.onnxruntime, options.onnxruntime_api),
      precision(choose_precision(options.precision, manifest)),
      threads(choose_threads(options.threads, manifest)),
      device(nullptr, ort.api.ReleaseMemoryInfo),
      voice_(nullptr, ort.api.ReleaseSession) {
  const std::array<std::string, 3> graphs = read_graphs(files, manifest, precision);
  if (options.provider != "auto") {
    const Provider& asked = find_provider(options.provider);
    const std::string name = upper(asked.name);
    need(ort.has(asked), TISDISS_ERROR_ONNXRUNTIME,
         name + " is not available in this ONNX Runtime: give the path of one with " + name +
             ", or use the provider cpu");
    try {
      open(graphs, asked);
    } catch (const Error& error) {
      need(!asked.use, TISDISS_ERROR_ONNXRUNTIME, name + " does not start: " + error.what());
      throw;
    }
  } else if (!open_preferred(graphs)) {
    open(graphs, kProviders[0]);
  }
  check_tensors();
  if (manifest.voice) open_voice(files);
}

// On one thread of the CPU: it is small.
void Sessions::open_voice(const Files& files) {
  const GraphSpec& graph = manifest.voice->graph;
  const FileRef& file = graph.files.at("fp32");
  const std::string content = files.read_verified(file);
  refuse_external_data(content, file.path);
  voice_ = ort.open(content, 1, kProviders[0], "voice");
  const bool same = agree(ort.inputs(voice_.get()), graph.inputs) && agree(ort.outputs(voice_.get()), graph.outputs);
  need(same, TISDISS_ERROR_BUNDLE,
       "the voice graph does not have the inputs and outputs that the manifest lists");
}

bool Sessions::open_preferred(const std::array<std::string, 3>& graphs) {
  for (const Provider& candidate : kProviders) {
    if (!candidate.preferred || !ort.has(candidate)) continue;
    try {
      open(graphs, candidate);
      return true;
    } catch (const Error&) {  // it does not start
    }
  }
  return false;
}

void Sessions::open(const std::array<std::string, 3>& graphs, const Provider& chosen) {
  sessions_.clear();
  for (size_t i = 0; i < graphs.size(); ++i) {
    sessions_.push_back(ort.open(graphs[i], threads, chosen, kGraphNames[i]));
  }
  provider = &chosen;
  device = ort.memory_of(chosen);
}

void Sessions::check_tensors() const {
  for (size_t i = 0; i < kGraphNames.size(); ++i) {
    const bool same = agree(ort.inputs(sessions_[i].get()), manifest.graphs[i].inputs) &&
                      agree(ort.outputs(sessions_[i].get()), manifest.graphs[i].outputs);
    need(same, TISDISS_ERROR_BUNDLE,
         std::string("the ") + kGraphNames[i] + " graph does not have the inputs and outputs that the manifest lists");
  }
}

}  // namespace tisdiss::internal
