#include "ort.h"

#include <cstdlib>

#include "denormals.h"
#include "error.h"

#ifdef _WIN32
#include <windows.h>

#include <filesystem>
#else
#include <dlfcn.h>
#endif

namespace tisdiss::internal {
namespace {

constexpr int kApiVersion = 11;      // the oldest that has all that is used here: CUDA's options by name
constexpr int kOldestVersion = 18;  // the oldest that reads the graphs of today's bundles
constexpr const char* kEnvironmentVariable = "TISDISS_ONNXRUNTIME";
constexpr const char* kCpuProvider = "CPUExecutionProvider";
constexpr const char* kCudaProvider = "CUDAExecutionProvider";

constexpr const char* kNoTelemetry = "ORT_DISABLE_TELEMETRY";

#ifdef _WIN32
namespace fs = std::filesystem;

// The library finds those that lie beside it.
void* load(const std::string& path) {
  const fs::path file = fs::absolute(fs::u8path(path));
  return LoadLibraryExW(file.c_str(), nullptr, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
}

// Where a module lies; null is the program.
fs::path folder_of(HMODULE module) {
  std::wstring name(32768, L'\0');  // longer there is none
  name.resize(GetModuleFileNameW(module, name.data(), static_cast<DWORD>(name.size())));
  return fs::path(name).parent_path();
}

// The system has an old one in its folder, which a name alone would find.
std::vector<std::string> usual_places() {
  HMODULE self = nullptr;
  const auto inside = reinterpret_cast<LPCWSTR>(&usual_places);
  constexpr DWORD how = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  GetModuleHandleExW(how, inside, &self);
  std::vector<std::string> places;
  for (HMODULE module : {HMODULE{nullptr}, self}) {
    const std::string place = (folder_of(module) / "onnxruntime.dll").u8string();
    if (places.empty() || place != places[0]) places.push_back(place);
  }
  return places;
}

void* find(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

std::string load_error() { return "error " + std::to_string(GetLastError()); }

std::string variable(const char* name) {
  const wchar_t* value = _wgetenv(fs::path(name).c_str());
  return value ? fs::path(value).u8string() : "";
}

void set_variable(const char* name, const char* value) { _putenv_s(name, value); }
#else
void* load(const std::string& path) { return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); }

std::vector<std::string> usual_places() {
#ifdef __APPLE__
  return {"libonnxruntime.dylib", "libonnxruntime.1.dylib"};
#else
  return {"libonnxruntime.so.1", "libonnxruntime.so"};
#endif
}

void* find(void* library, const char* name) { return dlsym(library, name); }

std::string load_error() {
  const char* text = dlerror();
  return text ? text : "unknown error";
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void set_variable(const char* name, const char* value) { setenv(name, value, 0); }
#endif

[[noreturn]] void fail(const std::string& text) {
  throw Error(TISDISS_ERROR_ONNXRUNTIME, text + "; get 1.18 or newer, for example with pip install onnxruntime, and " +
                                             "give its library's path in the options or in " + kEnvironmentVariable);
}

// Loads the library at a path, or else from the usual places. It is never unloaded: it may have threads.
void* load_library(const std::string& path) {
  if (!path.empty()) {
    if (void* library = load(path)) return library;
    fail("ONNX Runtime cannot be loaded from " + path + " (" + load_error() + ")");
  }
  std::string looked_for;
  for (const std::string& place : usual_places()) {
    if (void* library = load(place)) return library;
    looked_for += (looked_for.empty() ? "" : ", ") + place;
  }
  fail("ONNX Runtime is not found as " + looked_for);
}

const OrtApiBase& load_base(std::string path) {
  // From 1.32 on, it would send what it was used for and keep a number of the machine. Whoever has set the variable
  // knows what they want.
  if (variable(kNoTelemetry).empty()) set_variable(kNoTelemetry, "1");
  if (path.empty()) path = variable(kEnvironmentVariable);
  void* library = load_library(path);
  using GetBase = const OrtApiBase*(ORT_API_CALL*)();
  const auto get_base = reinterpret_cast<GetBase>(find(library, "OrtGetApiBase"));
  if (!get_base) fail((path.empty() ? usual_places()[0] : path) + " is not ONNX Runtime");
  return *get_base();
}

const OrtApi& api_of(const OrtApiBase& base) {
  const std::string version = base.GetVersionString();
  // Asked for too new an interface, ONNX Runtime would print; so its version is looked at first.
  const bool is_old = version.rfind("1.", 0) == 0 && std::atoi(version.c_str() + 2) < kOldestVersion;
  const OrtApi* api = is_old ? nullptr : base.GetApi(kApiVersion);
  if (!api) fail("ONNX Runtime " + version + " is too old");
  // Handlers run in the reverse order: this one before the library's own objects go.
  static const bool registered = std::atexit([] { is_exiting = true; }) == 0;
  (void)registered;
  return *api;
}

// ONNX Runtime would print its messages; what matters comes with the status of a call.
void ORT_API_CALL drop_message(void*, OrtLoggingLevel, const char*, const char*, const char*, const char*) {}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

void use_cuda(const Ort& ort, OrtSessionOptions* options) {
  OrtCUDAProviderOptionsV2* raw = nullptr;
  ort.check(ort.api.CreateCUDAProviderOptions(&raw), "starting CUDA");
  const Owned<OrtCUDAProviderOptionsV2> cuda_options(raw, ort.api.ReleaseCUDAProviderOptions);
  // Every new length would otherwise start an exhaustive search for convolution algorithms.
  const char *key = "cudnn_conv_algo_search", *value = "HEURISTIC";
  ort.check(ort.api.UpdateCUDAProviderOptions(raw, &key, &value, 1), "starting CUDA");
  ort.check(ort.api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, raw), "starting CUDA");
}

}  // namespace

const std::array<Provider, 2> kProviders = {{
    {"cpu", kCpuProvider, "Cpu", false, nullptr},
    {"cuda", kCudaProvider, "Cuda", true, use_cuda},
}};

std::atomic<bool> is_exiting{false};

Ort::Ort(const std::string& path, const OrtApiBase* given) : Ort(given ? *given : load_base(path)) {}

Ort::Ort(const OrtApiBase& base)
    : api(api_of(base)), version(base.GetVersionString()), cpu(nullptr, api.ReleaseMemoryInfo) {
  check(api.CreateEnvWithCustomLogger(drop_message, nullptr, ORT_LOGGING_LEVEL_FATAL, "tisdiss", &env_), "starting");
  check(api.GetAllocatorWithDefaultOptions(&allocator), "starting");
  cpu = memory_of(kProviders[0]);
  // All graphs allocate from one arena, because only one of them runs at a time. Where the program, or another
  // bundle, has registered one already, that one serves.
  OrtArenaCfg* arena = nullptr;
  check(api.CreateArenaCfg(0, -1, -1, -1, &arena), "starting");
  const Owned<OrtArenaCfg> owned_arena(arena, api.ReleaseArenaCfg);
  const Owned<OrtStatus> ignored(api.CreateAndRegisterAllocator(env_, cpu.get(), arena), api.ReleaseStatus);
}

void Ort::check(OrtStatus* status, const std::string& what) const {
  if (!status) return;
  const Owned<OrtStatus> owned(status, api.ReleaseStatus);
  throw Error(TISDISS_ERROR_BUNDLE, what + " failed: " + first_line(api.GetErrorMessage(status)));
}

Owned<OrtSession> Ort::open(const std::string& content, int threads, const Provider& provider,
                            const std::string& label) const {
  const DenormalsAreZero kept;  // ONNX Runtime changes the mode of the thread that opens the first session
  const std::string what = "opening the " + label + " graph";
  OrtSessionOptions* raw = nullptr;
  check(api.CreateSessionOptions(&raw), what);
  const Owned<OrtSessionOptions> options(raw, api.ReleaseSessionOptions);
  check(api.SetIntraOpNumThreads(raw, threads), what);
  check(api.SetInterOpNumThreads(raw, 1), what);
  check(api.SetSessionExecutionMode(raw, ORT_SEQUENTIAL), what);
  check(api.DisableMemPattern(raw), what);  // lengths vary
  check(api.AddSessionConfigEntry(raw, "session.use_env_allocators", "1"), what);
  check(api.AddSessionConfigEntry(raw, "session.set_denormal_as_zero", "1"), what);
  check(api.AddSessionConfigEntry(raw, "session.force_spinning_stop", "1"), what);  // idle threads leave the cores
  if (provider.use) provider.use(*this, raw);
  OrtSession* session = nullptr;
  check(api.CreateSessionFromArray(env_, content.data(), content.size(), raw, &session), what);
  return {session, api.ReleaseSession};
}

bool Ort::has(const Provider& provider) const {
  char** names = nullptr;
  int count = 0;
  check(api.GetAvailableProviders(&names, &count), "asking for providers");
  bool found = false;
  for (int i = 0; i < count; ++i) found = found || std::string(names[i]) == provider.ort_name;
  check(api.ReleaseAvailableProviders(names, count), "asking for providers");
  return found;
}

Owned<OrtMemoryInfo> Ort::memory_of(const Provider& provider) const {
  OrtMemoryInfo* info = nullptr;
  check(api.CreateMemoryInfo(provider.memory, OrtArenaAllocator, 0, OrtMemTypeDefault, &info), "starting");
  return {info, api.ReleaseMemoryInfo};
}

std::vector<TensorSpec> Ort::inputs(OrtSession* session) const {
  return tensors(session, api.SessionGetInputCount, api.SessionGetInputName, api.SessionGetInputTypeInfo);
}

std::vector<TensorSpec> Ort::outputs(OrtSession* session) const {
  return tensors(session, api.SessionGetOutputCount, api.SessionGetOutputName, api.SessionGetOutputTypeInfo);
}

std::vector<TensorSpec> Ort::tensors(OrtSession* session, CountCall count_of, NameCall name_of,
                                     TypeCall type_of) const {
  const std::string what = "reading inputs and outputs";
  size_t count = 0;
  check(count_of(session, &count), what);
  std::vector<TensorSpec> tensors;
  for (size_t i = 0; i < count; ++i) {
    char* name = nullptr;
    check(name_of(session, i, allocator, &name), what);
    TensorSpec tensor{name, {}};
    check(api.AllocatorFree(allocator, name), what);
    OrtTypeInfo* raw = nullptr;
    check(type_of(session, i, &raw), what);
    const Owned<OrtTypeInfo> type(raw, api.ReleaseTypeInfo);
    const OrtTensorTypeAndShapeInfo* info = nullptr;  // belongs to the type
    check(api.CastTypeInfoToTensorInfo(raw, &info), what);
    ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    if (info) check(api.GetTensorElementType(info, &element), what);
    need(element == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, TISDISS_ERROR_BUNDLE,
         tensor.name + " is not a tensor of 32-bit floats");
    size_t axes = 0;
    check(api.GetDimensionsCount(info, &axes), what);
    tensor.shape.resize(axes);
    check(api.GetDimensions(info, tensor.shape.data(), axes), what);
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Value Ort::tensor(float* data, size_t count, const std::vector<int64_t>& shape) const {
  OrtValue* value = nullptr;
  check(api.CreateTensorWithDataAsOrtValue(cpu.get(), data, count * sizeof(float), shape.data(), shape.size(),
                                           ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value),
        "making a tensor");
  return {value, api.ReleaseValue};
}

}  // namespace tisdiss::internal
