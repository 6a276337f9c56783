// A table is a list of columns. A column says once what a figure of a record is called, where it stands in the
// record, how it is printed, how it adds up and where it comes from; the text table, JSON in both directions,
// HTML and the comparison of two runs follow from the list (profiler/text_table.h, table_json, to_html,
// compare_rows). Used by everything that shows or stores records; it knows no record itself. The lists of the
// ledger's records are in profiler/book_columns.h.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "profiler/json_fields.h"
#include "profiler/origin.h"
#include "profiler/table.h"
#include "runtime/core/error.h"
#include "runtime/core/exact.h"
#include "runtime/core/intern.h"

namespace reckon::profiler {

enum class Format : uint8_t {
  count,   // 1,024
  plain,   // 1024
  bytes,   // 1.00 KiB
  scaled,  // 1.02 k
  time     // of nanoseconds: 1.02 us
};
enum class Sum : uint8_t {
  by_type,  // names are keys, numbers of the record are added, functions are derived
  key,      // rows are told apart by it; blank in a sum
  add,
  derived,  // computed from the record that holds the sums
  none      // blank in a sum
};
// Where a column appears: `everywhere` is in files (JSON) and texts; a comparison shows what ComparedBy says.
enum class Place : uint8_t { everywhere, file, text, comparison };

// A breakdown of two runs by this column: rows are told apart by the key column `by`.
struct ComparedBy {
  std::string by;          // the key column's name
  std::string key = {};    // in JSON; empty: "<column>_by_<by>"
  std::string title = {};  // empty: "<heading> by <by>"
  std::string total = {};  // heads the column of names; empty: the heading
};

struct How {
  std::string heading = {};  // empty: the name, with spaces; " ": none; a mark follows it
  Format format = Format::count;
  std::optional<Origin> mark = {};
  Sum sum = Sum::by_type;
  Place place = Place::everywhere;
  const char* absent = nullptr;  // text of an empty name (else "") or of a missing number (else "unknown")
  bool negative = false;         // reading accepts numbers below 0
  bool may_lack = false;         // older files have no such field
  bool sign = false;             // "+" before positive numbers
  bool right = false;            // aligned to the right though it is a text
  bool if_any = false;           // left out of a text where its sum is 0
  std::vector<ComparedBy> compared = {};
};

std::string number_text(int64_t n, Format format);

// ---- values: what a column can hold -------------------------------------------------------------------------

// The list of columns of a record, for columns that hold such records. Specialised beside each list:
//   template <> struct TableOf<Cell> { static const Columns<Cell> columns; };
template <class T>
struct TableOf;
template <class V>
concept Described = requires {
  TableOf<V>::columns;
};
template <class V>
concept Named = std::is_enum_v<V> || std::is_same_v<V, NameId>;
template <class V>
concept Whole = std::is_integral_v<V> && !std::is_same_v<V, bool>;

// Enumerators of E; specialised for every enum that stands in a column.
template <class E>
inline constexpr int kNames = 0;
template <>
inline constexpr int kNames<Origin> = kOrigins;

template <class V>
inline constexpr bool kOptional = false;
template <class V>
inline constexpr bool kOptional<std::optional<V>> = true;
template <class V>
inline constexpr bool kTable = false;
template <class V>
inline constexpr bool kTable<std::vector<V>> = Described<V>;
template <class V>
inline constexpr bool kNumber = Whole<V> || std::is_floating_point_v<V> || std::is_same_v<V, Exact>;
template <class V>
inline constexpr bool kNumber<std::optional<V>> = kNumber<V>;

// What reading can give back; other values are written only.
template <class V>
inline constexpr bool kReadable =
    Named<V> || std::is_integral_v<V> || std::is_same_v<V, std::string> || Described<V>;
template <class V>
inline constexpr bool kReadable<std::optional<V>> = kReadable<V>;
template <class V>
inline constexpr bool kReadable<std::vector<V>> = kReadable<V>;

std::string value_text(Exact n, const How& how);
std::string value_text(double n, const How& how);
std::string value_text(const Json& j, const How& how);  // as in a CSV file
template <class V>
std::string value_text(const V& v, const How& how) {
  if constexpr (std::is_same_v<V, bool>) {
    return v ? "yes" : "no";
  } else if constexpr (Whole<V>) {
    const auto n = static_cast<int64_t>(v);
    return (how.sign && n > 0 ? "+" : "") + number_text(n, how.format);
  } else if constexpr (std::is_same_v<V, NameId>) {
    return v.index ? std::string(name_of(v)) : how.absent ? how.absent : "";
  } else if constexpr (Named<V>) {
    return std::string(name_of(v));
  } else if constexpr (kOptional<V>) {
    return v ? value_text(*v, how) : how.absent ? how.absent : "unknown";
  } else if constexpr (std::is_constructible_v<std::string, const V&>) {
    return std::string(v);
  } else {
    return "";  // lists and records are for files
  }
}

template <class V>
Json value_json(const V& v) {
  if constexpr (Named<V>)
    return std::string(name_of(v));
  else if constexpr (kOptional<V>)
    return v ? value_json(*v) : Json(nullptr);
  else if constexpr (std::is_same_v<V, Exact>)  // beyond 2^63 a JSON number would lose digits
    return v.fits_int64() ? Json(v.to_int64("number")) : Json(v.digits());
  else if constexpr (Described<V>)
    return object_json(TableOf<V>::columns, v);
  else if constexpr (kTable<V>)
    return table_json(TableOf<typename V::value_type>::columns, v);
  else
    return v;
}

template <class V>
void read_value(const Field& f, const How& how, V& v) {
  if constexpr (std::is_same_v<V, NameId>)
    v = intern(f.text());
  else if constexpr (std::is_enum_v<V>)
    v = f.one_of<V>(kNames<V>);
  else if constexpr (std::is_same_v<V, bool>)
    v = f.boolean();
  else if constexpr (Whole<V>)
    v = static_cast<V>(how.negative ? f.integer() : f.natural());
  else if constexpr (std::is_same_v<V, std::string>)
    v = f.text();
  else if constexpr (kOptional<V>)
    f.json().is_null() ? v.reset() : read_value(f, how, v.emplace());
  else if constexpr (Described<V>)
    read_object(TableOf<V>::columns, f, v);
  else if constexpr (kTable<V>)
    v = read_table(TableOf<typename V::value_type>::columns, f);
  else
    for (size_t i = 0; i < f.size(); ++i) read_value(f.item(i), how, v.emplace_back());
  if constexpr (requires { TableOf<V>::check(f, v); }) TableOf<V>::check(f, v);
}

// ---- columns ------------------------------------------------------------------------------------------------

template <class T>
struct Column {
  std::string name;
  How how = {};
  bool right = false;
  bool few = false;                                                    // an enum: as many keys as it has names
  std::function<std::string(const T& row, const T& whole)> text = {};  // `whole` holds the sums, for shares
  std::function<Json(const T&)> json = {};                             // empty: for texts alone
  std::function<void(const Field&, T&)> read = {};     // empty: derived, so written and not read
  std::function<void(T& to, const T& from)> add = {};  // empty: not summed
  std::function<bool(const T&, const T&)> less = {};   // of keys
  std::function<int64_t(const T&)> number = {};        // of whole numbers; a missing one is 0

