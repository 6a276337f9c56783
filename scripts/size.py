#!/usr/bin/env python3
"""Lines of code per top-level folder: not blank, not only a comment."""
import collections
import pathlib
import subprocess

root = pathlib.Path(__file__).resolve().parent.parent
names = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()
kinds = (".h", ".cpp", ".cu", ".cuh", ".py", ".sh", ".cmake")
count, files = collections.Counter(), collections.Counter()
for name in names:
    if not (name.endswith(kinds) or name.endswith("CMakeLists.txt")):
        continue
    room = name.split("/")[0] if "/" in name else "."
    lines = (root / name).read_text(errors="replace").splitlines()
    count[room] += sum(1 for line in lines if line.strip() and not line.strip().startswith(("//", "#!", '"""')))
    files[room] += 1
print(f"{'folder':<12} {'files':>6} {'lines':>8}")
for room, n in count.most_common():
    print(f"{room:<12} {files[room]:>6} {n:>8}")
print(f"{'sum':<12} {sum(files.values()):>6} {sum(count.values()):>8}")
