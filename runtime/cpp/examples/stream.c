/* Separates live sound: 32-bit floats from standard input, at the bundle's rate, to frames of one float for each
 * voice on standard output.
 *
 *     sox talk.wav -t f32 -c 1 -r 16000 - | tisdiss_stream BUNDLE 6 > voices.f32      a budget of 6 ms
 */
#include <stdio.h>
#include <stdlib.h>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include "tisdiss_rt.h"

/* The rows of the library, one for each voice, as frames. */
static void write_frames(const float *rows, size_t capacity, size_t samples, int sources) {
  for (size_t i = 0; i < samples; ++i) {
    for (int source = 0; source < sources; ++source) fwrite(rows + (size_t)source * capacity + i, sizeof *rows, 1, stdout);
  }
}

static tisdiss_status run(tisdiss_stream *stream, const tisdiss_info *info) {
  const size_t step = (size_t)info->step_samples, room = (size_t)info->latency_samples + step;
  float *chunk = calloc(step, sizeof *chunk), *rows = calloc((size_t)info->sources * room, sizeof *rows);
  tisdiss_status status = chunk && rows ? TISDISS_OK : TISDISS_ERROR_MEMORY;
  size_t samples, given = 0;
  while (status == TISDISS_OK && (samples = fread(chunk, sizeof *chunk, step, stdin)) > 0) {
    status = tisdiss_stream_process(stream, chunk, samples, rows, room, &given);
    write_frames(rows, room, given, info->sources);
    fflush(stdout);
  }
  if (status == TISDISS_OK) status = tisdiss_stream_flush(stream, rows, room, &given);
  if (status == TISDISS_OK) write_frames(rows, room, given, info->sources);
  free(chunk);
  free(rows);
  return status;
}

int main(int count, char **arguments) {
  tisdiss_bundle *bundle = NULL;
  tisdiss_stream *stream = NULL;
  tisdiss_info info = TISDISS_INFO_INIT;
  tisdiss_run_options options = TISDISS_RUN_OPTIONS_INIT;
  tisdiss_report report = TISDISS_REPORT_INIT;
  const char *error = NULL;
  if (count != 2 && count != 3) {
    fprintf(stderr, "usage: %s BUNDLE [BUDGET_MS]\n", arguments[0]);
    return 2;
  }
#ifdef _WIN32
  _setmode(_fileno(stdin), _O_BINARY);
  _setmode(_fileno(stdout), _O_BINARY);
#endif
  if (count == 3) options.budget_ms = atof(arguments[2]);
  if (tisdiss_open(arguments[1], NULL, &bundle) != TISDISS_OK) {
    error = tisdiss_error_text(NULL);
  } else if (tisdiss_get_info(bundle, &info) != TISDISS_OK ||
             tisdiss_stream_open(bundle, &options, &stream) != TISDISS_OK) {
    error = tisdiss_error_text(bundle);
  } else if (run(stream, &info) != TISDISS_OK || tisdiss_stream_get_report(stream, &report) != TISDISS_OK) {
    error = tisdiss_stream_error_text(stream);
  } else {
    fprintf(stderr, "%llu steps, the last at depth %d in %.1f ms; %llu over budget\n", (unsigned long long)report.steps,
            (int)report.depth, report.elapsed_ms, (unsigned long long)report.misses);
  }
  if (error) fprintf(stderr, "error: %s\n", error);
  tisdiss_stream_free(stream);
  tisdiss_close(bundle);
  return error ? 1 : 0;
}
