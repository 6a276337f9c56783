// Sizes, rates, times and number tables of the calculators; the first byte chooses which. Accepted sizes are
// positive and lie between their bounds, accepted tables hold a full row of finite numbers.
#include "calculators/quantity.h"

#include <cmath>

#include "calculators/table_file.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reckon;
  if (size == 0) return 0;
  const std::string_view text = fuzz::text_of(data + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      fuzz::accepts([&] {
        const auto t = calculators::parse_number_table(std::string(text), "input", {"steps", "size"});
        fuzz::require(!t.rows.empty() && t.rows.size() == t.places.size(), "there are rows, each with a place");
        for (const auto& row : t.rows)
          fuzz::require(row.size() == 2 && std::isfinite(row[0]) && std::isfinite(row[1]),
                        "rows are full and finite");
      });
      break;
    case 1:
      fuzz::accepts([&] {
        const auto w = calculators::parse_written_bytes(text, "input");
        fuzz::require(w.bytes >= 1 && w.low <= w.high, "a size is positive and has bounds");
      });
      break;
    case 2:
      fuzz::accepts([&] { fuzz::require(calculators::parse_flops(text, "input") > 0, "work is positive"); });
      break;
    case 3:
      fuzz::accepts([&] { fuzz::require(calculators::parse_seconds(text, "input") > 0, "time is positive"); });
      break;
    default:
      fuzz::accepts(
          [&] { fuzz::require(calculators::parse_whole(text, "input") >= 1, "a count is positive"); });
  }
  return 0;
}
