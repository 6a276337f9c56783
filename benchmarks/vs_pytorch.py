#!/usr/bin/env python3
"""Measures reckon against PyTorch on the CPU or a GPU: same weights, same batch, gradients compared first, then timed in turn.

Run it with the Python of benchmarks/setup.sh. Everything at once takes 40 to 80 minutes on two virtual processors and writes
benchmarks/results/<date>-<processor>.md and .json. A variant that cannot run (no compiler for torch.compile, too little
memory) becomes a row that says why."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", default="all", help="comma-separated names or prefixes, 'all' or 'small' (see --list)")
    p.add_argument("--list", action="store_true", help="print the cases and end")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: its own cases, reckon's plugin and PyTorch on the same card")
    p.add_argument("--rounds", type=int, default=4, help="least rounds per case and precision (default 4)")
    p.add_argument("--most-rounds", type=int, default=15, help="most rounds of a quick case (default 15)")
    p.add_argument("--seconds", type=float, default=15, help="a quick case goes on with rounds for so long (default 15)")
    p.add_argument("--longest", type=float, default=60, help="seconds after which a slow case stops early, after 2 rounds at least (default 60)")
    p.add_argument("--quick", action="store_true", help="2 rounds, no torch.compile")
    p.add_argument("--dtypes", default="f32,bf16", help="f32, bf16 or both")
    p.add_argument("--torch", default="eager,checkpoint,compile,cudnn", help="PyTorch variants; cudnn: eager with cuDNN's causal attention, decoders on a GPU in bf16 (default: all)")
    p.add_argument("--compile-all", action="store_true", help="torch.compile in every case, not only at each family's smallest and largest size")
    p.add_argument("--policies", default="none,selective,sublayer,block,selective-low,sublayer-low",
                   help="reckon's --checkpoint values, always with --fuse all; -low: residual streams in bf16 too, bf16 only")
    p.add_argument("--threads", type=int, default=2, help="threads of each side (default 2)")
    p.add_argument("--patience", type=float, default=420, help="seconds to wait for one answer of a variant (default 420)")
    p.add_argument("--reckon", default=str(HERE.parent / "build" / "reckon"), help="the program (default build/reckon)")
    p.add_argument("--out", help="file to write, without suffix (default benchmarks/results/<date>-<cpu>)")
    p.add_argument("--resume", action="store_true", help="keep the cases that the output already holds; measure the others")
    return p, p.parse_args()


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor() or "cpu"


def processor(a, torch):
    return torch.cuda.get_device_name() if a.device == "cuda" else cpu_name()


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)", "", text).lower()).strip("-")


def choose(text, all_cases, full, small):
    if text == "all":
        return full
    if text == "small":
        return small
    names = []
    for word in text.split(","):
        found = [word] if word in all_cases else [n for n in full if n.startswith(word)]
        if not found:
            sys.exit(f"no case is called '{word}'; there are: {', '.join(all_cases)}")
        names += [n for n in found if n not in names]
    return names


def commit():
    """The commit of the sources; "-dirty" where any of them but results and documents differ from it."""
    git = lambda *words: subprocess.run(["git", "-C", str(HERE.parent), *words], capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!docs")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def without_paths(arguments):
    """The command as another machine would give it: where this one keeps its files says nothing."""
    kept, words = [], iter(arguments)
    for word in words:
        if word in ("--out", "--reckon"):
            next(words, None)
        elif not word.startswith(("--out=", "--reckon=")):
            kept.append(word)
    return kept


def describe_run(a, torch):
    memory = next(line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    mkl = re.search(r"oneAPI Math Kernel Library Version ([\d.]+)", torch.__config__.show())
    return {"date": datetime.date.today().isoformat(), "device": processor(a, torch), "processor": f"{cpu_name()}, {os.cpu_count()} visible, {a.threads} threads used",
            "memory": f"{int(memory) / 2**20:.0f} GiB", "system": platform.platform(),
            "load when started": " ".join(f"{x:.2f}" for x in os.getloadavg()), "reckon": commit(),
            "PyTorch": f"{torch.__version__}, MKL {mkl.group(1) if mkl else 'unknown'}, oneDNN {torch.backends.mkldnn.is_available()}; AdamW fused",
            "environment": "GOMP_SPINCOUNT=1000 on both sides",
            "commands": ["scripts/build.sh", "benchmarks/setup.sh", "PYTHON " + shlex.join(["benchmarks/vs_pytorch.py", *without_paths(sys.argv[1:])])]}


def main():
    parser, a = parse()
    try:
        import torch
        from torch_models import CASES
        from torch_models.cases import FULL, ON_GPU, SMALL
    except ImportError as e:
        sys.exit(f"{e}: run benchmarks/setup.sh, then this with the Python it made")
    from harness import report
    from harness.measure import DTYPES, POLICIES, TORCH_VARIANTS, measure_case, say
    if a.list:
        for c in CASES.values():
            print(f"{c.name:18} {c.title}")
        return
    if a.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: PyTorch sees no GPU here")
    if not os.access(a.reckon, os.X_OK):
        sys.exit(f"{a.reckon} is no program: build first (scripts/build.sh), or give --reckon")
    for name, text, known in (("dtypes", a.dtypes, DTYPES), ("torch", a.torch, TORCH_VARIANTS), ("policies", a.policies, POLICIES)):
        for word in text.split(","):
            if word not in known:
                parser.error(f"--{name}: '{word}' is none of {', '.join(known)}")
    a.dtypes, a.torch_variants, a.policies = a.dtypes.split(","), a.torch.split(","), a.policies.split(",")
    if a.quick:
        a.rounds = a.most_rounds = 2
        a.torch_variants = [v for v in a.torch_variants if v != "compile"]
    names = choose(a.cases, CASES, ON_GPU if a.device == "cuda" else FULL, SMALL)
    out = pathlib.Path(a.out or HERE / "results" / f"{datetime.date.today().isoformat()}-{slug(processor(a, torch))}")
    out.parent.mkdir(parents=True, exist_ok=True)
    meta, done = describe_run(a, torch), {}
    if a.resume and out.with_suffix(".json").exists():
        earlier = json.loads(out.with_suffix(".json").read_text())
        done = {c["name"]: c for c in earlier["cases"]}
        meta["commands"] = earlier["meta"]["commands"] + meta["commands"][-1:]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vs-pytorch-") as work:
        for i, name in enumerate(names):
            if a.resume and name in done:
                say(f"[{i + 1}/{len(names)}] {name}: kept from {out}.json")
                continue
            say(f"[{i + 1}/{len(names)}] {(time.monotonic() - begin) / 60:.1f} min so far")
            done[name] = measure_case(a, CASES[name], pathlib.Path(work) / name) | {"reckon": commit()}
            meta["minutes"] = round((time.monotonic() - begin) / 60, 1)
            ordered = [done[n] for n in CASES if n in done]
            out.with_suffix(".json").write_text(json.dumps({"meta": meta, "cases": ordered}, indent=1))
            out.with_suffix(".md").write_text(report.render(meta, ordered))
    print(report.target_table([done[n] for n in CASES if n in done]))
    say(f"written: {out}.md and .json")
    if any(not r["agreement"]["agrees"] for c in done.values() for d in c["dtypes"].values() for r in d["rows"].values() if "agreement" in r):
        sys.exit("some gradients disagree: the times of those rows mean nothing")


if __name__ == "__main__":
    main()
