// Every registered op with one extent of a case after the other made 0 wherever it stands. Nothing here names an op.
#include <gtest/gtest.h>

#include <set>

#include "ops/op.h"
#include "tests/ops/empty_support.h"
#include "tests/support/event_log.h"

namespace reckon::testing {
namespace {

ops::OpCase without(const ops::OpCase& c, int64_t extent) {
  ops::OpCase changed = c;
  for (ops::InputSpec& in : changed.inputs)
    for (int i = 0; i < in.shape.rank(); ++i)
      if (in.shape[i] == extent) in.shape[i] = 0;
  return changed;
}

struct EveryOpWithoutElements : ::testing::TestWithParam<const ops::OpDef*> {};

TEST_P(EveryOpWithoutElements, RunsAsItsDryRunAndWritesWhatItGives) {
  const ops::OpDef& op = *GetParam();
  for (const ops::OpCase& original : op.cases()) {
    std::set<int64_t> extents;
    for (const ops::InputSpec& in : original.inputs) extents.insert(in.shape.begin(), in.shape.end());
    extents.erase(0);
    for (int64_t extent : extents) {
      const ops::OpCase c = without(original, extent);
      const std::string where = fmt::format("{} / {} without {}", op.name, c.name, extent);
      std::string errors[3];
      std::vector<V> outputs[3];
      std::vector<Event> logs[3];
      for (int k = 0; k < 3; ++k) {  // f32, its dry run, f64
        auto device = make_device(k == 1 ? DeviceKind::meta : DeviceKind::cpu);
        leave_behind(*device, k == 0 ? 7.0 : -5.0);
        EventLog log;
        device->add_sink(&log);
        try {
          const TensorList in = make_inputs(*device, c, k == 2 ? DType::f64 : DType::f32, 11);
          const TensorList out = ops::call(op, in, c.attrs);
          logs[k] = log.events;
          for (const Tensor& t : out) outputs[k].push_back(k == 1 ? V() : to_doubles(t));
        } catch (const Error& e) {
          errors[k] = e.what();
        }
        device->remove_sink(&log);
      }
      if (errors[0].find("is outside") != std::string::npos)
        continue;  // an index into nothing: a dry run has none
      EXPECT_EQ(errors[0], errors[1]) << where;
      EXPECT_EQ(errors[0].empty(), errors[2].empty()) << where << ": " << errors[0] << " / " << errors[2];
      if (!errors[0].empty()) continue;  // the other inputs or the attributes forbid it, on every device
      EXPECT_EQ(first_difference(logs[0], logs[1]), "") << where;
      if (outputs[0][0].empty()) continue;  // statistics of nothing are not read
      for (size_t i = 0; i < outputs[0].size(); ++i)
        expect_values(outputs[0][i], outputs[2][i], fmt::format("{} / output {}", where, i));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registered, EveryOpWithoutElements,
                         ::testing::ValuesIn(ops::all_ops().begin(), ops::all_ops().end()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace reckon::testing
