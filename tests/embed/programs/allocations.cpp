// Counts what is allocated on this thread outside of ONNX Runtime's Run:
//
//     allocations BUNDLE MARKING_ONNXRUNTIME      prints two counts: of opening a stream, of its steps but the first
#include <cstdio>

#include "counted_allocations.h"
#include "tisdiss_rt.hpp"

extern "C" {
// Called by the library in ONNX Runtime's place, around Run.
void pause_counting(void) { counting = false; }
void go_on_counting(void) { counting = true; }
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  tisdiss::OpenOptions where;
  where.onnxruntime = arguments[2];
  tisdiss::Separator separator(arguments[1], where);
  const auto step = static_cast<size_t>(separator.info().step_samples);
  std::vector<float> chunk(step), out(static_cast<size_t>(separator.info().sources) * 8 * step);
  for (size_t i = 0; i < step; ++i) chunk[i] = i % 2 ? 0.1f : -0.1f;
  tisdiss::RunOptions options;
  options.budget_ms = 1000;

  allocations = 0;
  counting = true;
  tisdiss::Stream stream = separator.stream(options);
  counting = false;
  const long of_opening = allocations;
  stream.process(chunk, out.data(), 8 * step);
  allocations = 0;
  for (size_t i = 0; i < 300; ++i) {
    counting = true;
    stream.process({chunk.data(), 1 + i % step}, out.data(), 8 * step);
    stream.report();
    counting = false;
  }
  std::printf("%ld %ld\n", of_opening, allocations);
  return stream.report().steps > 10 ? 0 : 1;
}
