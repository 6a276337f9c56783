#include "runtime/core/exact.h"

#include <algorithm>
#include <cmath>

#include "runtime/core/error.h"
#include "runtime/core/format.h"

namespace reckon {
namespace {

void check_fits(bool overflow, const char* op, Exact a, Exact b) {
  RECKON_CHECK(!overflow, "{} {} {} does not fit into 127 bits: is one of the sizes wrong?", a.digits(), op,
               b.digits());
}

}  // namespace

Exact operator+(Exact a, Exact b) {
  __int128 v = 0;
  check_fits(__builtin_add_overflow(a.value_, b.value_, &v), "+", a, b);
  return Exact::of(v);
}

Exact operator-(Exact a, Exact b) {
  __int128 v = 0;
  check_fits(__builtin_sub_overflow(a.value_, b.value_, &v), "-", a, b);
  return Exact::of(v);
}

Exact operator*(Exact a, Exact b) {
  __int128 v = 0;
  check_fits(__builtin_mul_overflow(a.value_, b.value_, &v), "x", a, b);
  return Exact::of(v);
}

Exact operator/(Exact a, Exact b) {
  RECKON_CHECK(b.value_ != 0, "{} divided by zero", a.digits());
  RECKON_CHECK(b.value_ != -1, "Exact: division by -1 is a subtraction from 0");
  return Exact::of(a.value_ / b.value_);
}

Exact operator%(Exact a, Exact b) { return a - (a / b) * b; }

Exact Exact::truncated(double value) {
  RECKON_CHECK(std::isfinite(value) && std::fabs(value) < 0x1p126,
               "{} is not a whole number of at most 126 bits", value);
  return of(static_cast<__int128>(value));
}

Exact Exact::parse(std::string_view text) {
  Exact v;
  bool any = false;
  for (const char c : text) {
    if (c == ',' && any) continue;
    RECKON_CHECK(c >= '0' && c <= '9', "'{}' is not a whole number: expected digits only", text);
    v = v * 10 + (c - '0');
    any = true;
  }
  RECKON_CHECK(any, "expected a whole number, got an empty text");
  return v;
}

int64_t Exact::to_int64(std::string_view what) const {
  RECKON_CHECK(fits_int64(), "{}: {} does not fit into 64 bits", what, digits());
  return static_cast<int64_t>(value_);
}

std::string Exact::digits() const {
  __int128 v = value_;
  std::string out;
  do {
    const int d = static_cast<int>(v % 10);
    out += static_cast<char>('0' + (d < 0 ? -d : d));
    v /= 10;
  } while (v != 0);
  if (value_ < 0) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

Exact ceil_div(Exact a, Exact b) { return (a + b - 1) / b; }

std::string format_count(Exact n) {
  std::string digits = n.digits();
  const int first = digits[0] == '-' ? 1 : 0;
  for (int i = static_cast<int>(digits.size()) - 3; i > first; i -= 3)
    digits.insert(static_cast<size_t>(i), 1, ',');
  return digits;
}

}  // namespace reckon
