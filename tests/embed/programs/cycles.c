/* Opens and closes a bundle, with a separation and if possible a stream, over and over:
 *
 *     cycles BUNDLE ROUNDS COUNT
 *
 * prints by how many kilobytes the resident memory grew in each round of COUNT cycles. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tisdiss_rt.h"

enum { SAMPLES = 2000 };

static void check(int succeeded, const char *error) {
  if (succeeded) return;
  fprintf(stderr, "error: %s\n", error);
  exit(1);
}

static void cycle(const char *folder) {
  static float mix[SAMPLES] = {0.5f, -0.5f, 0.25f}, rows[2 * SAMPLES];
  tisdiss_bundle *bundle = NULL;
  tisdiss_stream *stream = NULL;
  tisdiss_info info = TISDISS_INFO_INIT;
  size_t given = 0;
  check(tisdiss_open(folder, NULL, &bundle) == TISDISS_OK, tisdiss_error_text(NULL));
  check(tisdiss_get_info(bundle, &info) == TISDISS_OK && info.sources == 2, "the bundle must have two sources");
  check(tisdiss_separate(bundle, mix, SAMPLES, NULL, rows, SAMPLES, NULL) == TISDISS_OK, tisdiss_error_text(bundle));
  if (info.streaming) {
    check(tisdiss_stream_open(bundle, NULL, &stream) == TISDISS_OK, tisdiss_error_text(bundle));
    check(tisdiss_stream_process(stream, mix, SAMPLES, rows, SAMPLES, &given) == TISDISS_OK,
          tisdiss_stream_error_text(stream));
  }
  tisdiss_close(bundle); /* before its stream: that is allowed */
  tisdiss_stream_free(stream);
  check(tisdiss_open("/nowhere", NULL, &bundle) == TISDISS_ERROR_BUNDLE, "opening nothing succeeded");
}

static long resident_kb(void) {
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  check(file && fscanf(file, "%*s %ld", &pages) == 1, "/proc/self/statm cannot be read");
  fclose(file);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int count, char **arguments) {
  check(count == 4, "usage: cycles BUNDLE ROUNDS COUNT");
  for (int round = atoi(arguments[2]); round > 0; --round) {
    const long before_kb = resident_kb();
    for (int i = atoi(arguments[3]); i > 0; --i) cycle(arguments[1]);
    printf("%ld\n", resident_kb() - before_kb);
  }
  return 0;
}
