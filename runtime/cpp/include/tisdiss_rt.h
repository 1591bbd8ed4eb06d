/* Separation of overlapping voices with a tisdiss bundle: an interface for C, and for anything that can call C.
 *
 * A bundle is a folder with a network. The Python package brings edge-16k for whole signals and live-16k for live
 * sound; `tisdiss-rt info live-16k` prints where. A whole signal:
 *
 *     tisdiss_bundle *bundle = NULL;
 *     if (tisdiss_open("path/of/edge-16k", NULL, &bundle) != TISDISS_OK) { puts(tisdiss_error_text(NULL)); ... }
 *     tisdiss_separate(bundle, mix, samples, NULL, voices, samples, NULL);
 *     tisdiss_close(bundle);
 *
 * Live sound, in chunks as they come, with a bundle that is opened in the same way:
 *
 *     tisdiss_stream_open(bundle, NULL, &stream);
 *     while (...) tisdiss_stream_process(stream, chunk, samples, voices, capacity, &given);
 *     tisdiss_stream_flush(stream, voices, capacity, &given);
 *     tisdiss_stream_free(stream);
 *
 * Sound is mono 32-bit float, full scale 1, at the bundle's sample rate, see tisdiss_get_info: nothing here resamples.
 * Output is written in rows, one for each source: a talker's voice, at the level that it has in the mixture. A row
 * begins `capacity` floats after the previous one. A talker stays in one row, as far as can be told.
 *
 * The network repeats one block. The number of repetitions is the depth: with more, voices are better and take longer.
 * A whole signal is separated in windows of up to some seconds, live sound in steps of some milliseconds. A budget is
 * the time that each of these may take; the depth then follows from what they take on this machine. One that takes
 * longer is counted in the report, and is no error.
 *
 * Memory given to a call is used during that call only. Output must not overlap the input. After a failure, the content
 * of the output is undefined. Paths and texts are UTF-8, on Windows too.
 *
 * ONNX Runtime, 1.18 or newer, is loaded when a bundle is opened: from the path in the options, otherwise from the
 * path in the environment variable TISDISS_ONNXRUNTIME, otherwise by its usual names; on Windows from the folder of
 * the program or of this library, not from the system's, which has an old one. It stays loaded. ONNX Runtime has one
 * environment for the whole process, with one logger, which is silent if it is created here: a program that uses ONNX
 * Runtime itself and needs its messages creates its own environment before it opens a bundle.
 *
 * Threads: calls on one bundle may overlap; only measuring the machine, for a first budget, is waited for. Different
 * handles are independent, so each stream of a bundle may run on a thread of its own. A call on a stream while another
 * thread is in one on the same stream returns TISDISS_ERROR_STATE and does nothing. A handle must not be freed while a
 * call on it runs, nor used in a process that is forked. Nothing is printed, and no call ends the program. Handles that
 * are still open at its end are left to the system.
 *
 * Versions: TISDISS_VERSION_MAJOR and the others are those that a program is compiled with, tisdiss_version is what it
 * runs with. The library's name carries the major version: with the same one, old programs run with newer libraries.
 */
#ifndef TISDISS_RT_H
#define TISDISS_RT_H

#include <stddef.h>
#include <stdint.h>

#if defined(TISDISS_STATIC)
#define TISDISS_API
#elif defined(_WIN32) && defined(TISDISS_BUILDING)
#define TISDISS_API __declspec(dllexport)
#elif defined(_WIN32)
#define TISDISS_API __declspec(dllimport)
#else
#define TISDISS_API __attribute__((visibility("default")))
#endif

#define TISDISS_VERSION_MAJOR 0
#define TISDISS_VERSION_MINOR 2
#define TISDISS_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tisdiss_status {
  TISDISS_OK = 0,
  TISDISS_ERROR_ARGUMENT = 1,    /* NULL, a buffer too small, or sound with NaN, infinity or values far beyond 1 */
  TISDISS_ERROR_OPTION = 2,      /* an option with an impossible value, or one that this bundle does not have */
  TISDISS_ERROR_BUNDLE = 3,      /* the folder is not a bundle or is damaged, or the network failed */
  TISDISS_ERROR_ONNXRUNTIME = 4, /* ONNX Runtime is missing, too old, or does not have the provider */
  TISDISS_ERROR_UNSUPPORTED = 5, /* a stream of an offline bundle */
  TISDISS_ERROR_STATE = 6,       /* the stream has ended or failed: reset it; or another thread uses it */
  TISDISS_ERROR_MEMORY = 7,
  TISDISS_ERROR_INTERNAL = 8,
  TISDISS_ERROR_CANCELLED = 9    /* by the progress callback */
} tisdiss_status;

typedef struct tisdiss_bundle tisdiss_bundle;
typedef struct tisdiss_stream tisdiss_stream;

