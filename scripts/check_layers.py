#!/usr/bin/env python3
"""Checks who includes whom, and that device calls stay where they belong.

runtime < ops < autograd < models < calculators < cli, examples, tests, benchmarks; profiler sees only runtime, calculators see
it too; models/data sees only runtime. CUDA's names may appear only in runtime/cuda, profiler/cupti and .cu / .cuh files; the
emulator (simt) sees runtime and ops, and only ops/kernel/device.cuh and tests see it. runtime/cuda, the plugin, sees ops/kernel."""
import pathlib
import re
import subprocess
import sys

ALLOWED = {
    "runtime": {"runtime"},
    "ops": {"runtime", "ops"},
    "autograd": {"runtime", "ops", "autograd"},
    "models": {"runtime", "ops", "autograd", "models"},
    "profiler": {"runtime", "profiler"},
    "calculators": {"runtime", "ops", "autograd", "models", "profiler", "calculators"},
    "simt": {"runtime", "ops", "simt"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
CUDA = re.compile(r"<<<|\bcudaMalloc|\bcudaMemcpy|#\s*include\s+<(cuda|cublas|cudnn|cupti)")
META = re.compile(r"DeviceKind::meta")
# The two places that may ask whether a device is meta: running the kernel (through Device::executes) and choosing the
# memory source; naming and parsing the kind are not decisions.
META_FILES = {"runtime/device.cpp", "runtime/device.h", "runtime/device_spec.cpp"}

root = pathlib.Path(__file__).resolve().parent.parent
files = subprocess.run(["git", "ls-files", "*.h", "*.cpp", "*.cu", "*.cuh"], cwd=root, capture_output=True, text=True, check=True)
problems = []
for name in files.stdout.split():
    path = root / name
    if not path.exists():
        continue
    room = name.split("/")[0]
    text = path.read_text()
    allowed = {"runtime", "models"} if name.startswith("models/data/") else ALLOWED.get(room)
    if name.startswith(("runtime/cuda/", "profiler/cupti/")):
        allowed = {"runtime", "ops", "profiler"}
    elif name == "ops/kernel/device.cuh":
        allowed = {"runtime", "ops", "simt"}
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found and allowed is not None:
            target = found.group(1).split("/")[0]
            if target not in allowed:
                problems.append(f"{name}:{number}: {room} must not include {found.group(1)}")
            if name.startswith("models/data/") and target == "models" and not found.group(1).startswith("models/data/"):
                problems.append(f"{name}:{number}: models/data must not include {found.group(1)}")
        if CUDA.search(line) and not (name.endswith((".cu", ".cuh")) or name.startswith(("runtime/cuda/", "profiler/cupti/", "simt/", "tests/cupti/"))):
            problems.append(f"{name}:{number}: device call outside the CUDA rooms")
        if room in ("runtime", "ops", "autograd", "models") and META.search(line) and name not in META_FILES and not name.startswith("models/parity/"):
            problems.append(f"{name}:{number}: only the device may decide by being meta")
    if len(text.splitlines()) > 500:
        problems.append(f"{name}: {len(text.splitlines())} lines; 500 is the limit")
if problems:
    print("\n".join(problems))
    sys.exit(1)
print(f"layers: {len(files.stdout.split())} files keep to their rooms")
