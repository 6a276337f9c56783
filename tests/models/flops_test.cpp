// The FLOPs module's functions against its own records and against an independent
// evaluation of its rules in Python.
#include "models/qwen/flops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "parity/cases.h"
#include "runtime/core/error.h"

namespace reckon::models {
namespace {

TEST(FlopsModule, EveryStoredRecordIsMetExactly) {
  const parity::Report r = parity::run_file(RECKON_TEST_DATA "/reference/qwen2/flops_qwen_formulas.json", {});
  EXPECT_EQ(r.checks.size(), 94u);
  EXPECT_TRUE(r.passed()) << (r.problems.empty() ? r.worst()->tensor : r.problems[0]);
  EXPECT_TRUE(r.not_a_case.empty());
}

struct Attention {
  int64_t batch, seq, hidden, heads, r;
  const char* value;
};

TEST(FlopsModule, AttentionTakesAFloatingHeadWidthAndCutsTheSum) {
  // Widths that heads do not divide, and sums above 2^53, where the floating-point sum is what counts.
  for (const Attention& a : {Attention{3, 7, 100, 7, 0, "1739619"},
                             {5, 11, 50, 3, 2, "1249215"},
                             {1, 13, 10, 4, 1, "24466"},
                             {2, 5, 9, 7, 0, "11680"},
                             {7, 333, 1001, 17, 5, "21973465206"},
                             {64, 32768, 8192, 60, 16, "3424068187455488"},
                             {64, 32768, 8192, 64, 16, "3427091844431872"},
                             {128, 131072, 16384, 96, 8, "182473575356170240"},
                             {1000, 1000003, 12289, 13, 3, "50507541610170261504"}})
    EXPECT_EQ(flops_attention(a.batch, a.seq, a.hidden, a.heads, a.r).digits(), a.value)
        << a.hidden << " / " << a.heads;
}

TEST(FlopsModule, FeedForwardCutsItsWidth) {
  EXPECT_EQ(flops_feedforward(3, 5, 100, 2.999), Exact(1850805));
  EXPECT_EQ(flops_feedforward(1, 1, 10, 0.7), Exact(361));
  EXPECT_EQ(flops_feedforward(1, 1, 64), Exact(68800)) << "the ratio is 4 when none is given";
}

TEST(FlopsModule, WholeTrainingsBeyond64BitsStayExact) {
  EXPECT_EQ(flops_for_experiment(1000000, 2048, 4096, 8192, 80, 64, 3.609375, 0).digits(),
            "3371030997016510464000000");
  EXPECT_EQ(flops_for_experiment(0, 1, 1, 64, 2, 4, 4.0, 0), Exact(0));
}

TEST(FlopsModule, NonsenseIsAnErrorNeverANumber) {
  EXPECT_THROW(flops_embedding(0, 512, 896), Error);
  EXPECT_THROW(flops_embedding(4, -512, 896), Error);
  EXPECT_THROW(flops_attention(4, 512, 896, 0), Error);
  EXPECT_THROW(flops_attention(4, 512, 896, 14, -1), Error);
  EXPECT_THROW(flops_feedforward(4, 512, 896, std::nan("")), Error);
  EXPECT_THROW(flops_feedforward(4, 512, 896, -1.0), Error);
  EXPECT_THROW(flops_feedforward(1, 1, 3, 0.3), Error) << "no column at all";
  EXPECT_THROW(flops_qwen_model(4, 512, 896, -1, 14, 5.0), Error);
  EXPECT_THROW(flops_for_experiment(-1, 4, 512, 896, 24, 14, 5.0, 0), Error);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_THROW(flops_embedding(kMost, kMost, kMost), Error);
  EXPECT_THROW(flops_for_experiment(kMost, kMost, 2, 896, 24, 14, 5.0, 0), Error);
}

TEST(FlopsModule, RecordsThatAreWrongOrUnreadableFail) {
  const auto run = [](const std::string& text) {
    parity::Report r;
    parity::run_flops_records(nlohmann::json::parse(text), r);
    return r;
  };
  const auto passes = [&](const char* function, const char* args, const char* value) {
    return run(fmt::format(R"([{{"function":"{}","args":{{{}}},"value":{}}}])", function, args, value))
        .passed();
  };
  EXPECT_TRUE(passes("flops_norm", R"("batch_size":1,"seq_len":1,"hidden_dim":64)", "267"));
  EXPECT_FALSE(passes("flops_norm", R"("batch_size":1,"seq_len":1,"hidden_dim":64)", "268"));
  EXPECT_FALSE(passes("flops_nothing", R"("batch_size":1,"seq_len":1,"hidden_dim":64,"num_heads":1)", "268"));
  EXPECT_FALSE(passes("flops_norm", R"("batch_size":1,"seq_len":1)", "267")) << "an argument is missing";
  EXPECT_FALSE(passes("flops_norm", R"("batch_size":1,"seq_len":1,"hidden_dim":64,"bias":1)", "267"));
  EXPECT_FALSE(passes("flops_norm", R"("batch_size":1.5,"seq_len":1,"hidden_dim":64)", "267"));
  EXPECT_TRUE(passes("flops_attention", R"("batch_size":1,"seq_len":1,"hidden_dim":64,"num_heads":4)", "32748"))
      << "r has a default";
  EXPECT_TRUE(passes("flops_for_experiment",
                     R"("num_steps":1000000,"batch_size":2048,"seq_len":4096,"hidden_dim":8192,"num_layers":80,
                        "num_heads":64,"ffn_ratio":3.609375,"r":0)",
                     "3371030997016510464000000"))
      << "beyond 64 bits the file's reader gives a double";
  EXPECT_THROW(run("[]"), Error);
}

}  // namespace
}  // namespace reckon::models
