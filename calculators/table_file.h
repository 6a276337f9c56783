// Small tables of numbers from CSV (a head line, then one row a line; # begins a comment) or JSON (a list of
// objects with the same names). Called by the estimates; every error names the file and the line or row.
#pragma once

#include <string>
#include <vector>

namespace reckon::calculators {

struct NumberTable {
  std::string origin;
  std::vector<std::vector<double>> rows;  // columns in the order asked for
  std::vector<std::string> places;        // of each row, for messages: "stages.csv:3"
};

// All columns must be there and no others; every value a finite number. Error when there is no row.
NumberTable read_number_table(const std::string& path, const std::vector<std::string>& columns);
NumberTable parse_number_table(const std::string& text, const std::string& origin,
                               const std::vector<std::string>& columns);

// A value that must be a whole number of at least `least`; `what` and the row's place are in the message.
long long whole_number(double value, long long least, const std::string& what, const std::string& place);

}  // namespace reckon::calculators
