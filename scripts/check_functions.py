#!/usr/bin/env python3
"""Fails when a function has over 80 lines, outside kernels. Relies on the tree's format, which is checked before: a function at
namespace level begins and ends in column 0, a member in a class in column 2."""
import pathlib
import re
import subprocess
import sys

LONGEST = 80
KERNEL = re.compile(r"_(kernel|reference)\.h$|_(cpu|amx)\.cpp$|\.cuh?$|^ops/kernel/|^tests/|^simt/|^benchmarks/")
NO_FUNCTION = re.compile(r"(namespace|struct|class|enum|union|extern|using|constexpr|const|static const|inline const|//|#)\b|\}|//|#")

root = pathlib.Path(__file__).resolve().parent.parent
names = subprocess.run(["git", "ls-files", "*.h", "*.cpp"], cwd=root, capture_output=True, text=True, check=True).stdout.split()
long_ones, seen = [], 0
for name in names:
    if KERNEL.search(name) or not (root / name).exists():
        continue
    begin = {}  # column -> line number of the head that is open there
    for number, line in enumerate((root / name).read_text().splitlines(), 1):
        column = len(line) - len(line.lstrip())
        if column not in (0, 2):
            continue
        text = line.strip()
        if re.match(r"\}[;)]*$", text):
            head = begin.pop(column, None)
            if head:
                seen += 1
                if number - head + 1 > LONGEST:
                    long_ones.append(f"{name}:{head}: a function of {number - head + 1} lines; {LONGEST} is the limit")
        elif "(" in text and not NO_FUNCTION.match(text) and not text.endswith((";", "}")):
            begin.setdefault(column, number)
        elif text.endswith(";"):
            begin.pop(column, None)

if long_ones:
    print("\n".join(long_ones))
    sys.exit(1)
print(f"functions: none of {seen} outside kernels has over {LONGEST} lines")
