#include "external_data.h"

#include <cstdint>
#include <string_view>

#include "error.h"

namespace tisdiss::internal {
namespace {

// The messages of ONNX that are, or hold, tensors; see tisdiss_rt/external_data.py.
enum Message { kModel, kGraph, kTraining, kFunction, kNode, kAttribute, kSparse, kTensor, kOther };

constexpr int kMostNested = 100;
constexpr uint64_t kExternalData = 13;  // fields of a tensor
constexpr uint64_t kDataLocation = 14;

Message inner(Message message, uint64_t field) {
  switch (message) {
    case kModel:
      return field == 7 ? kGraph : field == 20 ? kTraining : field == 25 ? kFunction : kOther;
    case kGraph:
      return field == 1 ? kNode : field == 5 ? kTensor : field == 15 ? kSparse : kOther;
    case kTraining:
      return field == 1 || field == 2 ? kGraph : kOther;
    case kFunction:
      return field == 7 ? kNode : field == 11 ? kAttribute : kOther;
    case kNode:
      return field == 5 ? kAttribute : kOther;
    case kAttribute:
      if (field == 5 || field == 10) return kTensor;
      if (field == 6 || field == 11) return kGraph;
      return field == 22 || field == 23 ? kSparse : kOther;
    case kSparse:
      return field == 1 || field == 2 ? kTensor : kOther;
    default:
      return kOther;
  }
}

[[noreturn]] void fail(const char* reason) {
  throw Error(TISDISS_ERROR_BUNDLE, std::string("it is not an ONNX file: ") + reason);
}

// Takes a number from the front of a message.
uint64_t take_number(std::string_view& message) {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (message.empty()) fail("cut off");
    const auto byte = static_cast<unsigned char>(message.front());
    message.remove_prefix(1);
    if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail("a number too long");
}

bool has_external_data(std::string_view message, Message kind, int level) {
  if (level > kMostNested) fail("too deeply nested");
  while (!message.empty()) {
    const uint64_t tag = take_number(message);
    if (tag >> 32 != 0) fail("a tag too large");  // protocol buffers would drop what is above
    const uint64_t field = tag >> 3, wire = tag & 7;
    uint64_t number = 0;
    std::string_view bytes;
    if (wire == 0) {
      number = take_number(message);
    } else {
      if (wire != 1 && wire != 2 && wire != 5) fail("an unknown wire type");
      const uint64_t size = wire == 2 ? take_number(message) : wire == 1 ? 8 : 4;
      if (size > message.size()) fail("cut off");
      bytes = message.substr(0, static_cast<size_t>(size));
      message.remove_prefix(static_cast<size_t>(size));
    }
    const bool is_elsewhere = wire != 0 || number != 0;
    if (kind == kTensor && (field == kExternalData || (field == kDataLocation && is_elsewhere))) return true;
    const Message next = inner(kind, field);
    if (next == kOther) continue;
    if (wire != 2) fail("a message of another type");
    if (has_external_data(bytes, next, level + 1)) return true;
  }
  return false;
}

}  // namespace

void refuse_external_data(const std::string& graph, const std::string& label) {
  bool is_external = false;
  try {
    is_external = has_external_data(graph, kModel, 0);
  } catch (const Error& error) {
    throw Error(error.status, label + ": " + error.what());
  }
  need(!is_external, TISDISS_ERROR_BUNDLE,
       label + " keeps data in other files, which is refused: export it into one file");
}

}  // namespace tisdiss::internal
