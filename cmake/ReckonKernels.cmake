# Kernel sources (*_cpu.cpp, most of them made by ops/CMakeLists.txt) are compiled once per instruction set into namespaces of
# their own and chosen at run time. Never -march=native: a binary built here must run on an older machine.
set(RECKON_KERNEL_FLAGS -O3 -fno-math-errno -fno-trapping-math -fopenmp)

function(reckon_kernel_library name march isa)
  cmake_parse_arguments(ARG "" "" "SOURCES;FLAGS" ${ARGN})
  add_library(${name} OBJECT ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${RECKON_KERNEL_FLAGS} -march=${march} ${ARG_FLAGS})
  target_compile_definitions(${name} PRIVATE RECKON_ISA=${isa})
  target_link_libraries(${name} PRIVATE fmt::fmt)
  reckon_precompile(${name})
endfunction()
