# Headers that nearly every file reads, compiled once per set of flags: parsing them again is a third of a build's time.
# Files still include what they use; -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON builds without this.
set(RECKON_STANDARD_HEADERS <fmt/format.h> <fmt/ranges.h> <algorithm> <array> <cmath> <cstdint> <cstring> <functional> <map> <memory>
    <optional> <span> <string> <string_view> <utility> <vector>)

# Also the project's header that everything above ops/ reads, and those named.
function(reckon_precompile target)
  target_precompile_headers(${target} PRIVATE ${RECKON_STANDARD_HEADERS} ${ARGN})
  # Lets ccache hash what a file takes from the precompiled header.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

# The headers of another target with the same flags.
function(reckon_precompile_like provider)
  foreach(target ${ARGN})
    target_precompile_headers(${target} REUSE_FROM ${provider})
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  endforeach()
endfunction()
