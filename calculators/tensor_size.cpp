#include "calculators/tensor_size.h"

#include <algorithm>

#include "calculators/devices.h"
#include "calculators/quantity.h"
#include "profiler/text_table.h"
#include "runtime/core/error.h"
#include "runtime/core/format.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

namespace reckon::calculators {
namespace {

constexpr DType kTypes[] = {DType::f64, DType::i64, DType::f32,    DType::bf16,
                            DType::f16, DType::u8,  DType::f8e4m3, DType::f8e5m2};

Exact product(const std::vector<int64_t>& shape) {
  Exact n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

std::vector<AxisGrowth> growth_of(const std::vector<int64_t>& shape, Exact bytes) {
  std::vector<AxisGrowth> out;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    const auto found =
        std::find_if(out.begin(), out.end(), [&](const AxisGrowth& g) { return g.extent == shape[i]; });
    AxisGrowth& g = found != out.end() ? *found : out.emplace_back(AxisGrowth{{}, shape[i], bytes});
    g.axes.push_back(i);
    g.bytes_if_doubled *= 2;
  }
  return out;
}

// Shapes that sequence and structure models make; letters as in models/.
std::vector<std::string> origins_of(const std::vector<int64_t>& s) {
  std::vector<std::string> out;
  const size_t n = s.size();
  const bool last_two_equal = n >= 2 && s[n - 1] == s[n - 2];
  if (n == 5 && s[1] == s[2] && s[3] == s[4])
    out.emplace_back(
        "outer product of every pair before its projection, [B, r, r, c, c]: the pair axes (1, 2) and the "
        "channel axes (3, 4) both enter squared");
  if (n == 4 && s[1] == s[2] && !last_two_equal) out.emplace_back("a pair representation [B, R, R, c]");
  if (n == 4 && s[1] == s[2] && s[3] > 256) out.emplace_back("outer products flattened, [B, r, r, c*c]");
  if (n == 4 && last_two_equal) out.emplace_back("attention scores or probabilities [B, heads, S, S]");
  if (n == 5 && last_two_equal && s[3] != s[2] && s[1] != s[2])
    out.emplace_back(
        s[1] == s[3] ? "triangle attention scores [B, R, heads, R, R]: cubic in R"
                     : "attention scores of an alignment, one matrix per row and head, [B, rows, heads, R, R]");
  if (n == 5 && s[1] != s[2] && !last_two_equal)
    out.emplace_back("keys or values of all layers [L, B, heads, S, D], or split heads of a pair");
  if (n == 4 && s[1] != s[2] && !last_two_equal)
    out.emplace_back("an alignment [B, rows, R, c], or split heads [B, heads, S, D]");
  if (n == 3 && s[2] > 16 * s[1]) out.emplace_back("logits [B, S, vocabulary]");
  if (n == 3)
    out.emplace_back(last_two_equal ? "a mask or bias over pairs [B, S, S]" : "hidden states [B, S, H]");
  if (n == 2) out.emplace_back("a weight matrix [out, in], or an embedding table [vocabulary, H]");
  if (n == 1) out.emplace_back("a bias, a norm's scale, or a flat buffer");
  return out;
}

std::vector<SmallerForm> smaller_forms(const TensorText& t, Exact elements) {
  std::vector<SmallerForm> out;
  const auto& s = t.shape;
  const auto size = static_cast<int64_t>(size_of(t.dtype));
  if (size > 2) out.push_back({"bf16 or f16 instead", elements * 2});
  const auto widest = std::max_element(s.begin(), s.end());
  if (widest != s.end() && *widest > 1) {
    const int64_t chunk = (*widest + 1) / 2;
    out.push_back(
        {fmt::format("in two pieces along axis {}", widest - s.begin()), elements / *widest * chunk * size});
  }
  if (s.size() > 1 && s[0] > 1) out.push_back({"one element of axis 0 at a time", elements / s[0] * size});
  const size_t n = s.size();
  if (n == 5 && s[1] == s[2] && s[3] == s[4])
    out.push_back(
        {"never stored: project every outer product at once (exact; --fuse outer-product). What remains per r: "
         "[B, r, c_z, c] with c_z = c",
         Exact(s[0]) * s[1] * s[3] * s[4] * size});
  if (n >= 4 && s[n - 1] == s[n - 2] && !(n == 5 && s[1] == s[2]))
    out.push_back({"never stored: fused attention (--fuse attention) keeps two numbers per row",
                   elements / s[n - 1] * 8});
  if (n == 3 && s[2] > 16 * s[1])
    out.push_back({"never stored: fused head and loss (--fuse cross-entropy) keeps two numbers per token",
                   Exact(s[0]) * s[1] * 8});
  return out;
}

}  // namespace

TensorText parse_tensor(std::string_view text, DType fallback) {
  TensorText t;
  t.dtype = fallback;
  std::string word;
  std::vector<std::string> words;
  std::string cleaned;
  for (size_t i = 0; i < text.size(); ++i) {
    // The multiplication sign is two bytes.
    if (text[i] == '\xC3' && i + 1 < text.size() && text[i + 1] == '\x97')
      cleaned += ' ', ++i;
    else
      cleaned += text[i];
  }
  for (const char c : cleaned + " ") {
    const bool after_digits =
        !word.empty() && std::all_of(word.begin(), word.end(), [](char d) { return d >= '0' && d <= '9'; });
    const bool separator = c == ' ' || c == ',' || c == '[' || c == ']' || c == '(' || c == ')' || c == '*' ||
                           ((c == 'x' || c == 'X') && (after_digits || (word.empty() && !words.empty())));
    if (!separator) {
      word += c;
      continue;
    }
    if (!word.empty()) words.push_back(word);
    word.clear();
  }
  const auto fail = [&](std::string_view why) {
    raise_error(
        fmt::format("'{}' is not a tensor: {}; expected extents and a type, such as \"32x501x501x128x128 f32\" "
                    "or \"[4, 8] bf16\"",
                    text, why));
  };
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& w = words[i];
    const bool digits = std::all_of(w.begin(), w.end(), [](char d) { return d >= '0' && d <= '9'; });
    if (digits) {
      const Exact extent = Exact::parse(w);
      if (extent < 1) fail("an extent is 0");
      if (!extent.fits_int64()) fail(fmt::format("extent {} does not fit into 64 bits", w));
      t.shape.push_back(extent.to_int64("extent"));
    } else if (i + 1 == words.size() && !t.shape.empty() && w[0] >= 'a' && w[0] <= 'z') {
      t.dtype = dtype_from_name(w);
    } else {
      fail(fmt::format("'{}' is neither a positive whole number nor a type at the end", w));
    }
  }
  if (t.shape.empty()) fail("there is no extent");
  return t;
}

