#!/usr/bin/env python3
"""reckon bench: its figures add up, its answers to bad input are clear.

usage: bench_test.py PROGRAM REFERENCE_FOLDER"""
import json
import pathlib
import subprocess
import sys
import tempfile

program, reference = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
failures, checks = [], 0


def run(*args, text=None):
    return subprocess.run([program, "bench", *map(str, args)], capture_output=True, text=True, input=text, timeout=250)


def expect(name, condition, detail=""):
    global checks
    checks += 1
    if not condition:
        failures.append(f"{name}\n{detail}")


def expect_error(name, args, *fragments, code=1):
    r = run(*args)
    expect(f"{name}: exit code {r.returncode}, expected {code}", r.returncode == code, r.stderr)
    for f in fragments:
        expect(f"{name}: the message lacks '{f}'", f in r.stderr + r.stdout, r.stderr)


block = reference / "evoformer" / "block_ones.safetensors"
decoder = next(p for p in sorted((reference / "qwen2").glob("*.safetensors")) if "grad.model.norm.weight".encode() in p.read_bytes())
with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    for case, arguments in ((block, []), (block, ["--checkpoint", "block", "--fuse", "all"]), (decoder, ["--optimizer", "adamw"])):
        out, grads = work / "step.json", work / "grads.safetensors"
        r = run("step", case, "--rounds", 3, "--json", out, "--grads", grads, *arguments)
        expect(f"step {case.name} {arguments} runs", r.returncode == 0, r.stderr)
        if r.returncode != 0:
            continue
        j = json.loads(out.read_text())
        expect("one time per round", len(j["seconds"]) == 3 and all(s > 0 for s in j["seconds"]), j["seconds"])
        expect("launches of the phases add up", sum(j["launches_by_phase"].values()) == j["launches"], j["launches_by_phase"])
        expect("launches of the ops add up", sum(o["launches"] for o in j["ops"]) == j["launches"])
        expect("categories add up to the peak", sum(j["peak_by_category"].values()) == j["peak_bytes"])
        expect("products of the ops add up", sum(o["matmul_flops"] for o in j["ops"]) == j["matmul_flops"] > 0)
        expect("recompute shows when checkpointed", ("recompute" in j["flops"]) == ("block" in arguments), list(j["flops"]))
        header = grads.read_bytes()
        names = json.loads(header[8:8 + int.from_bytes(header[:8], "little")])
        stored = case.read_bytes()
        wanted = {k.removeprefix("grad.") for k in json.loads(stored[8:8 + int.from_bytes(stored[:8], "little")]) if k.startswith("grad.")}
        expect("gradients of everything the file has one for", wanted <= set(names), sorted(wanted - set(names)))
    r = run("step", block, "--on-request", "--json", work / "two.json", text="step\nstep\n")
    lines = r.stdout.split()
    expect("on request: ready, then one time per line", lines[0] == "ready" and len(lines) == 3 and all(float(x) > 0 for x in lines[1:]), r.stdout + r.stderr)
    expect("on request: two rounds are counted", len(json.loads((work / "two.json").read_text())["seconds"]) == 2)
    r = run("step", block, "--ledger", "off", "--rounds", 1, "--json", work / "off.json")
    off = json.loads((work / "off.json").read_text())
    expect("no books without the ledger", "launches" not in off and off["saved_bytes"] > 0, off)

    out = work / "ops.json"
    r = run("ops", "--quick", "--rounds", 1, "--json", out)
    expect("ops runs", r.returncode == 0, r.stderr)
    j = json.loads(out.read_text())
    measured = {(o["op"], o["dtype"]) for o in j["ops"]}
    for op in ("matmul", "attention", "attention_backward", "triangle_multiply", "adamw_all", "conv2d_weight_gradient", "swiglu_transition_backward"):
        expect(f"{op} is measured in both types", {(op, "f32"), (op, "bf16")} <= measured, sorted(measured))
    expect("every op takes time and has a share", all(o["seconds"] > 0 and o["share_of_roof"] > 0 for o in j["ops"]))
    expect("the machine's rates stand beside the result", all(j["machine"][k] > 0 for k in ("f32_flops", "bf16_flops", "copy_bytes_per_second")))

    out = work / "dispatch.json"
    r = run("dispatch", "--calls", 200, "--rounds", 2, "--json", out)
    expect("dispatch runs", r.returncode == 0 and all(o["cpu_ns"] > 0 for o in json.loads(out.read_text())["ops"]), r.stderr)

    expect_error("no such file", ["step", work / "none.safetensors"], "none.safetensors")
    expect_error("a file that is no model", ["step", next((reference / "ops").glob("*.safetensors"))], "neither a model family nor a class")
    expect_error("unknown type", ["step", block, "--dtype", "f8"], "--dtype must be f32, bf16 or f64")
    expect_error("no warm-up", ["step", block, "--warmup", "0"], "--warmup at least 1")
    expect_error("unknown op", ["ops", "--only", "nonsense"], "no op is called 'nonsense'")
    expect_error("no rounds", ["ops", "--rounds", "0"], "--rounds must be at least 1")
    expect_error("nothing chosen", [], "subcommand", code=2)

if failures:
    print("\n".join(failures))
    sys.exit(f"{len(failures)} of {checks} checks failed")
print(f"{checks} checks passed")
