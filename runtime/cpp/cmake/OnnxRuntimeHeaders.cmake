# Sets ONNXRUNTIME_INCLUDE_DIR, where onnxruntime_c_api.h is: as given, or as installed (by libonnxruntime-dev from
# Debian 13 on), or else from an npm package, fetched into the build folder. No registry has the headers alone; this
# package has them beside the builds of ONNX Runtime 1.29 (MIT licence). Nothing is unpacked unless its hash is right.
set(headers_package com.github.asus4.onnxruntime@0.4.9)
set(headers_sha256 e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d)
set(headers_folder package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers)
set(fetched ${CMAKE_BINARY_DIR}/onnxruntime)

find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_c_api.h
  HINTS ${fetched}/headers
  PATH_SUFFIXES onnxruntime onnxruntime/core/session
  DOC "Folder of onnxruntime_c_api.h; fetched with npm if there is none")

if(NOT ONNXRUNTIME_INCLUDE_DIR)
  set(otherwise "or install the headers, or give -DONNXRUNTIME_INCLUDE_DIR=FOLDER with onnxruntime_c_api.h")
  find_program(NPM NAMES npm.cmd npm DOC "Fetches the headers of ONNX Runtime where there are none")
  if(NOT NPM)
    message(FATAL_ERROR "onnxruntime_c_api.h is not found: install npm, which fetches it, ${otherwise}")
  endif()
  message(STATUS "Fetching the headers of ONNX Runtime: ${headers_package}")
  file(MAKE_DIRECTORY ${fetched})
  execute_process(COMMAND ${NPM} pack --silent ${headers_package}
    WORKING_DIRECTORY ${fetched} OUTPUT_VARIABLE archive OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "npm pack ${headers_package} failed (${failed}): look at the network, ${otherwise}")
  endif()
  file(SHA256 ${fetched}/${archive} found_sha256)
  if(NOT found_sha256 STREQUAL headers_sha256)
    file(REMOVE ${fetched}/${archive})
    message(FATAL_ERROR "npm gave another ${headers_package} than the one that is known, and nothing of it is used: "
      "its SHA-256 is ${found_sha256}, not ${headers_sha256}. Look where npm fetches from, ${otherwise}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -E tar xf ${archive} ${headers_folder}
    WORKING_DIRECTORY ${fetched} COMMAND_ERROR_IS_FATAL ANY)
  file(RENAME ${fetched}/${headers_folder} ${fetched}/headers)
  file(REMOVE_RECURSE ${fetched}/${archive} ${fetched}/package)
  find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_c_api.h HINTS ${fetched}/headers REQUIRED)
endif()
