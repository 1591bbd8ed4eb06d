/* Separates overlapping voices with a tisdiss bundle: an interface for C, and for anything that can call C.
 *
 *     tisdiss_bundle *bundle = NULL;
 *     if (tisdiss_open("edge-16k", NULL, &bundle) != TISDISS_OK) { puts(tisdiss_error_text(NULL)); ... }
 *     tisdiss_separate(bundle, mix, samples, NULL, voices, samples, NULL);
 *     tisdiss_close(bundle);
 *
 * Sound is mono 32-bit float at the bundle's sample rate, which tisdiss_get_info tells: nothing here resamples.
 * What comes out are rows, one for each source. A row begins `capacity` floats after the one before.
 *
 * ONNX Runtime, 1.18 or newer, is loaded when a bundle is opened: from the path in the options, or else in the
 * environment variable TISDISS_ONNXRUNTIME, or else by its usual names. It stays loaded. It has one environment
 * for the whole process, with one logger, which is silent if it is made here: a program that uses ONNX Runtime
 * itself and wants its messages makes its own environment before it opens a bundle.
 *
 * Threads: calls on one bundle wait for each other; calls on one stream must not overlap. Different handles are
 * independent, so the streams of one bundle may run on as many threads. Nothing is printed, and no call ends the
 * program. What is still open when it ends is left to the system.
 */
#ifndef TISDISS_RT_H
#define TISDISS_RT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(TISDISS_BUILDING)
#define TISDISS_API __declspec(dllexport)
#elif defined(_WIN32)
#define TISDISS_API __declspec(dllimport)
#else
#define TISDISS_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tisdiss_status {
  TISDISS_OK = 0,
  TISDISS_ERROR_ARGUMENT = 1,    /* NULL, a buffer that is too small, sound with NaN, infinity or samples far beyond full scale */
  TISDISS_ERROR_OPTION = 2,      /* an option that is impossible, here or for this bundle */
  TISDISS_ERROR_BUNDLE = 3,      /* the folder is no bundle, or is damaged, or its network failed */
  TISDISS_ERROR_ONNXRUNTIME = 4, /* ONNX Runtime is missing, too old or has not the provider */
  TISDISS_ERROR_UNSUPPORTED = 5, /* a stream with an offline bundle */
  TISDISS_ERROR_STATE = 6,       /* the stream has ended or failed: reset it */
  TISDISS_ERROR_MEMORY = 7,
  TISDISS_ERROR_INTERNAL = 8
} tisdiss_status;

typedef struct tisdiss_bundle tisdiss_bundle;
typedef struct tisdiss_stream tisdiss_stream;

/* Structs grow: a later version adds fields at the end and leaves the others as they are. Each struct begins with its
 * size in bytes, so that a program and the library may be of different versions. Begin with the _INIT below a struct,
 * which sets the size and the defaults; every later field has 0 as its default.
 *   Options: fields beyond `size` have their defaults. What this version does not know must be 0, and so must
 * `reserved`; otherwise TISDISS_ERROR_OPTION. A struct of zeros alone, its size included, stands for all defaults.
 * Values beside a size of 0, or an impossible size, are TISDISS_ERROR_ARGUMENT.
 *   Results: nothing is written beyond `size`, which must not be 0 and stays as it is. What this version does not
 * know becomes 0. */
typedef struct tisdiss_open_options {
  size_t size;
  const char *onnxruntime; /* path of the library; NULL looks for it as said above */
  const char *provider;    /* "auto" (CUDA where it works; also NULL), "cpu" or "cuda" */
  const char *precision;   /* "auto" (32-bit floats; also NULL), or one that the bundle carries */
  int32_t threads;         /* 0 is one for each physical core, or one alone for a streaming bundle */
  int32_t reserved;        /* 0 */
} tisdiss_open_options;
#define TISDISS_OPEN_OPTIONS_INIT {sizeof(tisdiss_open_options), NULL, NULL, NULL, 0, 0}

/* With a budget the depth of every step follows from the time that is left; without, it is fixed. */
typedef struct tisdiss_run_options {
  size_t size;
  double budget_ms;  /* milliseconds that a window, or a step of a stream, may take; 0 is no budget */
  int32_t depth;     /* repetitions of the block, from 0 on, instead of a budget; -1 is the trained depth */
  int32_t min_depth; /* with a budget, repetitions that always run */
  double window_s;   /* length of the windows of an offline bundle; 0 is as planned, or the longest */
} tisdiss_run_options;
#define TISDISS_RUN_OPTIONS_INIT {sizeof(tisdiss_run_options), 0.0, -1, 1, 0.0}

