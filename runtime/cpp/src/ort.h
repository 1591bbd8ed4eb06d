// ONNX Runtime, loaded at run time through its C interface, so that one build works with many versions.
#pragma once

#include <onnxruntime_c_api.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "manifest.h"

namespace tisdiss::internal {

// An object that ONNX Runtime created, released by a function of its interface.
template <class T>
using Owned = std::unique_ptr<T, void(ORT_API_CALL*)(T*)>;
using Value = Owned<OrtValue>;

// Whether the program is ending, so that ONNX Runtime must not be called any more.
extern std::atomic<bool> is_exiting;

class Ort;

// What runs the graphs. A new one needs an entry in `kProviders`, and nothing else.
struct Provider {
  const char* name;                                     // as the options have it
  const char* ort_name;                                 // as ONNX Runtime has it
  const char* memory;                                   // where its tensors are, as ONNX Runtime has it
  bool preferred;                                       // taken by `auto` wherever it starts
  void (*use)(const Ort& ort, OrtSessionOptions* raw);  // null where nothing is to be set
};

extern const std::array<Provider, 2> kProviders;  // the first runs everywhere

// The environment in a loaded library.
class Ort {
 public:
  // Where none is `given`, the library at the path, which may be empty: then it is looked for.
  Ort(const std::string& path, const OrtApiBase* given);

  // Throws what a failed call says, after `what`.
  void check(OrtStatus* status, const std::string& what) const;

  // Opens a graph.
  Owned<OrtSession> open(const std::string& content, int threads, const Provider& provider,
                         const std::string& label) const;

  // The inputs or outputs of a session, in order; a shape is empty where it is not known before it runs. Throws where
  // their numbers are no 32-bit floats.
  std::vector<TensorSpec> inputs(OrtSession* session) const;
  std::vector<TensorSpec> outputs(OrtSession* session) const;

  // A tensor over numbers that belong to the caller and outlive it.
  Value tensor(float* data, size_t count, const std::vector<int64_t>& shape) const;

  bool has(const Provider& provider) const;

  // Where the tensors of a provider are.
  Owned<OrtMemoryInfo> memory_of(const Provider& provider) const;

  const OrtApi& api;
  const char* version;  // static
  OrtAllocator* allocator;  // for names; belongs to ONNX Runtime
  Owned<OrtMemoryInfo> cpu;  // where tensors of the caller are

 private:
  explicit Ort(const OrtApiBase& base);

  using CountCall = decltype(OrtApi::SessionGetInputCount);
  using NameCall = decltype(OrtApi::SessionGetInputName);
  using TypeCall = decltype(OrtApi::SessionGetInputTypeInfo);
  std::vector<TensorSpec> tensors(OrtSession* session, CountCall count, NameCall name, TypeCall type) const;

  // Never given back: ONNX Runtime has one for the whole process, and fails where one thread gives back the last
  // reference while another takes a new one.
  OrtEnv* env_ = nullptr;
};

}  // namespace tisdiss::internal
