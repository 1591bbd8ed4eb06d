// How many cores quotas pay for:
//
//     cores GROUPS OWN     the folder of all control groups, and the file that names those of a process
//
// prints their number, or nothing where there is no quota.
#include "cores.h"

#include <cstdio>

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const auto cores = tisdiss::internal::quota_cores(arguments[1], arguments[2]);
  if (cores) std::printf("%d", *cores);
  return tisdiss::internal::physical_cores() < 1;
}
