# Sets ONNXRUNTIME_INCLUDE_DIR, where onnxruntime_c_api.h is: as given, or installed, or else from an npm package
# that carries the headers (MIT licence), fetched with npm into the build folder.
set(headers_package com.github.asus4.onnxruntime@0.4.9)
set(fetched ${CMAKE_BINARY_DIR}/onnxruntime)

find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_c_api.h
  HINTS ${fetched}/headers
  PATH_SUFFIXES onnxruntime onnxruntime/core/session
  DOC "Folder of onnxruntime_c_api.h; fetched with npm if there is none")

if(NOT ONNXRUNTIME_INCLUDE_DIR)
  message(STATUS "Fetching the headers of ONNX Runtime: ${headers_package}")
  file(MAKE_DIRECTORY ${fetched})
  find_program(NPM NAMES npm.cmd npm REQUIRED
    DOC "Fetches the headers of ONNX Runtime; not needed with -DONNXRUNTIME_INCLUDE_DIR=FOLDER")
  execute_process(COMMAND ${NPM} pack --silent ${headers_package}
    WORKING_DIRECTORY ${fetched} OUTPUT_VARIABLE archive OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "npm pack ${headers_package} failed (${failed}): "
      "look at the network, or give -DONNXRUNTIME_INCLUDE_DIR=FOLDER with onnxruntime_c_api.h")
  endif()
  # The Android library of the package is a zip archive with the headers.
  set(library package/Plugins/Android/onnxruntime.aar)
  execute_process(COMMAND ${CMAKE_COMMAND} -E tar xf ${archive} ${library}
    WORKING_DIRECTORY ${fetched} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} -E tar xf ${library} headers
    WORKING_DIRECTORY ${fetched} COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE_RECURSE ${fetched}/${archive} ${fetched}/package)
  find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_c_api.h HINTS ${fetched}/headers REQUIRED)
endif()