/* A file of a bundle that is in memory. */
typedef struct tisdiss_file {
  const char *name; /* as it is in a folder, such as "manifest.json" */
  const void *data;
  size_t size; /* of the data in bytes */
} tisdiss_file;

/* The structs below grow: a later version adds fields at the end and leaves the others as they are. Each begins with its
 * size in bytes, so that a program and the library may be of different versions. Initialise a struct with the _INIT
 * below it, which sets the size and the defaults; the default of every later field is 0.
 *   Options: fields beyond `size` have their defaults. Bytes that this version does not know must be 0, and so must
 * `reserved`; otherwise the call returns TISDISS_ERROR_OPTION. A struct of zeros, its size included, stands for all
 * defaults. Other values with a size of 0, or an impossible size, return TISDISS_ERROR_ARGUMENT; fields since 0.2.0 are
 * not looked at where the size is 0.
 *   Results: nothing is written beyond `size`, which must not be 0 and is not changed. Bytes that this version does
 * not know become 0. */

struct OrtApiBase; /* what OrtGetApiBase() of ONNX Runtime returns */

typedef struct tisdiss_open_options {
  size_t size;
  const char *onnxruntime; /* path of the library; NULL searches as described above */
  const char *provider;    /* "auto" (CUDA where it works; also NULL), "cpu" or "cuda" */
  const char *precision;   /* "auto" (32-bit floats; also NULL), or one that the bundle carries */
  int32_t threads;         /* 0 means one per physical core, or as many as the CPU quota of a container pays for; a
                            * single one for a streaming bundle */
  int32_t reserved;        /* 0 */
  const tisdiss_file *files; /* instead of a folder: manifest, graphs of the precision, and voice.onnx where the
                              * manifest has it. Since 0.2.0, as what follows */
  size_t file_count;
  const struct OrtApiBase *onnxruntime_api; /* of the program, if it has ONNX Runtime itself; NULL loads it */
} tisdiss_open_options;
#define TISDISS_OPEN_OPTIONS_INIT {sizeof(tisdiss_open_options), NULL, NULL, NULL, 0, 0, NULL, 0, NULL}

/* Called by tisdiss_separate, on its thread, whenever more is done: `done` is the share from 0 to 1, `data` the
 * progress_data of the options. Returns 0 to go on; anything else ends the call with TISDISS_ERROR_CANCELLED. */
typedef int32_t (*tisdiss_progress)(void *data, double done);

/* With a budget, the depth of every step follows from the time that is left; without one, it is fixed. */
typedef struct tisdiss_run_options {
  size_t size;
  double budget_ms;  /* milliseconds that a window, or a step of a stream, may take; 0 means no budget */
  int32_t depth;     /* repetitions of the block, at least 0, instead of a budget; -1 means the trained depth */
  int32_t min_depth; /* with a budget, repetitions that always run */
  double window_s;   /* length of the windows of an offline bundle; 0 means as planned, or the longest */
  tisdiss_progress progress; /* of tisdiss_separate; may be NULL. Since 0.2.0, as what follows */
  void *progress_data;
  double min_gain_db; /* a repetition runs only where it is expected to add as much, and is in time; 0: all.
                         Without a budget, a voice that is alone in a window is passed on, where the bundle can
                         tell it; others are silent then */
} tisdiss_run_options;
#define TISDISS_RUN_OPTIONS_INIT {sizeof(tisdiss_run_options), 0.0, -1, 1, 0.0, NULL, NULL, 0.0}

typedef struct tisdiss_info {
  size_t size;
  const char *name;      /* strings belong to the bundle and are valid until it is closed */
  const char *provider;  /* what really runs: "cpu" or "cuda" */
  const char *precision; /* what really runs */
  const char *licence;   /* of the weights */
  int32_t threads;
  int32_t sample_rate;
  int32_t sources;
  int32_t trained_depth;
  int32_t max_depth;
  int32_t streaming;       /* 1 for a streaming bundle; 0 for an offline one, which has no streams */
  int32_t step_samples;    /* of a streaming bundle; else 0 */
  int32_t latency_samples; /* of a streaming bundle: a sample comes out once this many, counted from it, have gone in */
  const char *onnxruntime_version; /* of the library that is loaded, as "1.30.0"; static. Since 0.2.0 */
} tisdiss_info;
#define TISDISS_INFO_INIT {sizeof(tisdiss_info), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL}

