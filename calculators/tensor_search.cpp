#include "calculators/tensor_search.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "autograd/autocast.h"
#include "autograd/engine.h"
#include "autograd/fusion.h"
#include "autograd/grad_mode.h"
#include "autograd/node.h"
#include "models/evoformer/extra_msa.h"
#include "profiler/book_columns.h"
#include "profiler/text_table.h"
#include "runtime/core/format.h"
#include "runtime/events/scope.h"

namespace reckon::calculators {
namespace {

constexpr int kWholePath = 16;
constexpr int64_t kMostMultiples = 4096;

std::vector<FoundTensor> group(const Recording& run, const std::function<int64_t(int64_t)>& multiple_of) {
  using Key = std::tuple<std::string, std::string, std::string, int64_t, std::string, Category>;
  std::map<Key, FoundTensor> groups;
  std::unordered_map<int64_t, FoundTensor*> by_id;
  for (size_t i = 0; i < run.events.size(); ++i) {
    const Event& e = run.events[i];
    if (e.kind == EventKind::saved) {
      if (const auto it = by_id.find(e.id); it != by_id.end()) it->second->saved = true;
    }
    if (e.kind != EventKind::allocated) continue;
    const int64_t multiple = multiple_of(e.bytes);
    if (multiple == 0) continue;
    const auto made = run.tensors.find(e.id);
    const std::string shape = made == run.tensors.end()
                                  ? ""
                                  : std::string(name_of(made->second.dtype)) + to_string(made->second.shape);
    const std::string module = profiler::collapse_path(name_of(e.module), kWholePath);
    FoundTensor& f =
        groups[{profiler::op_name(e.op), module, std::string(name_of(e.label)), e.bytes, shape, e.category}];
    if (f.count++ == 0) {
      f.op = profiler::op_name(e.op);
      f.module = module;
      f.label = std::string(name_of(e.label));
      if (made != run.tensors.end()) f.tensor = made->second;
      f.phase = e.phase;
      f.category = e.category;
      f.bytes = e.bytes;
      f.first_event = static_cast<int64_t>(i);
      f.multiple = multiple;
    }
    by_id[e.id] = &f;
  }
  std::vector<FoundTensor> out;
  for (auto& [key, f] : groups) out.push_back(std::move(f));
  return out;
}

std::string shape_text(const FoundTensor& f) {
  return f.tensor ? fmt::format("{}{}", name_of(f.tensor->dtype), to_string(f.tensor->shape)) : "workspace";
}

}  // namespace

TensorSearch search_tensors(const Recording& run, const WrittenBytes& wanted, double tolerance) {
  RECKON_CHECK(tolerance >= 0 && tolerance < 1, "the tolerance must be in [0, 1), got {}", tolerance);
  TensorSearch s;
  s.wanted = wanted;
  s.description = run.description;
  s.tolerance = tolerance;
  const Exact slack = Exact::truncated(wanted.bytes.to_double() * tolerance);
  const Exact low = wanted.low - slack, high = wanted.high + slack;
  for (const Event& e : run.events) {
    if (e.kind != EventKind::allocated) continue;
    ++s.n_allocations;
    s.largest_bytes = std::max(s.largest_bytes, e.bytes);
  }
  s.found = group(run, [&](int64_t b) -> int64_t { return Exact(b) >= low && Exact(b) <= high ? 1 : 0; });
  const auto away = [&](const FoundTensor& f) {
    const Exact d = Exact(f.bytes) - wanted.bytes;
    return d < 0 ? Exact(0) - d : d;
  };
  std::sort(s.found.begin(), s.found.end(), [&](const FoundTensor& a, const FoundTensor& b) {
    const Exact da = away(a), db = away(b);
    return da != db ? da < db : a.first_event < b.first_event;
  });
  if (!s.found.empty()) return s;
  s.multiples = group(run, [&](int64_t b) -> int64_t {
    if (b < 4096) return 0;  // anything is a multiple of a small enough tensor
    const Exact k = high / b;
    return k >= 2 && k <= kMostMultiples && Exact(b) * k >= low ? k.to_int64("multiple") : 0;
  });
  std::sort(s.multiples.begin(), s.multiples.end(), [](const FoundTensor& a, const FoundTensor& b) {
    return a.multiple != b.multiple ? a.multiple < b.multiple : a.first_event < b.first_event;
  });
  return s;
}

Recording record_extra_msa(const ExtraMsaQuestion& q, const DeviceSpec& spec) {
  RECKON_CHECK(q.batch >= 1 && q.rows >= 1 && q.residues >= 1 && q.rows <= int64_t{1} << 24 &&
                   q.residues <= int64_t{1} << 20 && q.batch <= 1 << 20,
               "--batch, --rows and --seq must be at least 1 (and at most 2^20, 2^24, 2^20), got {}, {} and {}",
               q.batch, q.rows, q.residues);
  constexpr int64_t kBlocks = 4;
  Device device(DeviceKind::meta, spec);
  Recording r;
  Recorder recorder(device);
  {
    const models::EvoformerConfig c = models::extra_msa_config();
    models::ParameterSet parameters;
    std::vector<std::unique_ptr<models::ExtraMsaBlock>> blocks;
    {
      PhaseScope phase(Phase::init);
      models::Builder b(device, DType::f32, 1, parameters);
      ModuleScope scope("extra_msa");
      for (int64_t i = 0; i < kBlocks; ++i)
        blocks.push_back(std::make_unique<models::ExtraMsaBlock>(b, std::to_string(i), c));
    }
    device.begin_step(0);
    const int64_t B = q.batch, S = q.rows, R = q.residues;
    const auto input = [&](const Shape& shape, std::string_view label) {
      return Tensor::empty(device, shape, DType::f32, Category::input, label);
    };
    const models::EvoformerInputs in{
        input({B, S, R}, "msa_mask"), input({B, R, R}, "pair_mask"), {.training = true, .recorded = {}}};
    Tensor m = input({B, S, R, c.c_m}, "m"), z = input({B, R, R, c.c_z}, "z");
    TensorList mz{m, z};
    m = z = {};
    {
      PhaseScope phase(Phase::forward);
      ModuleScope scope("extra_msa");
      autograd::CheckpointScope policy(q.checkpoint);
      autograd::AutocastScope precision(q.dtype);
      autograd::FusionScope fusions(q.fuse);
      mz = models::run_blocks(blocks, std::move(mz), [in](const models::ExtraMsaBlock& block, auto v) {
        return block(v[0], v[1], in);
      });
    }
    // Only the pair representation leaves this stack.
    const Tensor seed = input(mz[1].shape(), "seed");
    const TensorList roots{mz[1]}, seeds{seed};
    mz.clear();
    autograd::backward(roots, seeds);
    device.end_step();
    r.n_parameters = r.n_trained = parameters.n_elements();
    r.n_parameter_tensors = static_cast<int64_t>(parameters.all().size());
  }
  r.description = fmt::format(
      "extra-MSA stack of AlphaFold 2: {} blocks, c_m 64, 8 heads of 8, c_z 128; {} parameters; {} rows x {} "
      "residues",
      kBlocks, format_count(r.n_parameters), q.rows, q.residues);
  r.events = recorder.events();
  r.calls = recorder.calls();
  r.tensors = recorder.tensors();
  r.books = profiler::books_of(r.events);
  return r;
}

std::string named_shape(const Shape& shape, const std::vector<std::pair<std::string, int64_t>>& names) {
  std::string out;
  for (const int64_t extent : shape) {
    if (!out.empty()) out += " x ";
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&](const auto& n) { return n.second == extent && extent > 1; });
    out += found == names.end() ? std::to_string(extent) : fmt::format("{} ({})", extent, found->first);
  }
  return out;
}

