#!/usr/bin/env python3
"""Reads ptxas's report of every kernel of the plugin: none but the known ones may spill registers or keep a stack frame.

Usage: resources_test.py BUILD_FOLDER   (prints registers and shared memory by kernel and architecture)"""
import pathlib
import re
import subprocess
import sys

# Spills that stand, by kernel, on sm_80 only, whose compiler needs more registers for the same source; the list may only
# shrink. Both hold the sums of a product beside a gate's gradient.
KNOWN_SM_80 = {f"transition_rows<{t}, true, 2, 16>" for t in ("__half", "__nv_bfloat16")} | {
    f"triangle_input_rows<{t}, {n}>" for t in ("float", "__half", "__nv_bfloat16") for n in ("1, 32", "2, 16")}

folder = pathlib.Path(sys.argv[1])
ENTRY = re.compile(r"Compiling entry function '([^']+)' for '(sm_\d+\w*)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


def readable(names):
    out = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True).stdout.splitlines()
    return dict(zip(names, (re.sub(r"\(anonymous namespace\)::|reckon::ops::gpu::|^void ", "", n).split("(")[0] for n in out)))


rows, problems = [], []
reports = sorted(folder.rglob("*.cu.o.resources"))
for report in reports:
    kernel = arch = frame = None
    for line in report.read_text().splitlines():
        if found := ENTRY.search(line):
            kernel, arch = found.groups()
        elif found := FRAME.search(line):
            frame = tuple(map(int, found.groups()))
        elif kernel and (found := USED.search(line)):
            rows.append((report.name.split(".")[0], kernel, arch, int(found[1]), int(found[2] or 0), frame))
            kernel = None
names = readable([r[1] for r in rows])
print(f"{'op folder':<24}{'kernel':<64}{'arch':<8}{'registers':>10}{'static shared':>15}")
for source, kernel, arch, registers, shared, frame in rows:
    print(f"{source:<24}{names[kernel][:62]:<64}{arch:<8}{registers:>10}{shared:>13} B")
    if (frame is None or any(frame)) and not (arch == "sm_80" and names[kernel] in KNOWN_SM_80):
        problems.append(f"{source}: {names[kernel]} on {arch}: stack frame {frame[0]} B, spills {frame[1]} B stored and {frame[2]} B loaded"
                        if frame else f"{source}: {names[kernel]} on {arch}: no line about its stack frame")
sources = set(pathlib.Path(r).name.split(".")[0] for r in reports)
print(f"\n{len(rows)} kernels of {len(sources)} files, {len(problems)} with spills or stack frames beside {len(KNOWN_SM_80)} known ones on sm_80")
if problems or not rows:
    print("\n".join(problems) or "no report found: was the plugin built?")
    sys.exit(1)
