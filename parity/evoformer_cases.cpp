#include "parity/evoformer_cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "autograd/autocast.h"
#include "autograd/node.h"
#include "parity/books.h"
#include "parity/step.h"
#include "runtime/events/scope.h"

namespace reckon::parity {

ModuleRun::ModuleRun(Case& c, std::span<const models::NameRule> names)
    : file(c),
      config(c.meta_json("config")),
      call(c.meta_json("call")),
      storage(c.settings().dtype == DType::f64 ? DType::f64 : DType::f32),
      names_(names) {}

int64_t ModuleRun::size(const char* key) const {
  RECKON_CHECK(config.contains(key) && config[key].is_number_integer(),
               "config field '{}' must be an integer in {}", key, config.dump());
  return config[key].get<int64_t>();
}

double ModuleRun::real(const char* key, double fallback) const { return config.value(key, fallback); }

void ModuleRun::require(const char* key, const Json& value) const {
  RECKON_CHECK(!config.contains(key) || config[key] == value,
               "cannot run: config field '{}' is {}, only {} is supported", key, config[key].dump(),
               value.dump());
}

Tensor ModuleRun::in(const std::string& name) {
  Tensor& t = inputs_[name];
  if (t.defined()) return t;
  RECKON_CHECK(file.has("in." + name), "the file has no in.{}", name);
  t = file.upload("in." + name, storage);
  autograd::set_requires_grad(t);
  return t;
}

Tensor ModuleRun::mask(const std::string& name) {
  return file.has("in." + name) ? file.upload("in." + name, storage) : Tensor{};
}

void ModuleRun::load_parameters() {
  for (const std::string& theirs : file.names_under("param.")) {
    const std::string ours = models::our_name(theirs, names_);
    const Tensor* t = parameters.find(ours);
    RECKON_CHECK(t, "param.{} would be '{}' here, but what was built has no such parameter", theirs, ours);
    RECKON_CHECK(theirs_.emplace(ours, theirs).second, "param.{} and another one are both '{}' here", theirs,
                 ours);
    const std::string full = "param." + theirs;
    RECKON_CHECK(t->shape() == file.shape(full), "{} is {} in the file, {} here", full,
                 to_string(file.shape(full)), to_string(t->shape()));
    const Tensor values = file.upload(full, storage);
    if (file.executes()) t->copy_from_host(values.to_host().data(), t->bytes());
  }
  for (const auto& p : parameters.all())
    RECKON_CHECK(theirs_.count(p.name), "the file has no parameter for '{}'", p.name);
}

namespace {

// Output tolerance, gradient tolerance. float32: the sharper bars of the producer's own deviations. bfloat16:
// twice the producer's, which a relu's sign flips and the depth of a block dominate.
struct Bars {
  Tolerance out, grad;
};

Bars bars(const Case& c) {
  const Json given = c.meta_json("tolerance");
  switch (c.settings().dtype) {
    case DType::f64: {
      const double t = given.value("float64_rtol", 1e-9);
      return {{Measure::elementwise, t}, {Measure::elementwise, t}};
    }
    case DType::f32:
      return {{Measure::elementwise, 1e-5}, {Measure::elementwise, 5e-5}};
    default:
      return {{Measure::rms, 0.03}, {Measure::rms, 0.3}};
  }
}

// Where an output of a padded case is defined: its own mask, found by the axes it shares with the output.
std::vector<double> defined_positions(const Case& c, const std::string& output) {
  const Shape out = c.shape("out." + output);
  if (output == "s" && !c.has("in.mask") && c.has("in.msa_mask")) {  // the single track is the first row's
    const Shape m = c.shape("in.msa_mask");
    const std::vector<double> all = c.values("in.msa_mask");
    std::vector<double> first;
    for (int64_t b = 0; b < m[0]; ++b)
      first.insert(first.end(), all.begin() + b * m[1] * m[2], all.begin() + (b * m[1] + 1) * m[2]);
    return first;
  }
  for (const char* mask : {"msa_mask", "pair_mask", "mask"}) {
    const std::string name = std::string("in.") + mask;
    if (!c.has(name)) continue;
    const bool pair = std::string_view(mask) == "pair_mask";
    if ((output == "z") != pair && output != "update") continue;
    const Shape s = c.shape(name);
    if (s.rank() == out.rank() - 1 && out.slice(0, s.rank()) == s) return c.values(name);
  }
  raise_error(fmt::format("cannot run: out.{} of a padded case has no mask of its positions", output));
}

double largest_gradient(const Case& c) {
  double m = 0;
  for (const std::string& n : c.names_under("grad."))
    for (double v : c.values("grad." + n)) m = std::max(m, std::fabs(v));
  return m;
}

void compare_gradients(ModuleRun& run, const Bars& bar) {
  Case& c = run.file;
  std::set<std::string> zeros;
  for (const Json& z : c.meta_json("zero_grads")) zeros.insert(z.get<std::string>());
  const double scale = zeros.empty() ? 1 : largest_gradient(c);
  const auto compare = [&](const std::string& name, const Tensor& leaf) {
    if (!c.has(name)) return;
    const Tensor grad = autograd::grad_of(leaf);
    if (!zeros.count(name)) return c.compare(name, grad, bar.grad);
    c.use(name);
    if (!c.executes()) return;
    double largest = 0;
    for (double v : to_doubles(grad)) largest = std::max(largest, std::isnan(v) ? INFINITY : std::fabs(v));
    c.report().check(name + " (zero)", largest / scale, bar.grad.value);
  };
  for (const auto& p : run.parameters.all()) compare("grad.param." + run.their_names().at(p.name), p.tensor);
  for (const auto& [name, t] : run.inputs()) compare("grad.in." + name, t);
}

// sum of out * cot, against the magnitude of what is added up.
void compare_loss(Case& c, const Outputs& outputs, const Bars& bar) {
  if (!c.has("loss")) return;
  c.use("loss");
  if (!c.executes()) return;
  double loss = 0, magnitude = 0;
  for (const auto& [name, t] : outputs) {
    const std::vector<double> a = to_doubles(t), w = c.values("cot." + name);
    for (size_t i = 0; i < a.size(); ++i) {
      loss += w[i] == 0 ? 0 : a[i] * w[i];
      magnitude += std::fabs(a[i] * w[i]);
    }
  }
  c.report().check("loss", std::fabs(loss - c.values("loss").at(0)) / magnitude, bar.out.value);
}

const PublicClass& find_class(const Json& source) {
  const std::string repo = source.at("repo"), cls = source.at("cls");
  for (const PublicClass& p : public_classes())
    if (repo == p.repo && cls == p.cls) return p;
  raise_error(fmt::format("cannot run: class '{}' of {} is not known here", cls, repo));
}

}  // namespace

void run_evoformer_case(Case& c, Books* books) {
  const Json source = c.meta_json("source");
  const PublicClass& cls = find_class(source);
  c.report().kind = cls.cls;
  ModuleRun run(c, cls.names());
  const auto forward = cls.build(run);
  run.load_parameters();

  const Bars bar = bars(c);
  autograd::CheckpointScope policy(c.settings().checkpoint);
  autograd::AutocastScope precision(c.settings().dtype);
  FlopCounter flops(c.device());
  Outputs outputs;
  {
    PhaseScope phase(Phase::forward);
    outputs = forward();
  }
  if (books) books->saved_bytes = static_cast<int64_t>(c.device().arena().live_bytes(Category::saved));
  const bool padded = run.call.value("mask", std::string()) == "padded";
  TensorList roots, seeds;
  for (const auto& [name, t] : outputs) {
    c.compare("out." + name, t, bar.out, padded ? defined_positions(c, name) : std::vector<double>{});
    roots.push_back(t);
    seeds.push_back(c.upload("cot." + name, run.storage));
  }
  compare_loss(c, outputs, bar);
  outputs.clear();
  backward_from(roots, seeds);
  flops.write_to(books);
  compare_gradients(run, bar);
  c.ignore_under("mid.", "an intermediate of the producer, seen through outputs and gradients");
}

StepModel open_module_step(Case& c) {
  const PublicClass& cls = find_class(c.meta_json("source"));
  auto run = std::make_shared<ModuleRun>(c, cls.names());
  const auto module = cls.build(*run);
  run->load_parameters();
  StepModel step;
  step.kind = cls.cls;
  step.parameters = &run->parameters;
  for (const auto& p : run->parameters.all())
    step.leaves.emplace_back("param." + run->their_names().at(p.name), p.tensor);
  for (const auto& [name, t] : run->inputs()) step.leaves.emplace_back("in." + name, t);
  for (const std::string& name : c.names_under("cot."))
    step.seeds.push_back(c.upload("cot." + name, run->storage));
  step.forward = [run, module, names = c.names_under("cot.")] {
    PhaseScope phase(Phase::forward);
    const Outputs outputs = module();
    TensorList list;
    for (const std::string& name : names) {
      RECKON_CHECK(outputs.count(name), "the file has cot.{}, but '{}' is no output of the class", name, name);
      list.push_back(outputs.at(name));
    }
    return list;
  };
  return step;
}

}  // namespace reckon::parity
