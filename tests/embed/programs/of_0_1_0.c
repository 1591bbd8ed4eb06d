/* A program as it was written for 0.1.0, compiled with the header of that version:
 *
 *     of_0_1_0 BUNDLE STREAMING_BUNDLE
 *
 * prints what it found in the structs. With sanitizers it fails where the library writes beyond them. */
#include <stdio.h>
#include <stdlib.h>

#include "tisdiss_rt.h"

enum { SAMPLES = 5000, SOURCES = 2 };

static float mix[SAMPLES], rows[SOURCES * SAMPLES];

static void check(int succeeded, const char *error) {
  if (succeeded) return;
  fprintf(stderr, "error: %s\n", error);
  exit(1);
}

static void print(const char *title, const tisdiss_report *report) {
  printf("%s: depth %d of %d, %llu steps of %g s, predicted %d, quality %d, size %d\n", title, (int)report->depth,
         (int)report->planned_depth, (unsigned long long)report->steps, report->window_s,
         report->predicted_ms == report->predicted_ms, report->quality_db == report->quality_db,
         report->size == sizeof *report);
}

static tisdiss_bundle *opened(const char *folder) {
  tisdiss_open_options options = TISDISS_OPEN_OPTIONS_INIT;
  tisdiss_info info = TISDISS_INFO_INIT;
  tisdiss_bundle *bundle = NULL;
  options.provider = "cpu";
  options.threads = 1;
  check(tisdiss_open(folder, &options, &bundle) == TISDISS_OK, tisdiss_error_text(NULL));
  check(tisdiss_get_info(bundle, &info) == TISDISS_OK, tisdiss_error_text(bundle));
  printf("%s: %s %s, %d threads, %d Hz, %d sources, depth %d to %d, streaming %d, step %d, latency %d, size %d\n",
         info.name, info.provider, info.precision, (int)info.threads, (int)info.sample_rate, (int)info.sources,
         (int)info.trained_depth, (int)info.max_depth, (int)info.streaming, (int)info.step_samples,
         (int)info.latency_samples, info.size == sizeof info);
  check(info.sources == SOURCES, "the bundle has another number of sources");
  return bundle;
}

static void separate(tisdiss_bundle *bundle, const char *title, const tisdiss_run_options *options) {
  tisdiss_report report = TISDISS_REPORT_INIT;
  const tisdiss_status status = tisdiss_separate(bundle, mix, SAMPLES, options, rows, SAMPLES, &report);
  check(status == TISDISS_OK, tisdiss_error_text(bundle));
  print(title, &report);
}

static void stream(tisdiss_bundle *bundle) {
  tisdiss_run_options options = TISDISS_RUN_OPTIONS_INIT;
  tisdiss_report report = TISDISS_REPORT_INIT;
  tisdiss_stream *stream = NULL;
  size_t given = 0;
  options.depth = 2;
  check(tisdiss_stream_open(bundle, &options, &stream) == TISDISS_OK, tisdiss_error_text(bundle));
  check(tisdiss_stream_process(stream, mix, SAMPLES, rows, SAMPLES, &given) == TISDISS_OK,
        tisdiss_stream_error_text(stream));
  check(tisdiss_stream_get_report(stream, &report) == TISDISS_OK, tisdiss_stream_error_text(stream));
  tisdiss_stream_free(stream);
  print("stream", &report);
}

int main(int count, char **arguments) {
  tisdiss_run_options options = TISDISS_RUN_OPTIONS_INIT;
  tisdiss_bundle *bundle = NULL;
  check(count == 3, "usage: of_0_1_0 BUNDLE STREAMING_BUNDLE");
  for (int i = 0; i < SAMPLES; ++i) mix[i] = (float)(i * 7919 % 1000) / 1000.0f - 0.5f;
  bundle = opened(arguments[1]);
  separate(bundle, "defaults", &options);
  options.depth = 0;
  options.window_s = 0.05;
  separate(bundle, "depth 0", &options);
  options.depth = -1;
  options.budget_ms = 1e6;
  options.min_depth = 2;
  separate(bundle, "budget", &options);
  tisdiss_close(bundle);
  bundle = opened(arguments[2]);
  stream(bundle);
  tisdiss_close(bundle);
  return 0;
}
