#include "models/data/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <climits>
#include <memory>

#include "runtime/core/error.h"

namespace reckon::data {

bool looks_gzipped(std::span<const char> data) {
  return data.size() >= 2 && data[0] == '\x1f' && data[1] == '\x8b';
}

std::string gunzip(std::span<const char> data, const std::string& name, uint64_t max_bytes) {
  z_stream stream{};
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  RECKON_CHECK(inflateInit2(&stream, kGzipOnly) == Z_OK, "{}: cannot start decompression", name);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> closing(&stream, inflateEnd);
  std::string out;
  size_t taken = 0;  // compressed bytes handed to zlib; it counts in 32 bits, so they go in pieces
  const auto refill = [&] {
    if (stream.avail_in > 0 || taken == data.size()) return;
    const size_t piece = std::min<size_t>(data.size() - taken, UINT_MAX);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data() + taken));
    stream.avail_in = static_cast<uInt>(piece);
    taken += piece;
  };
  std::string buffer(256 << 10, '\0');
  for (bool more = true; more;) {
    refill();
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    const size_t produced = buffer.size() - stream.avail_out;
    out.append(buffer, 0, produced);
    RECKON_CHECK(out.size() <= max_bytes, "{}: more than {} bytes after decompression, the limit here", name,
                 max_bytes);
    if (status == Z_STREAM_END) {
      refill();
      more = stream.avail_in > 0;
      if (more) inflateReset(&stream);
      continue;
    }
    const bool starved = stream.avail_in == 0 && taken == data.size() && produced < buffer.size();
    RECKON_CHECK(status == Z_OK || status == Z_BUF_ERROR, "{}: damaged gzip data near compressed byte {}: {}",
                 name, taken - stream.avail_in, stream.msg ? stream.msg : "unexpected contents");
    RECKON_CHECK(!starved, "{}: truncated gzip file: it ends after {} compressed bytes", name, data.size());
  }
  return out;
}

}  // namespace reckon::data
