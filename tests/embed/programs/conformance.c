/* Runs a mixture of raw floats through a bundle by the C interface:
 *
 *     conformance BUNDLE MIX.f32 [RUN OUT.f32]...
 *
 * RUN is `separate:DEPTH`, `windows:DEPTH:SECONDS`, `stream:DEPTH:CHUNK`, or `steps:D,D,...` with a depth for each
 * step. OUT gets one row after the other, each as long as the mixture. Of `estimate:DEPTH:SECONDS:DB`, which is the same
 * as `windows` where a repetition has to add so much, and of `told:DEPTH:CHUNK`, a stream, the first row begins with the
 * estimate of the report, the ends of its interval, and the depth. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tisdiss_rt.h"

static tisdiss_bundle *bundle;
static tisdiss_info info = TISDISS_INFO_INIT;
static float *mix;
static size_t samples;

static void check(int succeeded, const char *error) {
  if (succeeded) return;
  fprintf(stderr, "error: %s\n", error);
  exit(1);
}

static void read_mix(const char *path) {
  FILE *file = fopen(path, "rb");
  check(file != NULL, path);
  fseek(file, 0, SEEK_END);
  samples = (size_t)ftell(file) / sizeof *mix;
  rewind(file);
  mix = malloc(samples * sizeof *mix);
  check(fread(mix, sizeof *mix, samples, file) == samples, path);
  fclose(file);
}

static void write_rows(const char *path, const float *rows) {
  FILE *file = fopen(path, "wb");
  const size_t count = (size_t)info.sources * samples;
  check(file && fwrite(rows, sizeof *rows, count, file) == count && fclose(file) == 0, path);
}

static void separate(int depth, double window_s, float *rows) {
  tisdiss_run_options options = TISDISS_RUN_OPTIONS_INIT;
  options.depth = depth;
  options.window_s = window_s;
  const tisdiss_status status = tisdiss_separate(bundle, mix, samples, &options, rows, samples, NULL);
  check(status == TISDISS_OK, tisdiss_error_text(bundle));
}

static void tell(const tisdiss_report *report, float *rows) {
  rows[0] = (float)report->estimate_db;
  rows[1] = (float)report->low_db;
  rows[2] = (float)report->high_db;
  rows[3] = (float)report->depth;
}

static void estimate(int depth, double window_s, double min_gain_db, float *rows) {
  tisdiss_run_options options = TISDISS_RUN_OPTIONS_INIT;
  tisdiss_report report = TISDISS_REPORT_INIT;
  options.depth = depth;
  options.window_s = window_s;
  options.min_gain_db = min_gain_db;
  check(tisdiss_separate(bundle, mix, samples, &options, rows, samples, &report) == TISDISS_OK,
        tisdiss_error_text(bundle));
  tell(&report, rows);
}

static tisdiss_stream *open_stream(int depth) {
  tisdiss_run_options options = TISDISS_RUN_OPTIONS_INIT;
  tisdiss_stream *stream = NULL;
  options.depth = depth;
  check(tisdiss_stream_open(bundle, &options, &stream) == TISDISS_OK, tisdiss_error_text(bundle));
  return stream;
}

static void by_chunks(int depth, size_t chunk, float *rows, int told) {
  tisdiss_report report = TISDISS_REPORT_INIT;
  tisdiss_stream *stream = open_stream(depth);
  size_t done = 0, given = 0;
  for (size_t at = 0; at < samples; at += chunk) {
    const size_t length = samples - at < chunk ? samples - at : chunk;
    const tisdiss_status status = tisdiss_stream_process(stream, mix + at, length, rows + done, samples, &given);
    check(status == TISDISS_OK, tisdiss_stream_error_text(stream));
    done += given;
  }
  check(tisdiss_stream_flush(stream, rows + done, samples, &given) == TISDISS_OK, tisdiss_stream_error_text(stream));
  check(done + given == samples, "the output has another length than the input");
  check(tisdiss_stream_get_report(stream, &report) == TISDISS_OK, tisdiss_stream_error_text(stream));
  if (told) tell(&report, rows);
  tisdiss_stream_free(stream);
}

/* Pushes zeros at the end instead of flushing, because those steps have depths, too. */
static void by_steps(const int *depths, size_t count, float *rows) {
  const size_t step = (size_t)info.step_samples, late = (size_t)info.latency_samples - step;
  float *chunk = calloc(step, sizeof *chunk), *out = malloc((size_t)info.sources * step * sizeof *out);
  int deepest = 0;
  size_t given = 0;
  for (size_t i = 0; i < count; ++i) deepest = depths[i] > deepest ? depths[i] : deepest;
  tisdiss_stream *stream = open_stream(deepest);
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < step; ++k) chunk[k] = i * step + k < samples ? mix[i * step + k] : 0.0f;
    check(tisdiss_stream_set_depth(stream, depths[i]) == TISDISS_OK, tisdiss_stream_error_text(stream));
    check(tisdiss_stream_process(stream, chunk, step, out, step, &given) == TISDISS_OK,
          tisdiss_stream_error_text(stream));
    const size_t begin = i * step + step - given - late; /* of what came out */
    for (size_t source = 0; source < (size_t)info.sources; ++source) {
      for (size_t k = 0; k < given && begin + k < samples; ++k) {
        rows[source * samples + begin + k] = out[source * step + k];
      }
    }
  }
  tisdiss_stream_free(stream);
  free(chunk);
  free(out);
}

static void run(const char *what, float *rows) {
  int depth = 0, depths[4096];
  size_t chunk = 0, count = 0;
  double window_s = 0, min_gain_db = 0;
  if (sscanf(what, "separate:%d", &depth) == 1) {
    separate(depth, 0, rows);
  } else if (sscanf(what, "windows:%d:%lf", &depth, &window_s) == 2) {
    separate(depth, window_s, rows);
  } else if (sscanf(what, "stream:%d:%zu", &depth, &chunk) == 2) {
    by_chunks(depth, chunk, rows, 0);
  } else if (sscanf(what, "told:%d:%zu", &depth, &chunk) == 2) {
    by_chunks(depth, chunk, rows, 1);
  } else if (sscanf(what, "estimate:%d:%lf:%lf", &depth, &window_s, &min_gain_db) == 3) {
    estimate(depth, window_s, min_gain_db, rows);
  } else {
    for (const char *next = strchr(what, ':'); next && count < 4096; next = strchr(next + 1, ',')) {
      depths[count++] = atoi(next + 1);
    }
    by_steps(depths, count, rows);
  }
}

int main(int count, char **arguments) {
  check(count >= 3, "usage: conformance BUNDLE MIX.f32 [RUN OUT.f32]...");
  check(tisdiss_open(arguments[1], NULL, &bundle) == TISDISS_OK, tisdiss_error_text(NULL));
  check(tisdiss_get_info(bundle, &info) == TISDISS_OK, tisdiss_error_text(bundle));
  read_mix(arguments[2]);
  for (int i = 3; i + 1 < count; i += 2) {
    float *rows = calloc((size_t)info.sources * samples, sizeof *rows);
    run(arguments[i], rows);
    write_rows(arguments[i + 1], rows);
    free(rows);
  }
  free(mix);
  tisdiss_close(bundle);
  return 0;
}
