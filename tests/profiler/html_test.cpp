// The page stands alone, its curve reaches the peak, and names in it stay text.
#include "profiler/html.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "runtime/core/error.h"
#include "runtime/core/format.h"
#include "tests/profiler/network.h"

namespace reckon::testing {
namespace {

using namespace profiler;

std::span<const Event> events_of_step(const std::vector<Event>& all, int64_t step) {
  size_t first = 0;
  while (all[first].kind != EventKind::step_begin || all[first].step != step) ++first;
  size_t last = first;
  while (all[last].kind != EventKind::step_end) ++last;
  return std::span(all).subspan(first, last - first + 1);
}

size_t count(const std::string& text, std::string_view word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

TEST(HtmlReport, NeedsNothingButItself) {
  const TrainedNetwork run = train_network({.policy = autograd::CheckpointPolicy::block});
  const std::string html = to_html(run.record, events_of_step(run.events, 2));
  for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "url("})
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  for (const char* tag : {"svg", "details", "div", "table", "p"})
    EXPECT_EQ(count(html, std::string("<") + tag + " ") + count(html, std::string("<") + tag + ">"),
              count(html, std::string("</") + tag + ">"))
        << tag;
}

TEST(HtmlReport, TheCurveFromEventsAgreesWithTheBooks) {
  const TrainedNetwork run = train_network({.policy = autograd::CheckpointPolicy::selective, .blocks = 6});
  const StepBooks& last = *run.record.books.last;
  ASSERT_GT(last.n_events, kTimelinePoints);
  ASSERT_LT(last.n_events, 1000) << "one column per event, so that the ends are the ends of the step";
  for (const bool exact : {true, false}) {
    const std::string html =
        to_html(run.record, exact ? events_of_step(run.events, 2) : std::span<const Event>{});
    // Tooltips: "event N, phase: total".
    const std::regex tip("event [0-9,]+, [a-z]+: ([0-9.]+ [KMG]?i?B)");
    std::vector<std::string> totals;
    for (std::sregex_iterator it(html.begin(), html.end(), tip), end; it != end; ++it)
      totals.push_back((*it)[1]);
    const std::string peak = format_bytes(static_cast<double>(last.peak_bytes));
    EXPECT_NE(std::find(totals.begin(), totals.end(), peak), totals.end());
    EXPECT_EQ(totals.size(), exact ? last.n_events : kTimelinePoints);
    if (exact) {
      EXPECT_EQ(totals.front(), format_bytes(static_cast<double>(last.live_at_begin)));
      EXPECT_EQ(totals.back(), format_bytes(static_cast<double>(last.live_at_end)));
    }
    EXPECT_EQ(html.find("-0.0"), std::string::npos);
  }
}

TEST(HtmlReport, NamesCannotBecomeMarkup) {
  RunRecord run = train_network({}).record;
  run.config.set("</table><script>alert(1)</script>", "\"><img onerror='x'>");
  run.books.highest->cells[0].module = intern("<b>.evil</pre>");
  const std::string html = to_html(run, {});
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_EQ(html.find("<b>.evil"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;"), std::string::npos);
}

TEST(HtmlReport, EventsOfAnotherStepAreRefused) {
  const TrainedNetwork run = train_network({.steps = 3});
  EXPECT_THROW(to_html(run.record, std::span(run.events).first(10)), Error);
}

}  // namespace
}  // namespace reckon::testing
