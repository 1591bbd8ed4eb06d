// One exception inside the library: a status of the C interface, and what to tell the user.
//
// What is inside has a namespace of its own: the wrapper for C++ has types of the same names, and where the library is
// static, both are in one program.
#pragma once

#include <stdexcept>
#include <string>

#include "tisdiss_rt.h"

namespace tisdiss::internal {

class Error : public std::runtime_error {
 public:
  Error(tisdiss_status status, const std::string& text) : std::runtime_error(text), status(status) {}

  const tisdiss_status status;
};

// The first of these allocates nothing unless it fails.
inline void need(bool condition, tisdiss_status status, const char* text) {
  if (!condition) throw Error(status, text);
}

inline void need(bool condition, tisdiss_status status, const std::string& text) {
  if (!condition) throw Error(status, text);
}

}  // namespace tisdiss::internal
