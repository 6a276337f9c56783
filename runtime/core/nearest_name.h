// Which known name a mistyped one was probably meant to be. Called wherever an unknown flag, command, model or
// preset is refused; it only words the message and never chooses for the user.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace reckon {

// The known name within a third of the given one's length in edits (insert, delete, replace, swap of
// neighbours); empty where none is that near. Of equally near names the first.
std::string nearest_name(std::string_view given, const std::vector<std::string>& known);

// " Did you mean 'block'?", or nothing: to be appended to a message.
std::string did_you_mean(std::string_view given, const std::vector<std::string>& known);

}  // namespace reckon
