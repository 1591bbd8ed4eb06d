// ONNX Runtime, loaded at run time through its C interface, so that one build works with many versions.
#pragma once

#include <onnxruntime_c_api.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "manifest.h"

namespace tisdiss {

// Something that ONNX Runtime gave and takes back by a function of its interface.
template <class T>
using Owned = std::unique_ptr<T, void(ORT_API_CALL*)(T*)>;
using Value = Owned<OrtValue>;

// Whether the program is ending, so that ONNX Runtime must not be called any more.
extern std::atomic<bool> is_exiting;

// The environment in a loaded library.
class Ort {
 public:
  // `path` may be empty: then the library is looked for.
  explicit Ort(const std::string& path);

  // Throws what a failed call says, after `what`.
  void check(OrtStatus* status, const std::string& what) const;

  // Opens a graph.
  Owned<OrtSession> open(const std::string& content, int threads, bool on_cuda, const std::string& label) const;

  // Names of the inputs or outputs of a session, in order.
  std::vector<std::string> input_names(OrtSession* session) const;
  std::vector<std::string> output_names(OrtSession* session) const;

  // A tensor over numbers that belong to the caller and outlive it.
  Value tensor(float* data, size_t count, const std::vector<int64_t>& shape) const;

  bool has_cuda() const;

  const OrtApi& api;
  OrtAllocator* allocator;        // for names; belongs to ONNX Runtime
  Owned<OrtMemoryInfo> cpu, cuda;  // where a tensor is

 private:
  using CountCall = decltype(OrtApi::SessionGetInputCount);
  using NameCall = decltype(OrtApi::SessionGetInputName);
  std::vector<std::string> names(OrtSession* session, CountCall count, NameCall name) const;
  void use_cuda(OrtSessionOptions* options) const;

  // Never given back: ONNX Runtime has one for the whole process, and fails where one thread gives back the last
  // reference while another takes a new one.
  OrtEnv* env_ = nullptr;
};

}  // namespace tisdiss
