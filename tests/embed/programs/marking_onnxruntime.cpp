// The ONNX Runtime that REAL_ONNXRUNTIME names, whose Run tells the program that it is under way.
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

extern "C" void pause_counting(void);
extern "C" void go_on_counting(void);

namespace {

const OrtApiBase* real_base() {
  void* library = dlopen(std::getenv("REAL_ONNXRUNTIME"), RTLD_NOW | RTLD_LOCAL);
  using GetBase = const OrtApiBase* (*)();
  return reinterpret_cast<GetBase>(dlsym(library, "OrtGetApiBase"))();
}

decltype(OrtApi::Run) real_run;

OrtStatus* ORT_API_CALL marking_run(OrtSession* session, const OrtRunOptions* options, const char* const* input_names,
                                    const OrtValue* const* inputs, size_t input_count,
                                    const char* const* output_names, size_t output_count,
                                    OrtValue** outputs) noexcept {
  pause_counting();
  OrtStatus* status =
      real_run(session, options, input_names, inputs, input_count, output_names, output_count, outputs);
  go_on_counting();
  return status;
}

const OrtApi* ORT_API_CALL get_api(uint32_t version) noexcept {
  static OrtApi api;  // filled from the real one, of which only the part of an old version is used
  const OrtApi* real = real_base()->GetApi(version);
  std::memcpy(static_cast<void*>(&api), real, offsetof(OrtApi, ReleaseCUDAProviderOptions) + sizeof(void*));
  real_run = real->Run;
  api.Run = marking_run;
  return &api;
}

const char* ORT_API_CALL get_version() noexcept { return real_base()->GetVersionString(); }

const OrtApiBase base = {get_api, get_version};

}  // namespace

extern "C" __attribute__((visibility("default"))) const OrtApiBase* OrtGetApiBase(void) noexcept { return &base; }