TensorSize explain_tensor(const TensorText& tensor) {
  TensorSize t;
  t.tensor = tensor;
  t.elements = product(tensor.shape);
  t.bytes = t.elements * static_cast<int64_t>(size_of(tensor.dtype));
  t.growth = growth_of(tensor.shape, t.bytes);
  t.origins = origins_of(tensor.shape);
  t.smaller = smaller_forms(tensor, t.elements);
  if (tensor.shape.size() <= kMaxRank && t.bytes < Exact(int64_t{1} << 62)) {
    Device device(DeviceKind::meta, DeviceSpec::this_machine());
    const Tensor made = Tensor::empty(device, Shape(std::span<const int64_t>(tensor.shape)), tensor.dtype);
    t.dry_run_bytes = static_cast<int64_t>(device.arena().stats().requested);
    t.dry_run_reserved = static_cast<int64_t>(device.arena().stats().reserved);
  }
  return t;
}

namespace {

using profiler::Columns;
using profiler::Origin;
using profiler::Place;
using profiler::Table;
using profiler::TextTable;

std::string power_text(const AxisGrowth& g) {
  constexpr const char* kPower[] = {"", "linear", "square", "cube"};
  return g.axes.size() < 4 ? kPower[g.axes.size()] : fmt::format("power {}", g.axes.size());
}

const Columns<AxisGrowth> kGrowthColumns{
    {"axes", &AxisGrowth::axes, {.place = Place::file}},
    {"axes_listed",
     [](const AxisGrowth& g) { return fmt::format("{}", fmt::join(g.axes, ", ")); },
     {.heading = "axes", .place = Place::text}},
    {"extent", &AxisGrowth::extent},
    {"growth", power_text, {.place = Place::text}},
    {"bytes_if_doubled", &AxisGrowth::bytes_if_doubled, {.place = Place::file}},
    {"bytes when doubled",
     [](const AxisGrowth& g) { return decimal_bytes(g.bytes_if_doubled); },
     {.mark = Origin::formula, .place = Place::text, .right = true}},
};

Columns<SmallerForm> smaller_columns(Exact bytes) {
  return {
      {"how", &SmallerForm::how},
      {"bytes", &SmallerForm::bytes, {.mark = Origin::formula}},
      {"of this",
       [bytes](const SmallerForm& s) { return fmt::format("{:.4f}", s.bytes.to_double() / bytes.to_double()); },
       {.mark = Origin::derived, .place = Place::text, .right = true}},
  };
}

}  // namespace

