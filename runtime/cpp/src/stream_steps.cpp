#include "stream_steps.h"

#include <algorithm>
#include <cmath>

#include "denormals.h"
#include "error.h"

namespace tisdiss::internal {

namespace {

constexpr size_t kRoom = 128;  // slots behind the entries of a buffer, with a tensor for each
constexpr size_t kApart = 37;  // no common factor with kRoom: that many buffers of that room move in different steps

}  // namespace

Fifo::Fifo(const Ort& ort, const TensorSpec& buffer, size_t axis, size_t newest_count, size_t begin)
    : length_(static_cast<size_t>(buffer.shape[axis])), newest_(newest_count) {
  for (size_t i = 0; i < axis; ++i) places_ *= static_cast<size_t>(buffer.shape[i]);
  for (size_t i = axis + 1; i < buffer.shape.size(); ++i) entry_ *= static_cast<size_t>(buffer.shape[i]);
  const size_t row = places_ * length_;
  room_ = std::min(std::max(kRoom, newest_), row);
  begin_ = begin % room_;
  slots_.resize((row + room_) * entry_);
  for (size_t slot = 0; slot <= room_; ++slot) {
    windows_.push_back(ort.tensor(slots_.data() + slot * entry_, row * entry_, buffer.shape));
  }
}

void Fifo::push(const float* newest) {
  if (begin_ + newest_ > room_) {
    const float* window = slots_.data() + begin_ * entry_;
    std::copy(window, window + places_ * length_ * entry_, slots_.data());
    begin_ = 0;
  }
  begin_ += newest_;
  const size_t count = newest_ * entry_;
  for (size_t place = 0; place < places_; ++place) {
    float* target = slots_.data() + (begin_ + (place + 1) * length_ - newest_) * entry_;
    if (newest) {
      std::copy_n(newest + place * count, count, target);
    } else {
      std::fill_n(target, count, 0.0f);
    }
  }
}

void Fifo::clear() { std::fill(slots_.begin(), slots_.end(), 0.0f); }

StreamSteps::Tensor::Tensor(const Ort& ort, const TensorSpec& spec)
    : data(elements(spec)), value(ort.tensor(data.data(), data.size(), spec.shape)) {}

StreamSteps::StreamSteps(const Sessions& sessions, int max_depth) : sessions_(sessions) {
  const auto& [stem, block, decoder] = sessions.manifest.graphs;
  mix_ = &add_tensor(stem.inputs[position(stem.inputs, "mix")]);
  for (Tensor*& z : z_) z = &add_tensor(stem.outputs[position(stem.outputs, "z")]);
  for (const GraphIndex graph : {kStem, kBlock, kDecoder}) prepare(graph);
  stem_ = make_memory(kStem);
  decoder_ = make_memory(kDecoder);
  for (int i = 0; i < max_depth; ++i) block_.push_back(make_memory(kBlock));
}

StreamSteps::Tensor& StreamSteps::add_tensor(const TensorSpec& spec) {
  tensors_.push_back(std::make_unique<Tensor>(sessions_.ort, spec));
  return *tensors_.back();
}

void StreamSteps::prepare(GraphIndex graph) {
  const GraphSpec& spec = sessions_.manifest.graphs[graph];
  const std::vector<TensorSpec>& stem = sessions_.manifest.graphs[kStem].outputs;
  Call& call = calls_[graph];
  for (const TensorSpec& output : spec.outputs) {
    const bool is_z = graph == kStem && output.name == "z";
    Tensor& tensor = is_z ? *z_[0] : add_tensor(output);
    if (graph == kBlock && output.name == kChangeOutput) change_ = tensor.data.data();
    call.output_names.push_back(output.name.c_str());
    call.outputs.push_back(tensor.value.get());
    call.output_data.push_back(tensor.data.data());
  }
  for (const StateBuffer& buffer : sessions_.manifest.state) {
    if (buffer.graph != graph) continue;
    call.buffers.push_back(position(spec.inputs, buffer.input));
    call.newest.push_back(position(spec.outputs, buffer.newest));
    call.axes.push_back(buffer.axis);
  }
  for (size_t i = 0; i < spec.inputs.size(); ++i) {
    const std::string& name = spec.inputs[i].name;
    const bool is_buffer = std::count(call.buffers.begin(), call.buffers.end(), i) > 0;
    const size_t from_stem = position(stem, name);
    const OrtValue* fixed = nullptr;
    if (!is_buffer && name == "z") {
      call.z.push_back(i);
    } else if (!is_buffer && from_stem < stem.size()) {
      fixed = calls_[kStem].outputs[from_stem];
    } else if (!is_buffer) {
      fixed = mix_->value.get();
    }
    call.input_names.push_back(name.c_str());
    call.inputs.push_back(fixed);
  }
}

StreamSteps::Memory StreamSteps::make_memory(GraphIndex graph) {
  const GraphSpec& spec = sessions_.manifest.graphs[graph];
  const Call& call = calls_[graph];
  Memory memory;
  for (size_t i = 0; i < call.buffers.size(); ++i) {
    const auto newest_count = static_cast<size_t>(spec.outputs[call.newest[i]].shape[call.axes[i]]);
    memory.emplace_back(sessions_.ort, spec.inputs[call.buffers[i]], call.axes[i], newest_count, kApart * buffers_++);
  }
  return memory;
}

void StreamSteps::reset() {
  for (Memory* memory : {&stem_, &decoder_}) {
    for (Fifo& fifo : *memory) fifo.clear();
  }
  for (Memory& memory : block_) {
    for (Fifo& fifo : memory) fifo.clear();
  }
}

void StreamSteps::start(const float* mix, size_t samples) {
  std::copy(mix, mix + samples, mix_->data.begin());
  depth_ = 0;
  run(kStem, stem_);
}

void StreamSteps::repeat() {
  Call& call = calls_[kBlock];
  Tensor& next = *z_[static_cast<size_t>((depth_ + 1) % 2)];
  call.outputs[0] = next.value.get();
  call.output_data[0] = next.data.data();
  run(kBlock, block_[static_cast<size_t>(depth_)]);
  ++depth_;
}

void StreamSteps::decode(float* estimate) {
  run(kDecoder, decoder_);
  for (auto skipped = static_cast<size_t>(depth_); skipped < block_.size(); ++skipped) {
    append(kBlock, block_[skipped], depth_ == 0);
  }
  const float* data = calls_[kDecoder].output_data[0];
  const auto count = static_cast<size_t>(sessions_.manifest.sources) * mix_->data.size();
  const bool finite = std::all_of(data, data + count, [](float x) { return std::isfinite(x); });
  if (!finite) throw Error(TISDISS_ERROR_BUNDLE, "bundle " + sessions_.manifest.name + " returned NaN or infinity");
  std::copy_n(data, count, estimate);
}

void StreamSteps::run(GraphIndex graph, Memory& memory) {
  const DenormalsAreZero faster;
  Call& call = calls_[graph];
  for (const size_t i : call.z) call.inputs[i] = z().value.get();
  for (size_t i = 0; i < memory.size(); ++i) call.inputs[call.buffers[i]] = memory[i].window();
  OrtStatus* status = sessions_.ort.api.Run(sessions_[graph], nullptr, call.input_names.data(), call.inputs.data(),
                                            call.inputs.size(), call.output_names.data(), call.outputs.size(),
                                            call.outputs.data());
  if (status) sessions_.ort.check(status, std::string("the ") + kGraphNames[graph] + " graph");
  append(graph, memory, false);
}

void StreamSteps::append(GraphIndex graph, Memory& memory, bool nothing_ran) const {
  const Call& call = calls_[graph];
  for (size_t i = 0; i < memory.size(); ++i) {
    memory[i].push(nothing_ran ? nullptr : call.output_data[call.newest[i]]);
  }
}

}  // namespace tisdiss::internal