  bool is_key() const { return how.sum == Sum::key; }
  bool in_totals() const { return how.sum == Sum::add || how.sum == Sum::derived; }
  std::string title() const;  // the heading without its mark
  std::string heading() const;
};

template <class T>
class Columns {
 public:
  Columns() = default;
  // A list of one column. `get` is a member, or a function of a record; a function that gives a
  // reference is as good as a member, one that gives a value is derived from the record, one of two
  // records (row and sum) is for texts alone.
  template <class Get>
  Columns(std::string name, Get get, How how = {});
  // Lists one after the other.
  Columns(std::initializer_list<Columns> lists) {
    for (const Columns& l : lists) add(l);
  }
  explicit Columns(Column<T> column) : columns_{std::move(column)} {}
  Columns& add(const Columns& more) {
    columns_.insert(columns_.end(), more.begin(), more.end());
    return *this;
  }

  auto begin() const { return columns_.begin(); }
  auto end() const { return columns_.end(); }
  std::vector<const Column<T>*> in(Place place) const {  // those of a text, or of a file
    std::vector<const Column<T>*> out;
    for (const Column<T>& c : columns_)
      if (c.how.place == Place::everywhere || c.how.place == place) out.push_back(&c);
    return out;
  }
  const Column<T>& named(std::string_view name) const {
    const auto at = std::find_if(begin(), end(), [&](const Column<T>& c) { return c.name == name; });
    RECKON_CHECK(at != end(), "there is no column '{}'", name);
    return *at;
  }

