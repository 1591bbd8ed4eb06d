// A host of a LADSPA plug-in that plays, and looks at what happens on its thread:
//
//     plugin PLUGIN.so SAMPLE_RATE      prints two counts for 100 blocks of 10 ms: allocations, and calls that may wait
//
// ThreadSanitizer has functions of its own in the place of those that are counted: with it both are 0.
#include <dlfcn.h>
#include <ladspa.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#ifdef __SANITIZE_THREAD__
static bool counting;
static long allocations, waits;
#else
#include "counted_allocations.h"

namespace {

thread_local long waits = 0;

template <class Function>
Function* next(const char* name, Function*& found) {
  waits += counting;
  if (!found) found = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
  return found;
}

decltype(pthread_mutex_lock)* next_lock;
decltype(sem_wait)* next_wait;
decltype(nanosleep)* next_sleep;
decltype(clock_nanosleep)* next_clock_sleep;

}  // namespace

extern "C" {
int pthread_mutex_lock(pthread_mutex_t* mutex) { return next("pthread_mutex_lock", next_lock)(mutex); }
int sem_wait(sem_t* semaphore) { return next("sem_wait", next_wait)(semaphore); }
int nanosleep(const timespec* asked, timespec* rest) { return next("nanosleep", next_sleep)(asked, rest); }
int clock_nanosleep(clockid_t clock, int flags, const timespec* asked, timespec* rest) {
  return next("clock_nanosleep", next_clock_sleep)(clock, flags, asked, rest);
}
}
#endif

int main(int count, char** arguments) {
  using namespace std::chrono;
  if (count != 3) return 2;
  void* library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 1;
  const auto describe = reinterpret_cast<LADSPA_Descriptor_Function>(dlsym(library, "ladspa_descriptor"));
  const LADSPA_Descriptor& plugin = *describe(0);
  const unsigned long rate = std::strtoul(arguments[2], nullptr, 10), block = rate / 100;
  const LADSPA_Handle handle = plugin.instantiate(&plugin, rate);
  if (!handle) return 1;
  std::vector<float> buffers(plugin.PortCount * block);
  for (unsigned long port = 0; port < plugin.PortCount; ++port) {
    plugin.connect_port(handle, port, buffers.data() + port * block);
  }
  plugin.activate(handle);
  const auto begin = steady_clock::now();
  for (int i = 0; i < 200; ++i) {
    std::this_thread::sleep_until(begin + milliseconds(10 * i));
    counting = i >= 100;  // by then it is clear that this host plays
    plugin.run(handle, block);
    counting = false;
  }
  plugin.deactivate(handle);
  plugin.cleanup(handle);
  std::printf("%ld %ld\n", allocations, waits);
  return 0;
}
