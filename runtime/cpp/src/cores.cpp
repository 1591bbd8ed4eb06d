#include "cores.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

namespace tisdiss::internal {
namespace {

using std::filesystem::path;

// The cores that one group may use, in version 2 or version 1 of the interface.
std::optional<double> quota_of(const path& folder) {
  double quota = 0.0, period = 0.0;  // where there is no such group, or "max"
  if (std::ifstream both(folder / "cpu.max"); both) {
    both >> quota >> period;
  } else {
    std::ifstream(folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(folder / "cpu.cfs_period_us") >> period;
  }
  if (quota <= 0.0 || period <= 0.0) return std::nullopt;
  return quota / period;
}

// Of the cores that this process may run on; of logical ones outside Linux.
int usable_cores() {
  const int logical = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#ifdef __linux__
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return logical;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &usable)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) return CPU_COUNT(&usable);  // hidden in some containers
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
#else
  return logical;
#endif
}

}  // namespace

std::optional<int> quota_cores(const path& groups, const path& own) {
  std::optional<double> least;
  const auto look = [&](const path& folder) {
    if (const std::optional<double> quota = quota_of(folder)) least = std::min(*quota, least.value_or(*quota));
  };
  std::ifstream file(own);  // lines "number:controllers:group"; version 2 has no controllers there
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    path folder = groups / controllers;
    look(folder);
    for (const path& part : path(line.substr(second + 1)).relative_path()) look(folder /= part);
  }
  if (!least) return std::nullopt;
  return static_cast<int>(std::clamp(*least, 1.0, 1e6));
}

int physical_cores() {
  const int cores = usable_cores();
  return std::min(cores, quota_cores("/sys/fs/cgroup", "/proc/self/cgroup").value_or(cores));
}

}  // namespace tisdiss::internal
