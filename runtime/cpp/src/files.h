// The files of a bundle: in a folder, or in memory that the caller lends.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "manifest.h"

namespace tisdiss::internal {

class Files {
 public:
  // In a folder, whose path is UTF-8. Throws where there is none.
  explicit Files(const std::string& folder);

  // In memory, which must stay as long as this is used; the names are those in a folder.
  explicit Files(std::map<std::string, std::string_view> content);

  bool in_folder() const { return content_.empty(); }

  // What messages call it.
  std::string label() const { return in_folder() ? folder_.u8string() : "in memory"; }
  std::string label(const std::string& name) const;

  // Whether there is anything of that name, and whether it is a file.
  bool has(const std::string& name) const;
  bool has_file(const std::string& name) const;

  // The content of a file. Throws where it is not there or larger.
  std::string read(const std::string& name, size_t most_bytes) const;

  // The content of one that the manifest names. Throws unless it has the SHA-256 of the manifest.
  std::string read_verified(const FileRef& file) const;

 private:
  std::filesystem::path folder_;
  std::map<std::string, std::string_view> content_;
};

}  // namespace tisdiss::internal
