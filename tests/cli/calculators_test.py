#!/usr/bin/env python3
"""The calculators at the command line: what they print and write, and what they refuse.

usage: calculators_test.py PROGRAM"""
import json
import pathlib
import subprocess
import sys
import tempfile

program = str(pathlib.Path(sys.argv[1]).resolve())
failures = []
checks = 0


def run(*args):
    return subprocess.run([program, *map(str, args)], capture_output=True, text=True, cwd=work, timeout=300)


def expect(name, condition, text=""):
    global checks
    checks += 1
    if not condition:
        failures.append(f"{name}\n{text}")


def expect_text(name, args, *fragments):
    r = run(*args)
    expect(name, r.returncode == 0, r.stderr + r.stdout)
    for f in fragments:
        expect(f"{name}: '{f}'", f in r.stdout, r.stdout)
    expect(f"{name}: formula and dry run agree", "DIFFERENT" not in r.stdout, r.stdout)
    return r.stdout


def expect_json(name, args):
    expect_text(name, [*args, "--json", "out.json"])
    try:
        return json.loads((work / "out.json").read_text())
    except (OSError, ValueError) as e:
        expect(f"{name}: JSON", False, str(e))
        return {}


def expect_error(name, args, *fragments, code=1):
    r = run(*args)
    text = r.stderr + r.stdout
    expect(f"{name}: exit code {r.returncode}, expected {code}", r.returncode == code, text)
    expect(f"{name}: internal error", "internal error" not in text, text)
    for f in fragments:
        expect(f"{name}: the message lacks '{f}'", f in text, text)


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)

    # What they answer.
    out = expect_text("flops", ["flops", "qwen", "--budget", "1e17"], "1,830,602,178,560", "6,340,378,361,856", "18,194", "15,771", "23,161", "row lora-needed is equal")
    expect("flops: no formula differs", "A formula and the dry run differ" not in out, out)
    j = expect_json("flops as JSON", ["flops", "qwen", "--preset", "tiny", "--step-time", "20 ms", "--peak-flops", "H200", "--checkpoint", "block"])
    expect("flops: all rows agree", j and all(c["agrees"] for c in j["conventions"]) and len(j["conventions"]) > 10, str(j)[:500])
    expect("flops: HFU counts recompute", j and j["hfu"] > j["mfu"] > 0 and "dense" in j["peak_name"], str(j)[:500])
    j = expect_json("a tensor", ["explain", "tensor", "32x501x501x128x128 f32"])
    expect("a tensor's bytes", j.get("bytes") == 526387249152 == j.get("dry_run_bytes"), str(j)[:500])
    j = expect_json("a model", ["explain", "model", "qwen2.5-7b", "--seq", "128", "--devices", "2,4"])
    expect("a model's rows agree", j and all(r["agrees"] for r in j["one_device"]) and len(j["groups"]) == 10, str(j)[:500])
    expect_text("a model of the pair family", ["explain", "model", "pairformer", "--preset", "tiny"], "Why 16 bytes")
    expect_text("an Evoformer", ["explain", "model", "evoformer", "--preset", "tiny"], "Why 16 bytes")
    expect_text("4.50 GiB", ["explain", "oom", "4.50 GiB", "--model", "extra-msa", "--rows", "1024", "--seq", "384"], "exact", "f32[1, 1024, 8, 384, 384]", "msa_att_row", "1024 (rows)")
    expect_text("4.50 GiB in the main stack", ["explain", "oom", "4.50 GiB", "--model", "evoformer", "--rows", "1024", "--seq", "384", "--checkpoint", "block"],
                "f32[1, 1024, 8, 384, 384]", "msa_att_row")
    expect_text("11.25 GiB", ["explain", "oom", "11.25 GiB", "--model", "extra-msa", "--rows", "5120", "--seq", "384", "--dtype", "bf16"], "bf16[1, 5120, 8, 384, 384]")
    expect_text("nothing of that size", ["explain", "oom", "3 B", "--model", "qwen", "--preset", "tiny"], "no allocation of that size")
    j = expect_json("the journal", ["explain", "journal", "--tokens", "16", "--channels", "8"])
    expect("the journal's run is as predicted", j and j["run"]["stored"]["events_equal"] and
           j["run"]["projected"]["predicted_peak"] == j["run"]["projected"]["measured_peak"], str(j)[:500])
    j = expect_json("training time", ["plan", "training-time"])
    fused = next(r for r in j["results"] if r["name"] == "MegaFold")
    expect("training time by hand", abs(fused["seconds"] - (74250 * 6.8 + 1750 * 13.2 + 2000 * 17.8)) < 1e-6 and j["estimate"], str(fused))
    expect("the base is contradicted", len(j["contradictions"]) == 3, str(j["contradictions"]))
    (work / "stages.csv").write_text("steps,size\n10,128\n")
    (work / "curve.json").write_text('[{"size": 64, "seconds": 1}, {"size": 256, "seconds": 4}]')
    j = expect_json("own tables", ["plan", "training-time", "--stages", "stages.csv", "--curve", "curve.json", "--devices", "8"])
    expect("own tables by hand", len(j["results"]) == 1 and abs(j["results"][0]["seconds"] - 20) < 1e-9, str(j))
    j = expect_json("inference cost", ["plan", "inference-cost"])
    expect("both peaks", [round(d["peak_flops"] / 1e12) for d in j["devices"]] == [312, 1979, 989] and j["sequences"] == 194493626, str(j["devices"]))
    (work / "lengths.csv").write_text("low,high,count\n100,100,36\n")
    j = expect_json("own histogram", ["plan", "inference-cost", "--histogram", "lengths.csv", "--to", "mine=624e12"])
    expect("own histogram by hand", abs(j["devices"][1]["seconds"] - 36 * 4.9 / 2) < 1e-9, str(j["devices"]))
    expect_text("plan still plans", ["plan", "qwen", "--preset", "tiny", "--seq", "8"], "by formula")

    # What they refuse.
    expect_error("flops of another model", ["flops", "evoformer"], "evoformer", "qwen")
    expect_error("flops of nothing", ["flops"], "MODEL", code=2)
    expect_error("unknown preset", ["flops", "qwen", "--preset", "huge"], "huge", "qwen2.5-72b")
    expect_error("config that is missing", ["flops", "qwen", "--config", "nowhere.json"], "nowhere.json")
    for budget in ("-1e21", "0", "NaN", "8 parsecs", "inf"):
        expect_error(f"budget {budget}", ["flops", "qwen", "--preset", "tiny", f"--budget={budget}"], "--budget", budget)
    expect_error("negative batch", ["flops", "qwen", "--preset", "tiny", "--batch", "-4"], "--batch", "-4")
    expect_error("zero sequence", ["flops", "qwen", "--preset", "tiny", "--seq", "0"], "--seq")
    expect_error("huge batch", ["flops", "qwen", "--preset", "tiny", "--batch", "99999999999999"], "--batch")
    expect_error("negative rank", ["flops", "qwen", "--preset", "tiny", "--rank", "-1"], "--rank")
    expect_error("step time in parsecs", ["flops", "qwen", "--preset", "tiny", "--step-time", "3 parsecs"], "3 parsecs", "ms")
    expect_error("peak of an unknown device", ["flops", "qwen", "--preset", "tiny", "--peak-flops", "abacus"], "abacus", "989")
    expect_error("sublayer", ["flops", "qwen", "--checkpoint", "some"], "--checkpoint", "some")
    expect_error("explain nothing", ["explain"], "subcommand", code=2)
    for tensor in ("", "0x4 f32", "-3x4", "3x4 f99", "NaN", "8 parsecs", "9223372036854775807x9223372036854775807x9223372036854775807 f64"):
        expect_error(f"tensor '{tensor}'", ["explain", "tensor", "--", tensor])
    expect_error("tensor of an unknown type", ["explain", "tensor", "3x4", "--dtype", "int4"], "int4")
    expect_error("unknown model", ["explain", "model", "gpt5"], "gpt5", "qwen2.5-72b", "alphafold2")
    expect_error("model with a preset", ["explain", "model", "qwen2.5-7b", "--preset", "tiny"], "--preset")
    expect_error("unknown recipe", ["explain", "model", "qwen", "--preset", "tiny", "--recipe", "fp4"], "fp4", "mixed")
    expect_error("a group of none", ["explain", "model", "qwen", "--preset", "tiny", "--devices", "0"], "2 to 2^20")
    expect_error("text for a group", ["explain", "model", "qwen", "--preset", "tiny", "--devices", "many"], "--devices", code=2)
    expect_error("unknown dtype", ["explain", "model", "qwen", "--preset", "tiny", "--dtype", "int4"], "int4")
    expect_error("a dtype nothing computes in", ["explain", "model", "qwen", "--preset", "tiny", "--dtype", "f8e4m3"], "--dtype")
    for size in ("8 parsecs", "-4 GiB", "0 GiB", "NaN", ""):
        expect_error(f"oom '{size}'", ["explain", "oom", "--model", "qwen", "--preset", "tiny", "--", size], f"'{size}'", "4.50 GiB")
    expect_error("oom of an unknown model", ["explain", "oom", "1 GiB", "--model", "gpt5"], "gpt5")
    expect_error("oom without a model", ["explain", "oom", "1 GiB"], "--model", code=2)
    expect_error("oom with a negative sequence", ["explain", "oom", "1 GiB", "--model", "extra-msa", "--seq", "-1"], "--seq")
    expect_error("oom with too many rows", ["explain", "oom", "1 GiB", "--model", "extra-msa", "--rows", "99999999999"], "--rows")
    expect_error("oom with a tolerance of 200 %", ["explain", "oom", "1 GiB", "--model", "extra-msa", "--tolerance", "200"], "--tolerance")
    expect_error("a journal too large to run", ["explain", "journal", "--tokens", "4096", "--channels", "128"], "too much")
    expect_error("a journal of no tokens", ["explain", "journal", "--tokens", "0"], "tokens")
    expect_error("plan of nothing", ["plan"], "MODEL", code=2)
    expect_error("plan of a model and an estimate", ["plan", "qwen", "training-time"], "qwen", code=2)
    (work / "empty.csv").write_text("")
    (work / "heads.csv").write_text("low,high,count\n")
    (work / "zero.csv").write_text("low,high,count\n200,299,0\n")
    (work / "text.csv").write_text("low,high,count\n200,299,many\n")
    (work / "overlap.csv").write_text("low,high,count\n200,299,1\n250,349,1\n")
    (work / "far.csv").write_text("low,high,count\n5000,5099,1\n")
    (work / "negative.csv").write_text("steps,size\n-5,384\n")
    (work / "half.csv").write_text("steps,size\n5.5,384\n")
    (work / "nan.csv").write_text("size,seconds\n384,NaN\n")
    for name, words in {"empty.csv": ["no row"], "heads.csv": ["no row"], "zero.csv": ["empty"], "text.csv": ["text.csv:2", "many"], "overlap.csv": ["overlap"],
                        "far.csv": ["5049.5", "2000"], "stages.csv": ["'low'"], "nowhere.csv": ["nowhere.csv"]}.items():
        expect_error(f"histogram {name}", ["plan", "inference-cost", "--histogram", name], *words)
    expect_error("anchors on an unknown device", ["plan", "inference-cost", "--anchor-device", "abacus"], "abacus", "A100")
    expect_error("scaled to an unknown device", ["plan", "inference-cost", "--to", "abacus"], "abacus")
    expect_error("scaled to a negative peak", ["plan", "inference-cost", "--to", "mine=-5"], "--to")
    expect_error("negative steps", ["plan", "training-time", "--stages", "negative.csv"], "negative.csv:2", "steps")
    expect_error("half a step", ["plan", "training-time", "--stages", "half.csv"], "half.csv:2")
    expect_error("a time that is none", ["plan", "training-time", "--curve", "nan.csv"], "nan.csv:2", "seconds")
    expect_error("no devices", ["plan", "training-time", "--devices", "0"], "--devices")
    for base in ("14.82", "x@384", "14.82@-3", "0@384", "14.82@384@5"):
        expect_error(f"base {base}", ["plan", "training-time", "--base", base], "--base")
    expect_error("unwritable JSON", ["explain", "tensor", "3x4", "--json", "/nonexistent/folder/t.json"], "/nonexistent/folder/t.json")

if failures:
    print("\n\n".join(failures))
    print(f"{len(failures)} of {checks} checks failed")
    sys.exit(1)
print(f"{checks} checks of the calculators passed")
