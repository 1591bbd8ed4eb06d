// Who is who over a whole signal, decided at once, as tisdiss_rt/talkers/assignment.py explains and does it.
#pragma once

#include "sessions.h"
#include "windows.h"

namespace tisdiss::internal {

// Puts the sources of a signal that has been separated into one order from beginning to end, in place; where all is
// one talker's, the first source gets it and the others are silent. Returns whether it is. For bundles with the part
// `voice`.
bool settle(const Sessions& sessions, const Rows& voices, size_t samples);

}  // namespace tisdiss::internal
