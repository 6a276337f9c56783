#!/usr/bin/env python3
"""Where there is no GPU: one line says why, and the CPU goes on; commands that need the GPU itself refuse with the same line.
On a machine with a GPU only the artificial cases run.

Usage: no_device_test.py PROGRAM PLUGIN"""
import os
import pathlib
import subprocess
import sys
import tempfile

program, plugin = sys.argv[1:3]
failures = []


def run(*args, **env):
    r = subprocess.run([program, *args], capture_output=True, text=True, env={**os.environ, "GOMP_SPINCOUNT": "1000", **env})
    return r.returncode, r.stdout, r.stderr


def expect(name, condition, *seen):
    if not condition:
        failures.append(f"{name}: " + " | ".join(str(s)[-300:] for s in seen))


train = ["train", "pairformer", "--preset", "tiny", "--steps", "1", "--device", "cuda", "--report", "none"]
data = pathlib.Path(__file__).resolve().parents[2] / "data" / "demo_1000.aln"
if os.environ.get("RECKON_DATA"):
    data = pathlib.Path(os.environ["RECKON_DATA"]) / "demo_1000.aln"
train += ["--data", str(data)]

code, out, err = run("devices")
expect("devices", code == 0 and all(w in out for w in ("cpu", "cuda", "meta", "h200", "h100", "a100")), code, out, err)
has_gpu = "not available" not in out

if not has_gpu:
    # the real plugin on this machine: no driver, or a driver without a device
    expect("the reason names its error", any(f"CUDA error {n}" in out for n in (34, 35, 100)), out)
    code, out, err = run(*train)
    expect("the cpu goes on", code == 0 and "loss" in out and err.count("\n") == 1 and "going on with the cpu" in err, code, out, err)
    for command in (["audit", "pairformer", "--preset", "tiny", "--device", "cuda", "--data", str(data)],
                    ["plan", "pairformer", "--device", "cuda"]):
        code, out, err = run(*command)
        expect(f"{command[0]} refuses", code == 1 and "CUDA error" in err, code, out, err)

with tempfile.TemporaryDirectory() as folder:
    # no plugin at all, a file that is no library, a library that is no plugin
    text = pathlib.Path(folder) / "plugin.so"
    text.write_text("not a library")
    for name, file, words in (("no plugin", "/nonexistent.so", "no CUDA plugin"), ("not a library", str(text), "cannot be loaded"),
                              ("another library", "libm.so.6", "no CUDA plugin")):
        code, out, err = run(*train, RECKON_CUDA_PLUGIN=file)
        expect(name, code == 0 and words in err and "loss" in out, code, out, err)
    # a plugin of another build: the same file with the build's name changed
    blob = pathlib.Path(plugin).read_bytes()
    build = blob.find(b"0.1.0-")
    expect("the plugin names its build", build > 0)
    other = pathlib.Path(folder) / "other.so"
    other.write_bytes(blob[:build + 6] + b"000000000000" + blob[build + 18:])
    code, out, err = run(*train, RECKON_CUDA_PLUGIN=str(other))
    expect("another build", code == 0 and "another build" in err and "loss" in out, code, out, err)

# The plans of a GPU need none.
code, out, err = run("plan", "pairformer", "--device", "cuda", "--spec", "h200", "--dtype", "bf16")
expect("plan with a spec", code == 0 and "NVIDIA H200" in out and "peak (sum)" in out, code, out, err)
code, out, err = run("plan", "pairformer", "--device", "cuda", "--spec", "h200", "--fuse", "all")
expect("a fused plan", code == 0 and "triangle_multiply_backward" in out, code, out[-400:], err)
code, out, err = run("plan", "pairformer", "--device", "cuda", "--spec", "h300")
expect("an unknown spec", code == 1 and "h300" in err and "h200" in err, code, out, err)

# Asking for the plugin must cost a run on the CPU nothing: it is not opened.
code, out, err = run(*[a for a in train if a not in ("--device", "cuda")], RECKON_CUDA_PLUGIN=str(plugin), LD_DEBUG="files")
expect("the cpu does not open it", code == 0 and "libreckon_cuda" not in err and "libcublas" not in err, code, out[-200:])

print("\n".join(failures) or "all as expected")
sys.exit(bool(failures))
