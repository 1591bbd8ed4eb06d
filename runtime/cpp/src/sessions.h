// The opened graphs of a bundle of either kind. They remember nothing, so that all streams share them.
#pragma once

#include <string>

#include "manifest.h"
#include "ort.h"

namespace tisdiss::internal {

struct OpenOptions {
  std::string onnxruntime;  // path of the library; may be empty
  const OrtApiBase* onnxruntime_api = nullptr;  // where the program has ONNX Runtime itself
  std::string provider = "auto";
  std::string precision = "auto";
  int threads = 0;
};

class Sessions {
 public:
  // `files` are not used afterwards.
  Sessions(const Files& files, const OpenOptions& options);

  OrtSession* operator[](GraphIndex graph) const { return sessions_[graph].get(); }

  // The graph of the part `voice`, where the bundle has it.
  OrtSession* voice() const { return voice_.get(); }

  const Manifest manifest;
  const Ort ort;
  const std::string precision;  // that runs
  const int threads;
  const Provider* provider = nullptr;    // that runs
  Owned<OrtMemoryInfo> device;           // where its tensors are

 private:
  void open(const std::array<std::string, 3>& graphs, const Provider& chosen);
  bool open_preferred(const std::array<std::string, 3>& graphs);
  void check_tensors() const;

  void open_voice(const Files& files);

  std::vector<Owned<OrtSession>> sessions_;
  Owned<OrtSession> voice_;
};

}  // namespace tisdiss::internal
