// Reads and fills the structs of the C interface, which grow at their end: a caller may have been compiled with fewer
// fields than there are here, or with more.
//
//     size:      0              shorter than here         longer than here
//     options:   all defaults   the rest has defaults     what is unknown here must be 0
//     results:   refused        the rest is left out      what is unknown here becomes 0
//
// Therefore 0 is the default of every field that is added, and a struct has no padding at its end, which nobody sets
// and which the next field would take.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "error.h"

namespace tisdiss::internal {

constexpr size_t kLargestStruct = 4096;  // in bytes; a size beyond it was never set

// Where a field of a struct ends.
#define TISDISS_END(Struct, field) (offsetof(Struct, field) + sizeof(Struct::field))

// Fails at a size that the struct has in no version. `init` is what a caller begins with, for the message.
template <class Struct>
void check_size(const Struct& given, const char* init) {
  const size_t size = given.size;
  if (size > sizeof given.size && size <= kLargestStruct && size % alignof(Struct) == 0) return;
  throw Error(TISDISS_ERROR_ARGUMENT, "a struct of size " + std::to_string(size) +
                                          " is of no version: begin with " + init);
}

// What a caller has set, over the defaults, which NULL stands for. `first_size` is the size in the first version: as
// much is there even if `size` is 0.
template <class Struct>
Struct read_struct(const Struct* given, const Struct& defaults, size_t first_size, const char* init) {
  if (!given) return defaults;
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  const auto all_zero = [&](size_t begin, size_t end) {
    return std::all_of(bytes + begin, bytes + end, [](unsigned char byte) { return byte == 0; });
  };
  if (given->size == 0) {
    if (all_zero(0, first_size)) return defaults;
    throw Error(TISDISS_ERROR_ARGUMENT, std::string("the options have values, but size 0: begin with ") + init);
  }
  check_size(*given, init);
  if (given->size > sizeof(Struct) && !all_zero(sizeof(Struct), given->size)) {
    throw Error(TISDISS_ERROR_OPTION, "the options have values that version " TISDISS_VERSION
                                      " does not know: leave them 0, or get a newer library");
  }
  Struct read = defaults;
  std::memcpy(&read, given, std::min(given->size, sizeof(Struct)));
  return read;
}

// Fills a caller's struct as far as it goes; its size stays.
template <class Struct>
void write_struct(Struct values, Struct* out) {
  values.size = out->size;
  std::memcpy(out, &values, std::min(out->size, sizeof(Struct)));
  if (out->size > sizeof(Struct)) std::memset(out + 1, 0, out->size - sizeof(Struct));
}

}  // namespace tisdiss::internal