namespace {

using profiler::Origin;
using profiler::Place;

profiler::Columns<FoundTensor> found_columns(Exact wanted, bool multiples = false) {
  return {
      {"match",
       [wanted, multiples](const FoundTensor& f) -> std::string {
         if (multiples) return fmt::format("{} x", f.multiple);
         return Exact(f.bytes) == wanted ? "exact" : "close";
       },
       {.heading = multiples ? "times" : " ", .place = Place::text}},
      {"bytes", &FoundTensor::bytes, {.mark = Origin::counted}},
      {"tensor", shape_text, {.place = Place::text}},
      {"op", &FoundTensor::op, {.place = Place::file}},
      {"op and label",
       [](const FoundTensor& f) { return f.op + (f.label.empty() ? "" : " " + f.label); },
       {.heading = "op", .place = Place::text}},
      {"module", &FoundTensor::module},
      {"label", &FoundTensor::label, {.place = Place::file}},
      {"phase", &FoundTensor::phase},
      {"category", &FoundTensor::category, {.place = Place::file}},
      {"category later",
       [](const FoundTensor& f) {
         const bool later = f.saved && f.category == Category::transient;
         return std::string(name_of(f.category)) + (later ? ", later saved" : "");
       },
       {.heading = "category", .place = Place::text}},
      {"saved", &FoundTensor::saved, {.place = Place::file}},
      {"count", &FoundTensor::count, {.heading = "how many", .mark = Origin::counted}},
      {"multiple", &FoundTensor::multiple, {.place = Place::file}},
  };
}

}  // namespace

