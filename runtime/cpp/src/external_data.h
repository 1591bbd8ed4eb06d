// Refuses graphs that keep data in other files: ONNX Runtime would read any file that they name.
#pragma once

#include <string>

namespace tisdiss::internal {

// Fails if a tensor of an ONNX file is kept elsewhere, or if that cannot be told; `label` is for errors.
void refuse_external_data(const std::string& graph, const std::string& label);

}  // namespace tisdiss::internal
