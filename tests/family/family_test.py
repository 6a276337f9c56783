#!/usr/bin/env python3
"""A family that one folder adds works in every command, and what a family lacks is said by name.

usage: family_test.py PROGRAM"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

program = str(pathlib.Path(sys.argv[1]).resolve())
failures, checks = [], 0


def run(*args):
    return subprocess.run([program, *map(str, args)], capture_output=True, text=True, cwd=work, timeout=120)


def expect(name, condition, detail=""):
    global checks
    checks += 1
    if not condition:
        failures.append(f"{name}\n{detail}")


def expect_text(args, *fragments):
    r = run(*args)
    expect(f"{args} runs", r.returncode == 0, r.stderr + r.stdout)
    for f in fragments:
        expect(f"{args}: '{f}'", f in r.stdout, r.stdout)
    return r.stdout


def expect_error(args, *fragments, code=1):
    r = run(*args)
    expect(f"{args} fails with {code}", r.returncode == code, r.stderr + r.stdout)
    for f in fragments:
        expect(f"{args}: the message lacks '{f}'", f in r.stderr, r.stderr)


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    out = expect_text(["train", "bigram", "--out", "run"], "demo: 64 symbols, width 32: 4,160 parameters", "symbols/s", "Memory at the peak")
    first, last = (float(x) for x in re.search(r"loss: first ([\d.]+), last ([\d.]+)", out).groups())
    expect("it learns", last < 0.5 * first, out)
    settings = json.loads((work / "run" / "run.json").read_text())["config"]
    expect("its setting is a line of the run", settings["stride"] == "3" and settings["model"] == "bigram", settings)
    expect_text(["plan", "bigram", "--preset", "tiny"], "parameters: 272 counted, 272 by formula", "dry run of 2 steps")
    out = expect_text(["audit", "bigram", "--all"])
    expect("every audit is equal", out.count("equal: ") == 24 and out.count("books close") == 24, out)
    out = expect_text(["explain", "model", "bigram"], "4,160 counted in the dry run, 4,160 by formula", "ZeRO-3")
    expect("formulas equal the dry run", "DIFFERENT" not in out and "K/V cache" not in out, out)
    expect_text(["explain", "oom", "8192 B", "--model", "bigram"], "f32[64, 32]", "embedding")
    expect_text(["train", "--help"], "bigram: the next symbol", "bigram: Symbol s is followed")
    run("train", "bigram", "--stride", 5, "--out", "other")
    expect_text(["compare", "run", "other"], "stride")

    state = pathlib.Path("run") / "checkpoint.safetensors"
    expect_error(["train", "bigram", "--stride", 5, "--resume", state], "stride = 3", "this run has 5")
    expect_error(["train", "bigram", "--stride", "five"], "--stride", "five", code=2)
    expect_error(["train", "bigram", "--preset", "huge"], "huge", "demo or tiny")
    expect_error(["plan", "trigram"], "trigram", "qwen, evoformer, pairformer, af3 or bigram")
    expect_error(["train", "bigram", "--lora", "r=2"], "--lora is for qwen, not for bigram")
    expect_error(["train", "qwen", "--preset", "tiny", "--stride", 2], "--stride is for bigram, not for qwen")
    expect_error(["plan", "bigram", "--rows", 4], "--rows is for evoformer and af3")
    expect_error(["plan", "bigram", "--weights", "x"], "--weights", "evoformer and pairformer")
    expect_error(["train", "bigram", "--export", "hf"], "--export", "bigram")
    expect_error(["flops", "bigram"], "flops", "not for bigram", "expected qwen")

if failures:
    print("\n\n".join(failures))
    sys.exit(f"{len(failures)} of {checks} checks failed")
print(f"{checks} checks passed")
