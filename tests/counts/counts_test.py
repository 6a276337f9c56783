#!/usr/bin/env python3
"""Guards what one training step costs, without a clock: launches, op calls, allocations, events, FLOPs and bytes of a
dry run of each model, plain and fused, against the figures stored in counts.json.

usage: counts_test.py PROGRAM            compare; exit 1 and name every count that moved
       counts_test.py PROGRAM --update   store what the program counts now

A count that went down fails too: store it, so that it cannot go up again unseen."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
STORED = HERE / "counts.json"
# Small but with every op: two layers or blocks, a fixed machine, so that the figures are the same everywhere.
MODELS = {family: ["--preset", "tiny"] for family in ("qwen", "evoformer", "pairformer", "af3")}
REGISTERED = re.findall(r"^reckon_family\((\w+)\)", (HERE.parent.parent / "models" / "CMakeLists.txt").read_text(), re.MULTILINE)
SETTINGS = {f"{model} {dtype} fuse {fuse} checkpoint {checkpoint}": [model, *args, "--dtype", dtype, "--fuse", fuse, "--checkpoint", checkpoint]
            for model, args in MODELS.items() for dtype, checkpoint in (("f32", "none"), ("bf16", "selective")) for fuse in ("none", "all")}
# How far a count may move before it counts as moved. Bytes of workspaces follow the tile sizes of kernels.
TOLERANCE = {"launches": 0, "op calls": 0, "allocations": 0, "events": 0, "matmul FLOPs": 0, "vector FLOPs": 0.02, "special functions": 0.02,
             "bytes moved": 0.02, "bytes kept for backward": 0.01, "peak bytes": 0.02}


def count(program, arguments):
    """Counts of the second step, when optimizer state exists."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "run.json"
        r = subprocess.run([program, "plan", *arguments, "--spec", HERE / "spec.json", "--json", out], capture_output=True, text=True)
        if r.returncode != 0:
            sys.exit(f"{' '.join(arguments)}: the program ended with {r.returncode}\n{r.stderr}")
        step = json.loads(out.read_text())["books"]["last"]
    table = step["work"]
    work = [dict(zip(table["columns"], row)) for row in table["rows"]]
    total = lambda *names: sum(w[n] for w in work for n in names)  # noqa: E731
    return {"launches": total("kernel", "library", "fill", "copy"), "op calls": total("calls"), "allocations": step["n_allocations"],
            "events": step["n_events"], "matmul FLOPs": total("matmul_flops"), "vector FLOPs": total("vector_flops"),
            "special functions": total("special"), "bytes moved": total("bytes_read", "bytes_written"),
            "bytes kept for backward": step["saved_bytes"], "peak bytes": step["peak_bytes"]}


def compare(setting, stored, now):
    """Lines about the counts that moved."""
    lines = []
    for name, tolerance in TOLERANCE.items():
        before, after = stored.get(name), now[name]
        if before is None:
            lines.append(f"{setting}: {name}: nothing stored, counted {after:,}")
        elif abs(after - before) > tolerance * before:
            share = f"{after / before - 1:+.1%}" if before else "from nothing"
            allowed = f"{tolerance:.0%} allowed" if tolerance else "none allowed"
            lines.append(f"{setting}: {name} {'rose' if after > before else 'fell'} from {before:,} to {after:,} ({share}, {allowed})")
    return lines


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    if missing := set(REGISTERED) - set(MODELS):
        sys.exit(f"families without counts: {', '.join(sorted(missing))}; add them to MODELS and store their counts with --update")
    now = {setting: count(program, arguments) for setting, arguments in SETTINGS.items()}
    if "--update" in sys.argv[2:]:
        STORED.write_text(json.dumps(now, indent=1) + "\n")
        print(f"stored {len(now)} settings in {STORED}")
        return
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    moved = [line for setting in SETTINGS for line in compare(setting, stored.get(setting, {}), now[setting])]
    # The guard itself: a count that is one launch off must be noticed.
    first = next(iter(SETTINGS))
    assert compare(first, now[first] | {"launches": now[first]["launches"] - 1}, now[first]), "the comparison sees nothing"
    if moved:
        print("\n".join(moved))
        sys.exit(f"{len(moved)} counts moved. If that is what the change is for: {sys.argv[0]} PROGRAM --update, and say so in the commit")
    print(f"{len(SETTINGS)} settings, {len(SETTINGS) * len(TOLERANCE)} counts: all as stored")


if __name__ == "__main__":
    main()