 private:
  std::vector<Column<T>> columns_;
};

template <class T>
template <class Get>
Columns<T>::Columns(std::string name, Get get, How how) {
  Column<T> c{.name = std::move(name), .how = std::move(how)};
  if constexpr (std::is_invocable_v<Get, const T&, const T&>) {
    if (c.how.sum == Sum::by_type) c.how.sum = Sum::derived;
    c.how.place = Place::text;
    c.right = c.how.right;
    c.text = [get, h = c.how](const T& row, const T& whole) { return value_text(get(row, whole), h); };
  } else {
    using Result = std::invoke_result_t<Get, T&>;
    using V = std::remove_cvref_t<Result>;
    constexpr bool stored =
        std::is_lvalue_reference_v<Result> && !std::is_const_v<std::remove_reference_t<Result>>;
    if (c.how.sum == Sum::by_type)
      c.how.sum = !kNumber<V> ? Sum::key : stored && c.how.place != Place::text ? Sum::add : Sum::derived;
    c.right = c.how.right || kNumber<V>;
    c.few = std::is_enum_v<V>;
    c.text = [get, h = c.how](const T& row, const T&) { return value_text(std::invoke(get, row), h); };
    c.json = [get](const T& row) { return Json(value_json(std::invoke(get, row))); };
    if constexpr (stored) {
      if constexpr (kReadable<V>)
        c.read = [get, h = c.how](const Field& f, T& row) { read_value(f, h, std::invoke(get, row)); };
      if constexpr (kOptional<V> && kNumber<V>)
        c.add = [get](T& to, const T& from) {
          if (const auto& n = std::invoke(get, from))
            std::invoke(get, to) = std::invoke(get, to).value_or(0) + *n;
        };
      else if constexpr (kNumber<V>)
        c.add = [get](T& to, const T& from) { std::invoke(get, to) += std::invoke(get, from); };
      if (c.how.sum != Sum::add) c.add = nullptr;
    }
    if constexpr (Whole<V>)
      c.number = [get](const T& row) { return static_cast<int64_t>(std::invoke(get, row)); };
    else if constexpr (std::is_same_v<V, std::optional<int64_t>>)
      c.number = [get](const T& row) { return std::invoke(get, row).value_or(0); };
    if constexpr (std::is_same_v<V, NameId>)
      c.less = [get](const T& a, const T& b) {
        return name_of(std::invoke(get, a)) < name_of(std::invoke(get, b));
      };
    else if constexpr (requires(V v) {
                         { v < v } -> std::convertible_to<bool>;
                       })
      c.less = [get](const T& a, const T& b) { return std::invoke(get, a) < std::invoke(get, b); };
  }
  columns_.push_back(std::move(c));
}

// The columns of a record inside the record, each as a column of its own, with a prefix to its name.
template <class T, class Get, class V>
Columns<T> inside(Get get, const Columns<V>& inner, const std::string& prefix = "",
                  Place place = Place::everywhere) {
  Columns<T> out;
  for (const Column<V>& c : inner) {
    Column<T> o{.name = prefix + c.name, .how = c.how, .right = c.right};
    if (place == Place::file && o.how.place == Place::text) continue;
    if (place != Place::everywhere) o.how.place = place;
    o.text = [get, c](const T& row, const T& whole) {
      return c.text(std::invoke(get, row), std::invoke(get, whole));
    };
    if (c.json) o.json = [get, c](const T& row) { return c.json(std::invoke(get, row)); };
    if (c.read) o.read = [get, c](const Field& f, T& row) { c.read(f, std::invoke(get, row)); };
    if (c.add) o.add = [get, c](T& to, const T& from) { c.add(std::invoke(get, to), std::invoke(get, from)); };
    if (c.number) o.number = [get, c](const T& row) { return c.number(std::invoke(get, row)); };
    out.add(Columns<T>(std::move(o)));
  }
  return out;
}

// A column whose JSON is written and read by hand. A null `read`: it is not read.
template <class T>
Columns<T> by_hand(std::string name, std::function<Json(const T&)> json,
                   std::function<void(const Field&, T&)> read) {
  return Columns<T>({.name = std::move(name),
                     .how = {.sum = Sum::none, .place = Place::file},
                     .json = std::move(json),
                     .read = std::move(read)});
}

// One column that holds an object of these columns.
template <class T, class Get, class V>
Columns<T> object(std::string name, Get get, const Columns<V>& inner) {
  std::function<void(const Field&, T&)> read;
  if constexpr (std::is_lvalue_reference_v<std::invoke_result_t<Get, T&>>)
    read = [get, inner](const Field& f, T& row) { read_object(inner, f, std::invoke(get, row)); };
  return by_hand<T>(
      std::move(name), [get, inner](const T& row) { return object_json(inner, std::invoke(get, row)); }, read);
}

// The elements of an array that is indexed by an enum, under the enum's names.
template <class E, class V>
Columns<std::array<V, kNames<E>>> named_by(const How& how = {}) {
  Columns<std::array<V, kNames<E>>> out;
  for (size_t i = 0; i < kNames<E>; ++i) {
    const auto element = [i](auto& values) -> decltype(auto) { return (values[i]); };
    const std::string name(name_of(static_cast<E>(i)));
    How one = how;
    if (!how.heading.empty()) one.heading = name + " " + how.heading;
    out.add({name, element, one});
  }
  return out;
}

// What part of the sum a row has; `part` is a member that is added up.
template <class T>
Columns<T> share(int64_t T::*part, Sum sum = Sum::derived, std::string name = "share") {
  return {std::move(name),
          [part](const T& row, const T& whole) { return percent(row.*part, whole.*part); },
          {.mark = Origin::derived, .sum = sum, .right = true}};
}

// ---- JSON ---------------------------------------------------------------------------------------------------

template <class T>
Json object_json(const Columns<T>& columns, const T& row) {
  Json j = Json::object();
  for (const Column<T>* c : columns.in(Place::file)) j[c->name] = c->json(row);
  return j;
}

template <class T>
void read_object(const Columns<T>& columns, const Field& f, T& row) {
  for (const Column<T>* c : columns.in(Place::file))
    if (c->read && !(c->how.may_lack && !f.has(c->name))) c->read(f.at(c->name), row);
}

template <class T>
std::vector<std::string> names_in_file(const Columns<T>& columns) {
  std::vector<std::string> names;
  for (const Column<T>* c : columns.in(Place::file)) names.push_back(c->name);
  return names;
}

template <class T>
Json table_json(const Columns<T>& columns, const std::vector<T>& rows) {
  std::vector<Json> out;
  for (const T& row : rows) {
    Json cells = Json::array();
    for (const Column<T>* c : columns.in(Place::file)) cells.push_back(c->json(row));
    out.push_back(std::move(cells));
  }
  return table_json(names_in_file(columns), std::move(out));
}

template <class T>
std::vector<T> read_table(const Columns<T>& columns, const Field& f) {
  const auto in_file = columns.in(Place::file);
  std::vector<T> out;
  for (const Field& row : f.rows(names_in_file(columns))) {
    T& r = out.emplace_back();
    for (size_t i = 0; i < in_file.size(); ++i)
      if (in_file[i]->read) in_file[i]->read(row.item(i), r);
  }
  return out;
}

// Records as objects, for JSON that is not read back.
template <class T>
Json objects_json(const Columns<T>& columns, const std::vector<T>& rows) {
  Json out = Json::array();
  for (const T& row : rows) out.push_back(object_json(columns, row));
  return out;
}

// Adds what the summed columns of a table that was read claim; a sum that leaves 64 bits is damage.
template <class T>
void check_sums(const Columns<T>& columns, const Field& table, const std::vector<T>& rows, int64_t& sum) {
  const auto in_file = columns.in(Place::file);
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t c = 0; c < in_file.size(); ++c)
      if (in_file[c]->add && in_file[c]->number &&
          __builtin_add_overflow(sum, in_file[c]->number(rows[i]), &sum))
        table.at("rows").item(i).item(c).fail("numbers whose sum is below 2^63");
}

template <class T>
void add_up(const Columns<T>& columns, T& to, const T& from) {
  for (const Column<T>& c : columns)
    if (c.add) c.add(to, from);
}

template <class T>
T sum_of(const Columns<T>& columns, const std::vector<T>& rows) {
  T sum{};
  for (const T& row : rows) add_up(columns, sum, row);
  return sum;
}

template <class T>
std::string Column<T>::title() const {
  if (!how.heading.empty()) return how.heading;
  std::string text = name;
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

template <class T>
std::string Column<T>::heading() const {
  const std::string text = title() == " " ? "" : title();  // a single space: no heading
  return how.mark ? text + (text.empty() ? "" : " ") + std::string(mark_of(*how.mark)) : text;
}

}  // namespace reckon::profiler
