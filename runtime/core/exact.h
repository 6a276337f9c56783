// A whole number of up to 127 bits whose arithmetic never wraps: an operation that would overflow is an Error.
// Used by formulas over sizes a user may give (bytes, FLOPs of a whole training), which outgrow 64 bits.
#pragma once

#include <compare>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace reckon {

class Exact {
 public:
  constexpr Exact() = default;
  template <std::integral T>
  constexpr Exact(T value) : value_(static_cast<__int128>(value)) {}  // NOLINT: whole numbers convert silently

  // The value cut towards zero; Error when it is not finite or beyond 127 bits.
  static Exact truncated(double value);
  // Decimal digits, with or without separating commas; Error names the text.
  static Exact parse(std::string_view text);

  friend Exact operator+(Exact a, Exact b);
  friend Exact operator-(Exact a, Exact b);
  friend Exact operator*(Exact a, Exact b);
  friend Exact operator/(Exact a, Exact b);  // towards zero; Error on zero
  friend Exact operator%(Exact a, Exact b);
  Exact& operator+=(Exact b) { return *this = *this + b; }
  Exact& operator-=(Exact b) { return *this = *this - b; }
  Exact& operator*=(Exact b) { return *this = *this * b; }
  friend constexpr bool operator==(Exact, Exact) = default;
  friend constexpr auto operator<=>(Exact a, Exact b) { return a.value_ <=> b.value_; }

  double to_double() const { return static_cast<double>(value_); }  // nearest
  int64_t to_int64(std::string_view what) const;                    // Error names `what` when it does not fit
  bool fits_int64() const { return value_ >= INT64_MIN && value_ <= INT64_MAX; }
  std::string digits() const;  // "1829952"

 private:
  static constexpr Exact of(__int128 v) {
    Exact e;
    e.value_ = v;
    return e;
  }
  __int128 value_ = 0;
};

// a / b rounded up; both positive.
Exact ceil_div(Exact a, Exact b);

}  // namespace reckon
