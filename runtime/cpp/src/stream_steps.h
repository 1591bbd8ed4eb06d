// The graphs of a streaming bundle, step by step, as tisdiss_rt/engine/streaming.py explains and does it.
//
//     mix ──> stem ──────> block ──────> block ──────> decoder ──> est        one step
//             buffers      buffers 1     buffers 2     buffers
//
// A step may run fewer repetitions than the one before. What it skips would then have a hole in its history, so
// every skipped repetition is given the newest entries of the deepest one that ran. All shapes are fixed: every
// tensor is made once, over memory of ours, and a step allocates nothing but what ONNX Runtime does.
#pragma once

#include <memory>

#include "budget.h"
#include "sessions.h"

namespace tisdiss::internal {

// The newest L entries along one axis, always in one piece and in order, zeros at the start.
//
// Seen as a row of slots, a slot for each entry of each place before the axis, all entries of a place move by
// one slot where the beginning of the row does. Then the last slot of each place has an entry of its neighbour,
// and the newest goes there. With two places and L = 3, before and after c and z are pushed:
//
//     slot      0   1   2   3   4   5   6   7
//     content   0   a   b   0   x   y   .   .
//               |<------ window ----->|
//     content       a   b   c   x   y   z   .
//                   |<------ window ----->|
//
// Only where the room behind the row is used up, the window moves back to the beginning.
class Fifo {
 public:
  // `begin`: slot at which the window begins at first, modulo the room: buffers of equal room that begin at
  // different ones do not move back in the same step.
  Fifo(const Ort& ort, const TensorSpec& buffer, size_t axis, size_t newest_count, size_t begin);

  // All entries, oldest first, until the next push.
  const OrtValue* window() const { return windows_[begin_].get(); }

  // Appends `newest_count` entries, zeros for NULL; as many of the oldest are dropped.
  void push(const float* newest);
  void clear();

 private:
  size_t places_ = 1, length_, entry_ = 1;  // places before the axis, entries, numbers of an entry
  size_t newest_;                           // entries of a push
  size_t room_;                             // slots behind the row
  size_t begin_;                            // slot at which the window begins
  std::vector<float> slots_;
  std::vector<Value> windows_;  // one for each slot that the window may begin at
};

class StreamSteps : public StepEngine {
 public:
  // Steps run at most `max_depth` repetitions.
  StreamSteps(const Sessions& sessions, int max_depth);

  void start(const float* mix, size_t samples) override;
  void repeat() override;
  const float* change() const override { return change_; }
  void decode(float* estimate) override;

  // Forgets everything: the next step is the first.
  void reset();

 private:
  using Memory = std::vector<Fifo>;

  struct Tensor {
    Tensor(const Ort& ort, const TensorSpec& spec);
    std::vector<float> data;
    Value value;
  };

  // How to run a graph: its tensors in order. The places of the buffers, and of z, are filled before each run.
  struct Call {
    std::vector<const char*> input_names, output_names;
    std::vector<const OrtValue*> inputs;
    std::vector<OrtValue*> outputs;
    std::vector<const float*> output_data;
    std::vector<size_t> buffers;  // which input each buffer is
    std::vector<size_t> newest;   // which output belongs to each buffer
    std::vector<size_t> axes;     // along which each buffer is first in, first out
    std::vector<size_t> z;        // which inputs are the current feature map
  };

  Tensor& add_tensor(const TensorSpec& spec);
  void prepare(GraphIndex graph);
  Memory make_memory(GraphIndex graph);
  void run(GraphIndex graph, Memory& memory);

  // Appends to the buffers of a graph what its last run gave, or zeros.
  void append(GraphIndex graph, Memory& memory, bool nothing_ran) const;
  Tensor& z() { return *z_[static_cast<size_t>(depth_ % 2)]; }

  const Sessions& sessions_;
  std::vector<std::unique_ptr<Tensor>> tensors_;
  std::array<Tensor*, 2> z_{};  // take turns as the block's input and output
  std::array<Call, 3> calls_;
  Tensor* mix_ = nullptr;
  const float* change_ = nullptr;  // of the last repetition, where the block tells it
  Memory stem_, decoder_;
  std::vector<Memory> block_;  // one for each repetition
  size_t buffers_ = 0;         // made so far
  int depth_ = 0;              // of the step under way
};

}  // namespace tisdiss::internal
