// A mutex that every compiler has: MinGW with win32 threads lacks std::mutex.
#pragma once

#include <mutex>

#ifdef _WIN32
#include <windows.h>
#endif

namespace tisdiss::internal {

#ifdef _WIN32
class Mutex {
 public:
  void lock() { AcquireSRWLockExclusive(&lock_); }
  void unlock() { ReleaseSRWLockExclusive(&lock_); }

 private:
  SRWLOCK lock_ = SRWLOCK_INIT;
};
#else
using Mutex = std::mutex;
#endif

using Locked = std::lock_guard<Mutex>;

}  // namespace tisdiss::internal
