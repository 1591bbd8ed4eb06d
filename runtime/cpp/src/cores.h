// How much of the processor this process has, as tisdiss_rt/engine/cores.py finds it.
#pragma once

#include <filesystem>
#include <optional>

namespace tisdiss::internal {

// How many cores the CPU quotas of the control groups pay for, at least 1: from the folder of all groups, and the file
// that names those of this process.
std::optional<int> quota_cores(const std::filesystem::path& groups, const std::filesystem::path& own);

// Number of physical cores that this process may run on, at most as many as quotas pay for; of logical ones outside
// Linux.
int physical_cores();

}  // namespace tisdiss::internal
