/* An ONNX Runtime that has no interface to offer. */
#include <onnxruntime_c_api.h>
#include <stdio.h>

static const OrtApi *ORT_API_CALL get_api(uint32_t version) {
  printf("asked for version %u\n", (unsigned)version); /* the real one complains, too, if it is too old */
  return NULL;
}

static const char *ORT_API_CALL get_version(void) { return STAND_IN_VERSION; }

static const OrtApiBase base = {get_api, get_version};

const OrtApiBase *ORT_API_CALL OrtGetApiBase(void) { return &base; }
