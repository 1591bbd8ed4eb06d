// Numbers too small to matter take a processor a hundred times longer: what a network remembers of sound fades to
// such numbers in silence. They count as zeros while one of these lives; the caller's mode comes back afterwards.
#pragma once

#include <cstdint>

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace tisdiss::internal {

class DenormalsAreZero {
 public:
  DenormalsAreZero() : before_(mode()) { set_mode(before_ | kZeroes); }
  ~DenormalsAreZero() { set_mode(before_); }
  DenormalsAreZero(const DenormalsAreZero&) = delete;
  DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

 private:
#if defined(__SSE2__) || defined(_M_X64)
  static constexpr uint64_t kZeroes = 0x8040;  // flush to zero, denormals are zero
  static uint64_t mode() { return _mm_getcsr(); }
  static void set_mode(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kZeroes = uint64_t{1} << 24;
  static uint64_t mode() {
    uint64_t mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set_mode(uint64_t mode) { __asm__ __volatile__("msr fpcr, %0" ::"r"(mode)); }
#else
  static constexpr uint64_t kZeroes = 0;
  static uint64_t mode() { return 0; }
  static void set_mode(uint64_t) {}
#endif

  const uint64_t before_;
};

}  // namespace tisdiss::internal
