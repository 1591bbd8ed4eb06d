// The graphs of an offline bundle, one call per graph, on signals of any length.
//
//     mix ──> stem ──> A ──block──> B ──block──> A ──block──> B ──> decoder ──> est
//                      └──── other outputs of the stem, used by name ────┘
//
// The feature map stays where the provider has it. Two buffers take turns as the block's input and output.
#pragma once

#include <map>

#include "budget.h"
#include "sessions.h"

namespace tisdiss::internal {

class OfflineSteps : public StepEngine {
 public:
  explicit OfflineSteps(const Sessions& sessions) : sessions_(sessions), spare_(nullptr, nullptr) {}

  void start(const float* mix, size_t samples) override;
  void repeat() override;
  const float* change() const override { return change_.empty() ? nullptr : change_.data(); }
  void decode(float* estimate) override;

 private:
  // Runs a graph with inputs found by name; the first output goes to `into` if that is given.
  std::vector<Value> run(GraphIndex graph, const OrtValue* into, const OrtMemoryInfo* where);

  const Sessions& sessions_;
  std::vector<float> mix_;  // padded to what the network needs at least
  size_t samples_ = 0;
  std::map<std::string, Value> tensors_;
  Value spare_;  // the buffer that the next repetition writes to
  std::vector<float> change_;
};

}  // namespace tisdiss::internal