void write_tensor_search(std::ostream& out, const TensorSearch& s,
                         const std::vector<std::pair<std::string, int64_t>>& names, int top) {
  out << s.description << "\n"
      << fmt::format("{} = {} bytes; looked for {} to {} bytes{} among {} allocations of a dry run\n\n",
                     s.wanted.text, format_count(s.wanted.bytes), format_count(s.wanted.low),
                     format_count(s.wanted.high),
                     s.tolerance > 0 ? fmt::format(" +- {:g} %", 100 * s.tolerance) : "",
                     format_count(s.n_allocations));
  const auto print = [&](const std::vector<FoundTensor>& list, bool multiples) {
    profiler::TextTable t(found_columns(s.wanted.bytes, multiples));
    for (size_t i = 0; i < list.size() && static_cast<int>(i) < top; ++i) t.row(list[i]);
    out << t;
    if (static_cast<int>(list.size()) > top)
      out << fmt::format("  and {} more kinds (--top)\n", list.size() - static_cast<size_t>(top));
  };
  if (!s.found.empty()) {
    print(s.found, false);
    const FoundTensor& f = s.found[0];
    if (f.tensor)
      out << fmt::format(
          "\nThe first is {} at {} bytes each: {}\n", named_shape(f.tensor->shape, names),
          size_of(f.tensor->dtype),
          fmt::format("made by op {} of module {}, {} times", f.op, f.module, format_count(f.count)));
    return;
  }
  out << fmt::format("no allocation of that size (the largest is {} bytes, {})\n",
                     format_count(s.largest_bytes), binary_bytes(s.largest_bytes));
  if (s.multiples.empty()) {
    out << "nor a whole multiple of one: other sizes (--batch, --seq, --rows, --dtype), or --tolerance\n";
    return;
  }
  out << "It would be a whole multiple of these: with that many times the batch, rows or heads, or in a wider "
         "type\n";
  print(s.multiples, true);
}

nlohmann::ordered_json tensor_search_json(const TensorSearch& s) {
  using Json = nlohmann::ordered_json;
  const auto list = [](const std::vector<FoundTensor>& v) {
    Json out = Json::array();
    for (const FoundTensor& f : v) {
      Json j = object_json(found_columns(0), f);
      if (f.tensor) {
        j["dtype"] = std::string(name_of(f.tensor->dtype));
        j["shape"] = std::vector<int64_t>(f.tensor->shape.begin(), f.tensor->shape.end());
      }
      out.push_back(std::move(j));
    }
    return out;
  };
  return {
      {"model", s.description},         {"wanted", s.wanted.text}, {"bytes", s.wanted.bytes.to_int64("size")},
      {"allocations", s.n_allocations}, {"found", list(s.found)},  {"multiples", list(s.multiples)}};
}

}  // namespace reckon::calculators
