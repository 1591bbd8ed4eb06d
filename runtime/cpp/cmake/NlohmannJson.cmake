# Defines nlohmann_json::nlohmann_json, from NLOHMANN_JSON_INCLUDE_DIR if it is given, or else as it is installed: with
# a package for CMake, or with the headers alone.
if(NOT NLOHMANN_JSON_INCLUDE_DIR)
  find_package(nlohmann_json 3.9 QUIET)
endif()
if(NOT nlohmann_json_FOUND)
  find_path(NLOHMANN_JSON_INCLUDE_DIR nlohmann/json.hpp DOC "Folder of nlohmann/json.hpp")
  if(NOT NLOHMANN_JSON_INCLUDE_DIR)
    message(FATAL_ERROR "nlohmann-json 3.9 or newer is not installed: apt install nlohmann-json3-dev, or give "
      "-DNLOHMANN_JSON_INCLUDE_DIR=FOLDER with nlohmann/json.hpp")
  endif()
  add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
  target_include_directories(nlohmann_json::nlohmann_json INTERFACE ${NLOHMANN_JSON_INCLUDE_DIR})
endif()
