// Records of the coursework's FLOPs module: function, arguments by name, value.
// Every value must be met exactly.
#include <cmath>
#include <limits>

#include "models/qwen/flops.h"
#include "parity/cases.h"

namespace reckon::parity {
namespace {

// The arguments of one record; what the function has a default for may be left out.
class Arguments {
 public:
  explicit Arguments(const Json& args) : args_(args) {
    RECKON_CHECK(args.is_object(), "the arguments must be an object of names and numbers, got {}", args.dump());
  }

  int64_t integer(const char* name) { return whole(name, take(name)); }
  int64_t integer(const char* name, int64_t fallback) {
    return args_.contains(name) ? integer(name) : fallback;
  }
  double real(const char* name) {
    const Json& v = take(name);
    RECKON_CHECK(v.is_number(), "{} must be a number, got {}", name, v.dump());
    return v.get<double>();
  }
  double real(const char* name, double fallback) { return args_.contains(name) ? real(name) : fallback; }
  bool flag(const char* name, bool fallback) {
    if (!args_.contains(name)) return fallback;
    const Json& v = take(name);
    RECKON_CHECK(v.is_boolean(), "{} must be true or false, got {}", name, v.dump());
    return v.get<bool>();
  }
  void finish() const {
    for (const auto& [name, value] : args_.items())
      RECKON_CHECK(used_.count(name), "unknown argument {} = {}", name, value.dump());
  }

 private:
  const Json& take(const char* name) {
    RECKON_CHECK(args_.contains(name), "argument {} is missing", name);
    used_.insert(name);
    return args_.at(name);
  }
  static int64_t whole(const char* name, const Json& v) {
    RECKON_CHECK(v.is_number_integer(), "{} must be a whole number, got {}", name, v.dump());
    RECKON_CHECK(!v.is_number_unsigned() || v.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()},
                 "{} = {} does not fit into 64 bits", name, v.dump());
    return v.get<int64_t>();
  }

  const Json& args_;
  std::set<std::string> used_;
};

Exact evaluate(const std::string& function, Arguments& a) {
  using namespace models;
  if (function == "flops_for_experiment") {
    const int64_t steps = a.integer("num_steps"), b = a.integer("batch_size"), s = a.integer("seq_len"),
                  h = a.integer("hidden_dim"), layers = a.integer("num_layers"), heads = a.integer("num_heads");
    const double ratio = a.real("ffn_ratio");
    const int64_t r = a.integer("r");
    return flops_for_experiment(steps, b, s, h, layers, heads, ratio, r, a.flag("training", true));
  }
  const int64_t b = a.integer("batch_size"), s = a.integer("seq_len");
  if (function == "flops_cross_entropy_loss") return flops_cross_entropy_loss(b, s);
  const int64_t h = a.integer("hidden_dim");
  if (function == "flops_embedding") return flops_embedding(b, s, h);
  if (function == "flops_norm") return flops_norm(b, s, h);
  if (function == "flops_feedforward") return flops_feedforward(b, s, h, a.real("ffn_ratio", 4.0));
  if (function == "flops_qwen_model") {
    const int64_t layers = a.integer("num_layers"), heads = a.integer("num_heads");
    const double ratio = a.real("ffn_ratio");
    return flops_qwen_model(b, s, h, layers, heads, ratio, a.integer("r", 0));
  }
  const int64_t heads = a.integer("num_heads");
  if (function == "flops_attention") return flops_attention(b, s, h, heads, a.integer("r", 0));
  if (function == "flops_transformer_block") {
    const double ratio = a.real("ffn_ratio", 4.0);
    return flops_transformer_block(b, s, h, heads, ratio, a.integer("r", 0));
  }
  raise_error(fmt::format("unknown function '{}'", function));
}

// How far a count is from a JSON number. Beyond 64 bits the file's reader rounds to a double, so both are
// compared as doubles.
double difference(Exact got, const Json& expected) {
  RECKON_CHECK(expected.is_number(), "the value must be a number, got {}", expected.dump());
  if (expected.is_number_float()) return std::fabs(got.to_double() - expected.get<double>());
  const Exact value =
      expected.is_number_unsigned() ? Exact(expected.get<uint64_t>()) : Exact(expected.get<int64_t>());
  return std::fabs((got - value).to_double());
}

}  // namespace

void run_flops_records(const Json& records, Report& report) {
  report.kind = "FLOPs of the coursework";
  RECKON_CHECK(records.is_array() && !records.empty(), "records must be a list with at least one record");
  size_t n = 0;
  for (const Json& record : records) {
    const std::string row = fmt::format("record {}", n++);
    try {
      RECKON_CHECK(record.is_object() && record.contains("function") && record["function"].is_string() &&
                       record.contains("args") && record.contains("value"),
                   "expected function, args and value");
      const std::string function = record["function"];
      Arguments arguments(record["args"]);
      const Exact got = evaluate(function, arguments);
      arguments.finish();
      report.check(row + " " + function, difference(got, record["value"]), 0);
    } catch (const Error& e) {
      report.problems.push_back(fmt::format("{}: {}", row, e.what()));
    }
  }
}

}  // namespace reckon::parity
