// SHA-256 (FIPS 180-4), so that a damaged graph is refused; too small to be worth a dependency.
#pragma once

#include <string>

namespace tisdiss::internal {

// The digest of a content, in lower-case hexadecimal.
std::string sha256(const std::string& content);

}  // namespace tisdiss::internal