typedef struct tisdiss_info {
  size_t size;
  const char *name;      /* the texts belong to the bundle and live as long */
  const char *provider;  /* what really runs: "cpu" or "cuda" */
  const char *precision; /* what really runs */
  const char *licence;   /* of the weights */
  int32_t threads;
  int32_t sample_rate;
  int32_t sources;
  int32_t trained_depth;
  int32_t max_depth;
  int32_t streaming;       /* 1: its streams take steps; 0: it has no streams */
  int32_t step_samples;    /* of a streaming bundle; else 0 */
  int32_t latency_samples; /* of a streaming bundle: a sample comes out once so many from it on went in */
} tisdiss_info;
#define TISDISS_INFO_INIT {sizeof(tisdiss_info), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0}

/* What was planned, and what happened. A silent window runs nothing: depth 0 in 0 ms. */
typedef struct tisdiss_report {
  size_t size;
  double window_s;       /* length of a window or step */
  double predicted_ms;   /* for a step, at planned_depth; NaN without a budget. Above the budget: too small */
  double quality_db;     /* what the manifest promises for window and planned_depth; NaN if unknown */
  double elapsed_ms;     /* of the last step */
  uint64_t steps;        /* that have run */
  uint64_t misses;       /* of those, the ones that took longer than the budget */
  int32_t planned_depth; /* that the planner expects */
  int32_t depth;         /* of the last step */
} tisdiss_report;
#define TISDISS_REPORT_INIT {sizeof(tisdiss_report), 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0}

/* "major.minor.patch"; static. */
TISDISS_API const char *tisdiss_version(void);

/* What the last failed call on a handle said: one line, empty before any. It belongs to the handle and lasts
 * until its next call. With NULL: what the last call that failed without a handle said on this thread, such
 * as tisdiss_open. tisdiss_stream_open has the bundle's. */
TISDISS_API const char *tisdiss_error_text(const tisdiss_bundle *bundle);
TISDISS_API const char *tisdiss_stream_error_text(const tisdiss_stream *stream);

/* Opens the bundle in a folder (UTF-8). `options` may be NULL. The caller owns *bundle and gives it back with
 * tisdiss_close; on failure it is NULL. */
TISDISS_API tisdiss_status tisdiss_open(const char *folder, const tisdiss_open_options *options,
                                        tisdiss_bundle **bundle);

/* Frees a bundle; NULL is allowed. Its streams go on working until they are freed. */
TISDISS_API void tisdiss_close(tisdiss_bundle *bundle);

TISDISS_API tisdiss_status tisdiss_get_info(tisdiss_bundle *bundle, tisdiss_info *info);

/* Separates a whole signal. `out` is the caller's: a row of `capacity` floats for each source, `capacity` at
 * least `samples`, apart from `mix`. `options` and `report` may be NULL. The first call with a budget measures the machine for
 * up to a few seconds. */
TISDISS_API tisdiss_status tisdiss_separate(tisdiss_bundle *bundle, const float *mix, size_t samples,
                                            const tisdiss_run_options *options, float *out, size_t capacity,
                                            tisdiss_report *report);

/* Begins a stream of a streaming bundle. `options` may be NULL. The caller owns *stream and gives it back with
 * tisdiss_stream_free; on failure it is NULL. */
TISDISS_API tisdiss_status tisdiss_stream_open(tisdiss_bundle *bundle, const tisdiss_run_options *options,
                                               tisdiss_stream **stream);

/* Frees a stream; NULL is allowed. */
TISDISS_API void tisdiss_stream_free(tisdiss_stream *stream);

/* How many samples of each source tisdiss_stream_process will give for so many, and tisdiss_stream_flush. */
TISDISS_API size_t tisdiss_stream_ready(const tisdiss_stream *stream, size_t samples);
TISDISS_API size_t tisdiss_stream_rest(const tisdiss_stream *stream);

/* Takes a chunk of any length, also 0, and gives what has become ready: *given samples of each source in rows
 * of `capacity`, which must be at least tisdiss_stream_ready. After TISDISS_ERROR_ARGUMENT the stream goes on
 * as if the chunk had not come. After the first step this library allocates nothing here, but ONNX Runtime does
 * in each step: let a thread of its own call this, not the one that a sound device calls. */
TISDISS_API tisdiss_status tisdiss_stream_process(tisdiss_stream *stream, const float *mix, size_t samples,
                                                  float *out, size_t capacity, size_t *given);

/* Ends the stream and gives the rest, so that all output is as long as all input. `capacity` is at least
 * tisdiss_stream_rest. */
TISDISS_API tisdiss_status tisdiss_stream_flush(tisdiss_stream *stream, float *out, size_t capacity,
                                                size_t *given);

/* Begins anew as if just opened; what was learnt about the machine's speed stays. */
TISDISS_API tisdiss_status tisdiss_stream_reset(tisdiss_stream *stream);

/* Sets the depth of the steps to come, from 0 to the one that the stream was opened with; only without a
 * budget. */
TISDISS_API tisdiss_status tisdiss_stream_set_depth(tisdiss_stream *stream, int32_t depth);

/* What happened since the beginning or the last reset. */
TISDISS_API tisdiss_status tisdiss_stream_get_report(tisdiss_stream *stream, tisdiss_report *report);

#ifdef __cplusplus
}
#endif

#endif