void write_tensor_size(std::ostream& out, const TensorSize& t) {
  out << fmt::format("{} {}: {} elements x {} bytes = {} bytes [f] = {} = {}\n",
                     fmt::join(t.tensor.shape, " x "), name_of(t.tensor.dtype), format_count(t.elements),
                     size_of(t.tensor.dtype), format_count(t.bytes), decimal_bytes(t.bytes),
                     binary_bytes(t.bytes));
  if (t.dry_run_bytes)
    out << fmt::format("An allocation of it in a dry run: {} bytes [c], {}; segments of {} reserved\n",
                       format_count(*t.dry_run_bytes),
                       Exact(*t.dry_run_bytes) == t.bytes ? "equal" : "DIFFERENT",
                       binary_bytes(*t.dry_run_reserved));
  else
    out << "Too large for a dry run's address space, or more than 8 axes: the formula alone\n";
  Table types("lrrr", {"type", "bytes [f]", "GB", "GiB"});
  for (const DType d : kTypes) {
    const Exact bytes = t.elements * static_cast<int64_t>(size_of(d));
    types.row({std::string(name_of(d)), format_count(bytes), fmt::format("{:.4f}", bytes.to_double() / 1e9),
               fmt::format("{:.4f}", bytes.to_double() / 0x1p30)});
  }
  out << "\nIn every type\n" << types;
  TextTable growth(kGrowthColumns);
  growth.rows(t.growth);
  out << "\nWhat makes it grow\n" << growth << "\nWhat it could be (by its shape alone)\n";
  for (const std::string& o : t.origins) out << "  " << o << "\n";
  if (t.origins.empty()) out << "  no shape of these models\n";
  Table devices("lrl", {"device", "memory", "this tensor"});
  for (const KnownDevice& d : known_devices()) {
    const double share = t.bytes.to_double() / static_cast<double>(d.memory_bytes);
    devices.row({std::string(d.name), decimal_bytes(d.memory_bytes),
                 share <= 1 ? fmt::format("{:.1f} % of it", 100 * share)
                            : fmt::format("{:.1f} times more than it has", share)});
  }
  TextTable smaller(smaller_columns(t.bytes));
  smaller.rows(t.smaller);
  out << "\nAgainst memory as sold\n" << devices << "\nSmaller forms\n" << smaller;
}

nlohmann::ordered_json tensor_size_json(const TensorSize& t) {
  using Json = nlohmann::ordered_json;
  Json j{{"shape", t.tensor.shape},
         {"dtype", std::string(name_of(t.tensor.dtype))},
         {"elements", profiler::value_json(t.elements)},
         {"bytes", profiler::value_json(t.bytes)}};
  if (t.dry_run_bytes) j["dry_run_bytes"] = *t.dry_run_bytes;
  j["origins"] = t.origins;
  if (!t.growth.empty()) j["growth"] = objects_json(kGrowthColumns, t.growth);
  if (!t.smaller.empty()) j["smaller"] = objects_json(smaller_columns(t.bytes), t.smaller);
  return j;
}

}  // namespace reckon::calculators