/* What was planned, and what happened. A silent window runs nothing: depth 0 in 0 ms. */
typedef struct tisdiss_report {
  size_t size;
  double window_s;       /* length of a window or step */
  double predicted_ms;   /* of a step at planned_depth; NaN without a budget. Above budget_ms: that is too small */
  double quality_db;     /* what the manifest promises for window and planned_depth; NaN if unknown */
  double elapsed_ms;     /* of the last step */
  uint64_t steps;        /* number of steps that ran */
  uint64_t misses;       /* number of these that took longer than the budget */
  int32_t planned_depth; /* depth that the planner expects */
  int32_t depth;         /* of the last step */
  double estimate_db;    /* what SI-SDR the voices are expected to have: the mean over voices that talk, and of a */
  double low_db;         /*   whole signal over windows, or of a stream that of its last two seconds; and an */
  double high_db;        /*   interval that holds in 80 of 100 cases. NaN where the bundle does not tell */
} tisdiss_report;
#define TISDISS_REPORT_INIT {sizeof(tisdiss_report), 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0.0, 0.0, 0.0}

/* "major.minor.patch"; static. */
TISDISS_API const char *tisdiss_version(void);

/* Return the message of the last call that failed on this thread: one line, empty if none has. It is valid until the
 * next call on this thread. Whose call it was makes no difference; the argument may be NULL. */
TISDISS_API const char *tisdiss_error_text(const tisdiss_bundle *bundle);
TISDISS_API const char *tisdiss_stream_error_text(const tisdiss_stream *stream);

/* Open the bundle in a folder, or, where that is NULL, in the files of the options, which may be NULL
 * otherwise. This takes some tenths of a second. The caller owns *bundle and frees it with tisdiss_close; on failure it
 * is NULL. */
TISDISS_API tisdiss_status tisdiss_open(const char *folder, const tisdiss_open_options *options,
                                        tisdiss_bundle **bundle);

/* Free a bundle; NULL is allowed. Its streams keep working until they are freed. */
TISDISS_API void tisdiss_close(tisdiss_bundle *bundle);

TISDISS_API tisdiss_status tisdiss_get_info(tisdiss_bundle *bundle, tisdiss_info *info);

/* Separate a whole signal. The caller owns `out`: a row of `capacity` floats for each source, where `capacity` is at
 * least `samples`; it must not overlap `mix`. With a bundle that has voiceprints, as the shipped ones do, every talker
 * is in one row throughout, and somebody who talks alone in the first. `options` and `report` may be NULL. The first
 * call with a budget measures the machine for up to a few seconds. */
TISDISS_API tisdiss_status tisdiss_separate(tisdiss_bundle *bundle, const float *mix, size_t samples,
                                            const tisdiss_run_options *options, float *out, size_t capacity,
                                            tisdiss_report *report);

/* Open a stream of a streaming bundle. `options` may be NULL. The caller owns *stream and frees it with
 * tisdiss_stream_free; on failure it is NULL. */
TISDISS_API tisdiss_status tisdiss_stream_open(tisdiss_bundle *bundle, const tisdiss_run_options *options,
                                               tisdiss_stream **stream);

/* Free a stream; NULL is allowed. */
TISDISS_API void tisdiss_stream_free(tisdiss_stream *stream);

/* Return the number of samples of each source that tisdiss_stream_process will write for a chunk of this length, and
 * that tisdiss_stream_flush will write; while another thread is in a call on the stream, nobody can tell. */
TISDISS_API size_t tisdiss_stream_ready(const tisdiss_stream *stream, size_t samples);
TISDISS_API size_t tisdiss_stream_rest(const tisdiss_stream *stream);

/* Push a chunk of any length, including 0, and write the output that has become ready: *given samples of each source,
 * in rows of `capacity`, which must be at least tisdiss_stream_ready. After TISDISS_ERROR_ARGUMENT the stream continues
 * as if the chunk had not been pushed. After the first step this library allocates nothing here, but once a second
 * where the bundle tells how good its voices are; and ONNX Runtime does in each step: call this on a thread of its own,
 * not in the callback of a sound device. */
TISDISS_API tisdiss_status tisdiss_stream_process(tisdiss_stream *stream, const float *mix, size_t samples,
                                                  float *out, size_t capacity, size_t *given);

/* End the stream and write the rest of the output, so that the whole output is as long as the whole input. `capacity`
 * must be at least tisdiss_stream_rest. */
TISDISS_API tisdiss_status tisdiss_stream_flush(tisdiss_stream *stream, float *out, size_t capacity,
                                                size_t *given);

/* Begin anew, as if just opened, but keep what was measured about the machine's speed. */
TISDISS_API tisdiss_status tisdiss_stream_reset(tisdiss_stream *stream);

/* Set the depth of later steps, from 0 to the depth that the stream was opened with; only without a budget. */
TISDISS_API tisdiss_status tisdiss_stream_set_depth(tisdiss_stream *stream, int32_t depth);

/* Report what happened since the beginning or the last reset. */
TISDISS_API tisdiss_status tisdiss_stream_get_report(tisdiss_stream *stream, tisdiss_report *report);

#ifdef __cplusplus
}
#endif

#endif
