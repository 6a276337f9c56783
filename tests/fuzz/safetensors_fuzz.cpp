// A safetensors file: the tensors of an accepted one tile its data exactly.
#include "models/data/safetensors.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reckon;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  fuzz::accepts([&] {
    const auto file = data::SafetensorsFile::parse(bytes, "input");
    const std::byte* next = nullptr;
    for (const std::string& name : file.names()) {
      const data::TensorView& t = file.tensor(name);
      int64_t n = 1;
      for (int64_t extent : t.shape) n *= extent;
      fuzz::require(n == t.n_elements(), "the shape's product is the number of elements");
      fuzz::require(!next || t.bytes.data() == next, "tensors follow one another");
      fuzz::require(t.bytes.data() >= bytes.data() && t.bytes.data() + t.bytes.size() <= bytes.data() + size,
                    "tensors lie in the file");
      next = t.bytes.data() + t.bytes.size();
    }
    fuzz::require(!next || next == bytes.data() + size, "the last tensor ends the file");
  });
  fuzz::accepts([&] { data::parse_shard_index(fuzz::text_of(data, size), "input"); });
  return 0;
}
