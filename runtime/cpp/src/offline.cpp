#include "offline.h"

#include <algorithm>
#include <cmath>

#include "denormals.h"
#include "error.h"

namespace tisdiss::internal {

void OfflineSteps::start(const float* mix, size_t samples) {
  samples_ = samples;
  mix_.assign(std::max(samples, static_cast<size_t>(sessions_.manifest.min_samples)), 0.0f);
  std::copy(mix, mix + samples, mix_.begin());
  tensors_.clear();
  spare_.reset();
  tensors_.emplace("mix", sessions_.ort.tensor(mix_.data(), mix_.size(), {1, static_cast<int64_t>(mix_.size())}));
  std::vector<Value> outputs = run(kStem, nullptr, sessions_.device.get());
  const std::vector<TensorSpec>& specs = sessions_.manifest.graphs[kStem].outputs;
  for (size_t i = 0; i < specs.size(); ++i) tensors_.insert_or_assign(specs[i].name, std::move(outputs[i]));
}

void OfflineSteps::repeat() {
  std::vector<Value> outputs = run(kBlock, spare_.get(), sessions_.device.get());
  const std::vector<TensorSpec>& specs = sessions_.manifest.graphs[kBlock].outputs;
  const size_t told = position(specs, kChangeOutput);
  if (told < specs.size()) {
    const Ort& ort = sessions_.ort;
    OrtTensorTypeAndShapeInfo* raw = nullptr;
    ort.check(ort.api.GetTensorTypeAndShape(outputs[told].get(), &raw), "reading the change");
    const Owned<OrtTensorTypeAndShapeInfo> info(raw, ort.api.ReleaseTensorTypeAndShapeInfo);
    size_t count = 0;
    ort.check(ort.api.GetTensorShapeElementCount(raw, &count), "reading the change");
    need(count == static_cast<size_t>(sessions_.manifest.sources), TISDISS_ERROR_BUNDLE, "change is not (sources,)");
    float* data = nullptr;
    ort.check(ort.api.GetTensorMutableData(outputs[told].get(), reinterpret_cast<void**>(&data)), "reading the change");
    change_.assign(data, data + sessions_.manifest.sources);
  }
  Value& z = tensors_.at("z");
  spare_ = std::move(z);
  z = std::move(outputs[0]);
}

void OfflineSteps::decode(float* estimate) {
  const std::vector<Value> outputs = run(kDecoder, nullptr, sessions_.ort.cpu.get());
  const OrtApi& api = sessions_.ort.api;
  const auto check = [&](OrtStatus* status) { sessions_.ort.check(status, "reading the estimate"); };
  OrtTensorTypeAndShapeInfo* raw = nullptr;
  check(api.GetTensorTypeAndShape(outputs[0].get(), &raw));
  const Owned<OrtTensorTypeAndShapeInfo> info(raw, api.ReleaseTensorTypeAndShapeInfo);
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  check(api.GetTensorElementType(raw, &type));
  size_t rank = 0;
  check(api.GetDimensionsCount(raw, &rank));
  std::array<int64_t, 2> shape{};
  if (rank == 2) check(api.GetDimensions(raw, shape.data(), 2));
  const auto sources = static_cast<size_t>(sessions_.manifest.sources);
  const bool fits = type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT && shape[0] == sessions_.manifest.sources &&
                    static_cast<size_t>(shape[1]) >= samples_;
  need(fits, TISDISS_ERROR_BUNDLE, "the decoder's output is not (sources, samples) of 32-bit floats");
  float* data = nullptr;
  check(api.GetTensorMutableData(outputs[0].get(), reinterpret_cast<void**>(&data)));
  for (size_t source = 0; source < sources; ++source) {
    const float* row = data + source * static_cast<size_t>(shape[1]);
    std::copy(row, row + samples_, estimate + source * samples_);
  }
  const bool finite = std::all_of(estimate, estimate + sources * samples_, [](float x) { return std::isfinite(x); });
  need(finite, TISDISS_ERROR_BUNDLE, "bundle " + sessions_.manifest.name + " returned NaN or infinity");
}

std::vector<Value> OfflineSteps::run(GraphIndex graph, const OrtValue* into, const OrtMemoryInfo* where) {
  const DenormalsAreZero faster;
  const Ort& ort = sessions_.ort;
  const std::string what = std::string("the ") + kGraphNames[graph] + " graph";
  OrtIoBinding* raw = nullptr;
  ort.check(ort.api.CreateIoBinding(sessions_[graph], &raw), what);
  const Owned<OrtIoBinding> binding(raw, ort.api.ReleaseIoBinding);
  const GraphSpec& spec = sessions_.manifest.graphs[graph];
  for (const TensorSpec& input : spec.inputs) {
    ort.check(ort.api.BindInput(raw, input.name.c_str(), tensors_.at(input.name).get()), what);
  }
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    const char* name = spec.outputs[i].name.c_str();
    const bool given = into && i == 0;
    const bool is_read = graph == kBlock && spec.outputs[i].name == kChangeOutput;
    const OrtMemoryInfo* place = is_read ? ort.cpu.get() : where;
    ort.check(given ? ort.api.BindOutput(raw, name, into) : ort.api.BindOutputToDevice(raw, name, place), what);
  }
  ort.check(ort.api.RunWithBinding(sessions_[graph], nullptr, raw), what);
  OrtValue** values = nullptr;
  size_t count = 0;
  ort.check(ort.api.GetBoundOutputValues(raw, ort.allocator, &values, &count), what);
  std::vector<Value> outputs;
  for (size_t i = 0; i < count; ++i) outputs.emplace_back(values[i], ort.api.ReleaseValue);
  ort.check(ort.api.AllocatorFree(ort.allocator, values), what);
  return outputs;
}

}  // namespace tisdiss::internal
