#include "files.h"

#include <fstream>
#include <sstream>

#include "error.h"
#include "sha256.h"

namespace tisdiss::internal {
namespace {

constexpr size_t kMostFileBytes = 536870912;  // of a graph

void need(bool condition, const std::string& text) { tisdiss::internal::need(condition, TISDISS_ERROR_BUNDLE, text); }

}  // namespace

Files::Files(const std::string& folder) : folder_(std::filesystem::u8path(folder)) {
  std::error_code ignored;
  need(std::filesystem::is_directory(folder_, ignored), "no bundle '" + folder + "': there is no such folder");
}

Files::Files(std::map<std::string, std::string_view> content) : content_(std::move(content)) {
  need(!content_.empty(), "no files are given");
}

std::string Files::label(const std::string& name) const {
  return in_folder() ? (folder_ / std::filesystem::u8path(name)).u8string() : name;
}

// Whatever cannot be looked at counts as missing.
bool Files::has(const std::string& name) const {
  std::error_code ignored;
  return in_folder() ? std::filesystem::exists(folder_ / std::filesystem::u8path(name), ignored)
                     : content_.count(name) > 0;
}

bool Files::has_file(const std::string& name) const {
  std::error_code ignored;
  return in_folder() ? std::filesystem::is_regular_file(folder_ / std::filesystem::u8path(name), ignored) : has(name);
}

std::string Files::read(const std::string& name, size_t most_bytes) const {
  need(has_file(name), label(name) + " is not a file that can be read");
  const std::filesystem::path path = folder_ / std::filesystem::u8path(name);
  std::error_code error;
  const auto bytes = in_folder() ? std::filesystem::file_size(path, error) : content_.at(name).size();
  need(!error, label(name) + " is not a file that can be read");
  need(bytes <= most_bytes, label(name) + " has " + std::to_string(bytes) + " bytes; at most " +
                                std::to_string(most_bytes) + " are read");
  if (!in_folder()) return std::string(content_.at(name));
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream content;
  content << stream.rdbuf();
  need(stream.good() || (stream.is_open() && stream.eof()), label(name) + " cannot be read");
  return content.str();
}

std::string Files::read_verified(const FileRef& file) const {
  std::string content = read(file.path, kMostFileBytes);
  need(sha256(content) == file.sha256, label(file.path) + " is damaged: its SHA-256 is not the manifest's");
  return content;
}

}  // namespace tisdiss::internal
