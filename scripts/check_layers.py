#!/usr/bin/env python3
"""Checks who includes whom, and that device calls stay where they belong. docs/map.md shows the rooms in one picture.

Four rules, none with exceptions:
1. A folder includes itself and what MAY_INCLUDE lists for it (the longest prefix that fits a folder is its row).
2. No two folders include each other in a circle, seen at any depth of the tree.
3. CUDA's headers and calls appear in device code and in the rooms that stand for a device only; in runtime, ops, autograd and
   models only runtime/device* names DeviceKind::meta.
4. No file has over 500 lines."""
import pathlib
import re
import subprocess
import sys

ENGINE = ["runtime", "ops", "autograd"]
MAY_INCLUDE = {
    "runtime": [],
    "ops": ["runtime"],
    "ops/kernel": ["runtime"],
    "autograd": ["runtime", "ops"],
    "profiler": ["runtime"],
    "models": ENGINE,
    "models/data": ["runtime"],
    "parity": [*ENGINE, "models"],
    "calculators": [*ENGINE, "models", "profiler"],
    "studies": [*ENGINE, "models", "profiler", "calculators"],
    "gpu": ["runtime", "ops/kernel", "profiler"],
    "simt": ["runtime", "ops/kernel", "ops/conv2d"],
    "examples": [*ENGINE, "models", "profiler"],
    "cli": [*ENGINE, "models", "profiler", "parity", "calculators", "studies"],
    "benchmarks": [*ENGINE, "models", "profiler"],
    "tests": [*ENGINE, "models", "profiler", "parity", "calculators", "studies", "gpu", "simt"],
}
DEVICE_ROOMS = ("gpu/", "simt/", "tests/cupti/")
LONGEST_FILE = 500
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
CUDA = re.compile(r"<<<|\bcudaMalloc|\bcudaMemcpy|#\s*include\s+<(cuda|cublas|cudnn|cupti)")
META = re.compile(r"DeviceKind::meta")
SIGHTED = ("runtime/", "ops/", "autograd/", "models/")  # rooms where rule 3 forbids asking for meta

root = pathlib.Path(__file__).resolve().parent.parent
problems = []


def within(path, folder):
    return path == folder or path.startswith(folder + "/")


def row_of(folder):
    fits = [key for key in MAY_INCLUDE if within(folder, key)]
    return max(fits, key=len) if fits else None


def circles(edges):
    """Groups of nodes that reach each other (Tarjan's strongly connected components with more than one node)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, {}):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in list(edges):
        if node not in index:
            visit(node)
    return found


listed = subprocess.run(["git", "ls-files", "*.h", "*.cpp", "*.cu", "*.cuh"], cwd=root, capture_output=True, text=True, check=True)
files = [name for name in listed.stdout.split() if (root / name).exists()]
known, includes = set(files), []  # includes: (file, line, included file)
for name in files:
    lines = (root / name).read_text().splitlines()
    folder = name.rsplit("/", 1)[0]
    if len(lines) > LONGEST_FILE:
        problems.append(f"{name}: {len(lines)} lines; {LONGEST_FILE} is the limit")
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if found:
            target = found.group(1) if found.group(1) in known else f"{folder}/{found.group(1)}"
            includes.append((name, number, target))
        if CUDA.search(line) and not name.endswith((".cu", ".cuh")) and not name.startswith(DEVICE_ROOMS):
            problems.append(f"{name}:{number}: device call outside the rooms of devices ({', '.join(DEVICE_ROOMS)})")
        if META.search(line) and name.startswith(SIGHTED) and not name.startswith("runtime/device"):
            problems.append(f"{name}:{number}: only runtime/device* may ask whether a device is meta")

for name, number, target in includes:
    row = row_of(name.rsplit("/", 1)[0])
    if row is None:
        problems.append(f"{name}: no row of MAY_INCLUDE fits this folder")
    elif target not in known:
        problems.append(f"{name}:{number}: no file {target} in the tree")
    elif not any(within(target, allowed) for allowed in [row, *MAY_INCLUDE[row]]):
        problems.append(f"{name}:{number}: {row} must not include {target}; it may include {', '.join(MAY_INCLUDE[row]) or 'itself only'}")

for depth in range(1, 1 + max(name.count("/") for name in files)):
    edges = {}
    for name, number, target in includes:
        a, b = ("/".join(path.split("/")[:-1][:depth]) for path in (name, target))
        if a != b:
            edges.setdefault(a, {}).setdefault(b, f"{name}:{number} includes {target}")
    for group in circles(edges):
        problems.append(f"these folders include each other in a circle: {', '.join(group)}")
        problems += [f"  {why}" for a in group for b, why in edges[a].items() if b in group]

if problems:
    print("\n".join(dict.fromkeys(problems)))
    sys.exit(1)
print(f"layers: {len(files)} files keep to their rooms; no circles among their folders")
