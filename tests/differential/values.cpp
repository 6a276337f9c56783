#include "tests/differential/values.h"

#include <sstream>

#include "runtime/core/element.h"
#include "runtime/core/rng.h"

namespace reckon::differential {
namespace {

std::vector<double> listed(const std::string& text, size_t n) {
  std::vector<double> all;
  std::istringstream in(text);
  std::string one;
  while (std::getline(in, one, ',')) all.push_back(std::stod(one));
  RECKON_CHECK(all.size() == n, "{} values are written down for {} elements", all.size(), n);
  return all;
}

double draw(const std::string& kind, const PhiloxBlock& b, uint64_t i, uint64_t limit, double ignored) {
  if (kind == "signed") return (2.0 * static_cast<double>(uniform_below(b, 64)) - 63) / 32;
  if (kind == "positive") return (2.0 * static_cast<double>(uniform_below(b, 16)) + 17) / 32;
  if (kind == "mask") return b[0] % 4 == 0 && (limit == 0 || i % limit != 0) ? 0 : 1;
  if (kind == "index") return static_cast<double>(uniform_below(b, limit));
  if (kind == "target") return b[2] % 5 == 0 ? ignored : static_cast<double>(uniform_below(b, limit));
  raise_error("no kind of values is called '" + kind + "'");
}

// Positions in the storage, in elements, of a layout's elements in row-major order.
std::vector<int64_t> positions(const Layout& l) {
  std::vector<int64_t> all;
  ops::for_each_index(l.shape, [&](const Dims& index) {
    int64_t p = l.offset;
    for (int a = 0; a < index.rank(); ++a) p += index[a] * l.strides[a];
    all.push_back(p);
  });
  return all;
}

std::vector<std::byte> storage_bytes(const Tensor& t) {
  std::vector<std::byte> bytes(t.storage()->bytes());
  if (!bytes.empty()) t.device().copy_to_host(bytes.data(), t.storage()->data(), bytes.size());
  return bytes;
}

}  // namespace

std::vector<double> drawn(const std::string& recipe, double scale, size_t n) {
  const size_t colon = recipe.find(':');
  if (colon == std::string::npos) return listed(recipe, n);
  uint64_t stream = 0, limit = 0;
  double ignored = -100;
  char between = 0;
  std::istringstream rest(recipe.substr(colon + 1));
  rest >> stream >> between >> limit >> between >> ignored;
  const std::string kind = recipe.substr(0, colon);
  std::vector<double> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = scale * draw(kind, Philox{0x5eed, stream}(i), i, limit, ignored);
  return values;
}

ops::HostTensor read(const Tensor& t) {
  ops::HostTensor host(t.shape());
  host.dtype = t.dtype();
  if (host.values.empty() || !t.device().executes()) return host;
  const std::vector<std::byte> bytes = storage_bytes(t);
  size_t i = 0;
  for (int64_t p : positions(t.layout())) host.values[i++] = load_element(bytes.data(), t.dtype(), p);
  return host;
}

void write(const Tensor& t, const std::vector<double>& values) {
  RECKON_CHECK(static_cast<int64_t>(values.size()) == t.numel(), "{} values for {}", values.size(),
               describe(t));
  if (values.empty() || !t.device().executes()) return;
  std::vector<std::byte> bytes = storage_bytes(t);
  size_t i = 0;
  for (int64_t p : positions(t.layout())) store_element(bytes.data(), t.dtype(), p, values[i++]);
  t.device().copy_from_host(t.storage()->data(), bytes.data(), bytes.size());
}

}  // namespace reckon::differential
