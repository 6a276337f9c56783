// Decompression of gzip data in memory. Called by the alignment reader.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace reckon::data {

bool looks_gzipped(std::span<const char> data);

// All members of the data, one after the other. Error when truncated, damaged, followed by other bytes or
// larger than max_bytes unpacked.
std::string gunzip(std::span<const char> data, const std::string& name, uint64_t max_bytes);

}  // namespace reckon::data
