# Headers that nearly every file reads, compiled once per set of flags: parsing them takes 1.6 to 4 s of a file's 5 to 10.
# Files still include what they use; -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON builds without this.
set(RECKON_STANDARD_HEADERS <fmt/format.h> <fmt/ranges.h> <algorithm> <array> <cmath> <cstdint> <cstring> <functional> <map> <memory>
    <optional> <span> <string> <string_view> <utility> <vector>)

# The standard headers and those named, for a target of its own flags.
function(reckon_precompile target)
  target_precompile_headers(${target} PRIVATE ${RECKON_STANDARD_HEADERS} ${ARGN})
  # Lets ccache hash what a file takes from the precompiled header.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

# For rooms that call the engine and print: a quarter of the compile time less. Their arithmetic is the same at any level.
function(reckon_compile_briefly)
  foreach(target ${ARGN})
    target_compile_options(${target} PRIVATE -O1)
  endforeach()
endfunction()

# What another target with the same flags has compiled, -O among them: GCC 12 crashes on some files where it differs.
function(reckon_precompile_like provider)
  foreach(target ${ARGN})
    target_precompile_headers(${target} REUSE_FROM ${provider})
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  endforeach()
endfunction()
