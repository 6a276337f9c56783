"""One case: the file, the agreement check, then all variants in turn, round by round."""
import json
import pathlib
import sys
import time

from torch_models import write_case

from . import agreement
from .workers import PROBLEM, Worker, run_once

HERE = pathlib.Path(__file__).resolve().parent
TORCH_VARIANTS = ["eager", "checkpoint", "compile", "cudnn"]  # cudnn: eager, its causal attention by cuDNN alone
# reckon's --checkpoint values; "-low" keeps the residual streams in bf16 too and exists in bf16 only.
POLICIES = ["none", "selective", "sublayer", "block", "selective-low", "sublayer-low"]
DTYPES = ["f32", "bf16"]
# Both sides sleep at barriers instead of spinning for milliseconds: the two never run at once, but a shared machine
# would punish whoever spins.
ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def torch_command(options, path, variant, dtype, optimizer, json_path, *more):
    return [sys.executable, HERE / "torch_worker.py", path, "--variant", variant, "--dtype", dtype, "--optimizer", optimizer, "--threads",
            options.threads, "--device", options.device, "--json", json_path, *more]


def reckon_command(options, path, policy, dtype, optimizer, json_path, *more):
    policy, low = policy.removesuffix("-low"), policy.endswith("-low")
    more = (*more, "--residual", "low") if low else more
    return [options.reckon, "bench", "step", path, "--device", options.device, "--dtype", dtype, "--checkpoint", policy, "--fuse", "all", "--optimizer", optimizer,
            "--threads", options.threads, "--json", json_path, *more]


def policies_of(options, case, dtype):
    low_too = dtype == "bf16" and case.family in ("evoformer", "pair")
    return [p for p in options.policies if low_too or not p.endswith("-low")]


def torch_variants_of(options, case, dtype):
    """compile costs minutes; cuDNN's attention exists on a GPU and in 16 bits, and takes no pair bias whose gradient fits."""
    runs = {"compile": case.compiled or options.compile_all, "cudnn": options.device == "cuda" and dtype == "bf16" and case.family == "qwen"}
    return [v for v in options.torch_variants if runs.get(v, True)]


def torch_books(options, case, path, work):
    """Counts of PyTorch, eager and checkpointed, in both precisions; gradients of eager."""
    books = {}
    for dtype in options.dtypes if "f32" in options.dtypes else ["f32", *options.dtypes]:
        for variant in ("eager", "checkpoint"):
            out = work / f"books-{variant}-{dtype}.json"
            more = ["--mode", "books"]
            if variant == "eager":
                more += ["--grads", work / f"torch-{dtype}.safetensors"]
            books[variant, dtype] = run_once(torch_command(options, path, variant, dtype, "none", out, *more), out, ENVIRONMENT)
            if PROBLEM in books[variant, dtype]:
                say(f"  PyTorch {variant} {dtype}: {books[variant, dtype][PROBLEM]}")
    return books


def in_f64(options, case, path, work, result):
    """The comparison once more without rounding to speak of; both sides run once for all rows of a case."""
    theirs, ours = work / "torch-f64.safetensors", work / "reckon-f64.safetensors"
    if not ours.exists():
        say("  f32 gradients miss their tolerance: comparing in f64")
        run_once(torch_command(options, path, "eager", "f64", "none", work / "torch-f64.json", "--mode", "books", "--grads", theirs), work / "torch-f64.json", ENVIRONMENT)
        command = [options.reckon, "bench", "step", path, "--dtype", "f64", "--threads", options.threads, "--rounds", 1, "--json", work / "reckon-f64.json", "--grads", ours]
        run_once(command, work / "reckon-f64.json", ENVIRONMENT)
    if not (theirs.exists() and ours.exists()):
        return result
    loss = [json.loads((work / f"{side}-f64.json").read_text())["loss"] for side in ("reckon", "torch")]
    return agreement.check_again(result, ours, loss[0], theirs, loss[1])


def start_workers(options, case, path, work, dtype):
    workers = {}
    for variant in torch_variants_of(options, case, dtype):
        out = work / f"time-{variant}-{dtype}.json"
        if variant == "compile":
            say("  PyTorch compile: compiling, up to a few minutes the first time")
        workers["PyTorch " + variant] = Worker(variant, torch_command(options, path, variant, dtype, case.optimizer, out), out, ENVIRONMENT, options.patience)
    for policy in policies_of(options, case, dtype):
        out = work / f"reckon-{policy}-{dtype}.json"
        grads = work / f"reckon-{policy}-{dtype}.safetensors"
        command = reckon_command(options, path, policy, dtype, case.optimizer, out, "--on-request", "--grads", grads, "--warmup", 2)
        workers["reckon " + policy] = Worker(policy, command, out, ENVIRONMENT, options.patience)
    for name, w in workers.items():
        if w.failure:
            say(f"  {name} {dtype} cannot run: {w.failure}")
    return workers


def take_turns(options, workers, dtype):
    """Rounds of one step each. At least `rounds`; more of them while the case has seconds left."""
    begin, rounds = time.monotonic(), 0
    while rounds < options.rounds or (rounds < options.most_rounds and time.monotonic() - begin < options.seconds):
        at = time.monotonic()
        order = list(workers.values())
        # Every other round backwards, so that nobody always follows the same neighbour.
        for w in order if rounds % 2 == 0 else reversed(order):
            w.step()
        rounds += 1
        say(f"  {dtype} round {rounds}: {time.monotonic() - at:.1f} s")
        if rounds >= 2 and rounds < options.rounds and (time.monotonic() - begin) * (rounds + 1) / rounds > options.longest:
            say(f"  {dtype}: {rounds} rounds instead of {options.rounds}, so that the case ends within {options.longest} s")
            break
    return rounds


def measure_case(options, case, work):
    """All figures of one case as plain data."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "case.safetensors"
    say(f"{case.name}: {case.title}")
    write_case(case, str(path))
    books = torch_books(options, case, path, work)
    result = {"name": case.name, "title": case.title, "family": case.family, "config": case.config, "batch": case.batch, "optimizer": case.optimizer,
              "device": options.device, "dtypes": {}}
    truth = books["eager", "f32"]
    for dtype in options.dtypes:
        workers = start_workers(options, case, path, work, dtype)
        rounds = take_turns(options, workers, dtype)
        rows = {name: w.finish() for name, w in workers.items()}
        for variant in ("eager", "checkpoint"):
            row = rows.get("PyTorch " + variant)
            if row is not None and PROBLEM not in row:
                row |= {k: v for k, v in books[variant, dtype].items() if k not in row}
        for policy in policies_of(options, case, dtype):
            row = rows["reckon " + policy]
            if PROBLEM in row or PROBLEM in truth:
                continue
            low = work / f"torch-{dtype}.safetensors" if dtype != "f32" else None
            row["agreement"] = agreement.check(work / f"reckon-{policy}-{dtype}.safetensors", row["loss"], work / "torch-f32.safetensors", truth["loss"], low,
                                                  policy.endswith("-low"))
            if dtype == "f32" and case.family in agreement.WITH_RELU and not row["agreement"]["agrees"]:
                row["agreement"] = in_f64(options, case, path, work, row["agreement"])
            if not row["agreement"]["agrees"]:
                say(f"  reckon {policy} {dtype} DISAGREES with PyTorch: {row['agreement']}")
        result["dtypes"][dtype] = {"rounds": rounds, "rows": rows}
    for f in work.glob("*.safetensors"):
        f.unlink()
    return result
