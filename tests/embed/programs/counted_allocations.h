// Counts what is allocated on a thread while `counting` is set on it.
#pragma once

#include <cerrno>
#include <cstdlib>

namespace {

thread_local bool counting = false;
thread_local long allocations = 0;

void count_one() { allocations += counting; }

}  // namespace

// glibc's own names for what is replaced here.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) { return count_one(), __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return count_one(), __libc_calloc(count, size); }
void* realloc(void* memory, size_t size) { return count_one(), __libc_realloc(memory, size); }
void* aligned_alloc(size_t alignment, size_t size) { return count_one(), __libc_memalign(alignment, size); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
  count_one();
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}
}
