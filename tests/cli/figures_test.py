#!/usr/bin/env python3
"""`reckon figures` writes tables and pictures that other programs can read, and says what it cannot do.

usage: figures_test.py PROGRAM [all]     ("all": every figure, within two minutes)"""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

program = str(pathlib.Path(sys.argv[1]).resolve())
everything = "all" in sys.argv[2:]
failures = []


def expect(name, condition, text=""):
    if not condition:
        failures.append(f"{name}\n{text}")


def run(*args):
    return subprocess.run([program, "figures", *map(str, args)], capture_output=True, text=True, timeout=600)


with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / "out"
    begin = time.monotonic()
    quick = ["--only", "operator events", "activations by operator", "training time", "inference cost"]
    r = run(out, *([] if everything else quick))
    seconds = time.monotonic() - begin
    expect("figures run", r.returncode == 0, r.stderr + r.stdout)
    sheets = {p.stem: json.loads(p.read_text()) for p in out.glob("*.json")}
    expect("every figure is there", len(sheets) == (8 if everything else 4), str(list(sheets)))
    for name, sheet in sheets.items():
        with open(out / f"{name}.csv", newline="") as f:
            rows = list(csv.reader(f))
        expect(f"{name}: CSV and JSON hold the same table", rows[0] == sheet["columns"] and len(rows) == 1 + len(sheet["rows"]) > 1)
        expect(f"{name}: rows are whole", all(len(row) == len(sheet["columns"]) for row in sheet["rows"]))
        expect(f"{name}: the configuration is stated", len(sheet["how"]) > 40)
        if (picture := out / f"{name}.svg").exists():
            expect(f"{name}: the picture is SVG", xml.parse(picture).getroot().tag.endswith("svg"))
    expect("the page shows every figure", all(f"{name}.svg" in (out / "index.html").read_text() for name in sheets if (out / f"{name}.svg").exists()))
    events = {row[0]: row[3] for row in sheets["operator_events"]["rows"]}
    expect("four of five counts are exact", events == {"aten::linear": 0, "aten::layer_norm": -539, "aten::native_layer_norm": 0, "aten::sigmoid": 0,
                                                       "aten::silu": 0}, str(events))
    for row in sheets["activations_by_operator"]["rows"]:
        expect(f"activations {row[:2]} are near", abs(row[4]) <= (3 if row[1] == "total" else 5), str(row))
    if everything:
        expect("all figures within two minutes", seconds < 120, f"{seconds:.0f} s")
        on = {row[0]: row[9] for row in sheets["memory_curves"]["rows"]}
        expect("everything on: 20 GB at 384 tokens and 40 at 768", on[384] <= 20 and on[768] <= 40, str(on))
        again = [row for row in sheets["repeated_work"]["rows"] if row[0].endswith("pair_conditioner")]
        expect("the repeated conditioner is found", again and again[0][1] == 13, str(sheets["repeated_work"]["rows"]))

    r = run(out, "--only", "moon phases")
    expect("an unknown figure is named", r.returncode == 1 and "moon phases" in r.stderr and "'memory curves'" in r.stderr, r.stderr)
    (pathlib.Path(folder) / "file").write_text("")
    r = run(pathlib.Path(folder) / "file", *quick)
    expect("a file is no folder", r.returncode == 1 and "file" in r.stderr, r.stderr)

print("\n".join(failures) if failures else f"figures: all as expected ({seconds:.0f} s)")
sys.exit(bool(failures))
