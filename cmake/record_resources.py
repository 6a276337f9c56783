#!/usr/bin/env python3
"""Runs a compiler and keeps what ptxas says of each kernel (registers, shared memory, spills) in OBJECT.resources.

Usage: record_resources.py OBJECT COMMAND...  Everything else the compiler says goes on to the terminal."""
import subprocess
import sys

REPORT = ("ptxas info", "    Function properties for", "Function properties for", "bytes stack frame", "Compile time = ")

out, command = sys.argv[1], sys.argv[2:]
run = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
kept, passed = [], []
for line in run.stderr.splitlines():
    (kept if any(mark in line for mark in REPORT) else passed).append(line)
if kept and run.returncode == 0:
    with open(out + ".resources", "w") as f:
        f.write("\n".join(kept) + "\n")
if passed:
    print("\n".join(passed), file=sys.stderr)
sys.exit(run.returncode)
