#!/usr/bin/env python3
"""Figures of reckon alone: memory of the loss, the optimizer against copying, the ledger's price, the cost of an op call,
a dry run of 72 billion parameters. Needs no PyTorch.

usage: own_figures.py [--reckon PROGRAM] [--out FILE.md] [--rounds N]"""
import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def call(program, *args):
    r = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
    if r.returncode != 0:
        raise RuntimeError((r.stderr or r.stdout).strip().splitlines()[-1])
    return r.stdout


def plan(program, work, *args):
    out = work / "plan.json"
    call(program, "plan", *args, "--json", out)
    return json.loads(out.read_text())


def loss_memory(program, work):
    """Largest live bytes of the loss phase above those of forward, as batch x seq x vocab grows."""
    rows = []
    for vocab in (8192, 32768, 131072):
        config = work / "config.json"
        config.write_text(json.dumps({"model_type": "qwen2", "vocab_size": vocab, "hidden_size": 896, "num_hidden_layers": 1, "num_attention_heads": 14,
                                      "num_key_value_heads": 2, "intermediate_size": 4864, "tie_word_embeddings": True, "rms_norm_eps": 1e-6}))
        for seq in (512, 2048):
            row = {"vocab": vocab, "seq": seq, "logits": 4 * 4 * seq * vocab}
            for fuse in ("none", "all"):
                run = plan(program, work, "qwen", "--config", config, "--batch", 4, "--seq", seq, "--fuse", fuse)
                step = run["books"]["last"]
                row[fuse] = step["max_by_phase"]["loss"] - step["max_by_phase"]["forward"]
            rows.append(row)
    lines = ["## Memory of the loss", "", "Dry runs, Qwen widths, one layer, batch 4. Bytes above the fullest moment of forward while the loss runs.", "",
             "| vocabulary | tokens | logits MiB | fuse none MiB | fuse all MiB |", "|---:|---:|---:|---:|---:|"]
    mib = lambda b: f"{b / 2**20:,.1f}"  # noqa: E731
    lines += [f"| {r['vocab']:,} | 4 x {r['seq']} | {mib(r['logits'])} | {mib(r['none'])} | {mib(r['all'])} |" for r in rows]
    return lines


def machine_and_optimizer(program, work, rounds):
    out = work / "ops.json"
    say("  all ops at model sizes, about two minutes")
    call(program, "bench", "ops", "--rounds", rounds, "--json", out)
    j = json.loads(out.read_text())
    m = j["machine"]
    lines = ["## Ops at model sizes", "",
             f"This machine, measured in the same run: {m['f32_flops'] / 1e9:.0f} GFLOP/s f32, {m['bf16_flops'] / 1e9:.0f} GFLOP/s bf16 (1024^3 products), "
             f"{m['copy_bytes_per_second'] / 1e9:.1f} GB/s copied (read + write), {m['threads']} threads, {m['isa']}.", ""]
    adam = next(o for o in j["ops"] if o["op"] == "adamw_all" and o["dtype"] == "f32")
    rate = adam["bytes"] / adam["seconds"]
    lines += [f"AdamW over all tensors in one launch: {adam['bytes'] / 1e6:,.0f} MB in {adam['seconds'] * 1e3:.1f} ms, {rate / 1e9:.1f} GB/s: "
              f"{rate / m['copy_bytes_per_second']:.0%} of copying (target 80 %).", "",
              "| op | type | time ms | GFLOP/s | GB/s | of roof | where |", "|---|---|---:|---:|---:|---:|---|"]
    for o in j["ops"]:
        t = o["seconds"]
        flops = f"{o['matmul_flops'] / t / 1e9:.0f}" if o["matmul_flops"] else "-"
        lines.append(f"| {o['op']} | {o['dtype']} | {t * 1e3:.3f} | {flops} | {o['bytes'] / t / 1e9:.1f} | {o['share_of_roof']:.0%} | {o['where']} |")
    return lines


def ledger_price(program, work, rounds):
    """The demo-sized step with and without the ledger, in turn; processor time, so that other work does not count."""
    case = HERE.parent / "tests" / "reference" / "evoformer" / "block_ones.safetensors"
    results = []
    for fuse in ("none", "all"):
        ratios, times = [], []
        for i in range(rounds):
            pair = {}
            for ledger in ("on", "off") if i % 2 else ("off", "on"):
                out = work / "step.json"
                call(program, "bench", "step", case, "--fuse", fuse, "--ledger", ledger, "--rounds", 60, "--threads", 1, "--json", out)
                pair[ledger] = statistics.median(json.loads(out.read_text())["cpu_seconds"])
            ratios.append(pair["on"] / pair["off"])
            times.append(pair["off"])
        results.append((f"Evoformer block of the golden files (10 k parameters: the worst case), fuse {fuse}", statistics.median(times), ratios))
        say(f"  ledger on / off, golden block, fuse {fuse}: {statistics.median(ratios):.3f}")
    lines = ["## The price of the ledger", "", "Same binary, `--ledger on` against `off`, alternating; median of the rounds' ratios (target 1.02 at model sizes).", "",
             "| step | off ms | on / off | range |", "|---|---:|---:|---|"]
    lines += [f"| {name} | {t * 1e3:.2f} | {statistics.median(r):.3f} | {min(r):.3f} - {max(r):.3f} |" for name, t, r in results]
    name, t, r = demo_ledger(program, work, rounds)
    lines.append(f"| {name} | {t * 1e3:.1f} | {statistics.median(r):.3f} | {min(r):.3f} - {max(r):.3f} |")
    return lines


def demo_ledger(program, work, rounds):
    """`reckon train` on the demo preset; whole process, 10 steps against 2, so that the start cancels."""
    import resource
    text = work / "text.txt"
    text.write_text("every byte of a peak belongs to one op, one module, one phase and one category. " * 2000)

    def processor_seconds(ledger, steps):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call(program, "train", "qwen", "--preset", "demo", "--data", text, "--cache", work / "cache", "--steps", steps, "--ledger", ledger, "--report", "none",
             "--threads", 1, "--fuse", "all")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    ratios, times = [], []
    for i in range(rounds):
        pair = {}
        for ledger in ("on", "off") if i % 2 else ("off", "on"):
            pair[ledger] = (processor_seconds(ledger, 14) - processor_seconds(ledger, 2)) / 12
        ratios.append(pair["on"] / pair["off"])
        times.append(pair["off"])
    say(f"  ledger on / off, demo training: {statistics.median(ratios):.3f}")
    return "reckon train qwen, demo preset, fuse all", statistics.median(times), ratios


def dispatch(program, work):
    out = work / "dispatch.json"
    call(program, "bench", "dispatch", "--json", out)
    lines = ["## Cost of an op call", "", "Processor time of one call on 8 numbers, one thread, besides the work (target 2 us).", "",
             "| op | cpu us | cpu, events read us | meta us |", "|---|---:|---:|---:|"]
    lines += [f"| {o['op']} | {o['cpu_ns'] / 1e3:.2f} | {o['cpu_observed_ns'] / 1e3:.2f} | {o['meta_ns'] / 1e3:.2f} |" for o in json.loads(out.read_text())["ops"]]
    return lines


def dry_run(program, work):
    begin = time.monotonic()
    run = plan(program, work, "qwen", "--config", "qwen2.5-72b", "--seq", 4096, "--checkpoint", "block", "--fuse", "all", "--dtype", "bf16")
    seconds = time.monotonic() - begin
    return ["## Dry run of Qwen2.5-72B, 80 layers", "",
            f"Two steps, {run['books']['n_events']:,} events, books and JSON written: {seconds:.2f} s as a whole process (target 3 s)."]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--reckon", default=str(HERE.parent / "build" / "reckon"))
    p.add_argument("--out", default=str(HERE / "results" / f"{datetime.date.today().isoformat()}-own.md"))
    p.add_argument("--rounds", type=int, default=5, help="pairs and timed runs (default 5)")
    p.add_argument("--only", help="one of: dispatch, dry-run, loss, ledger, ops")
    a = p.parse_args()
    parts = {"dispatch": lambda w: dispatch(a.reckon, w), "dry-run": lambda w: dry_run(a.reckon, w), "loss": lambda w: loss_memory(a.reckon, w),
             "ledger": lambda w: ledger_price(a.reckon, w, a.rounds), "ops": lambda w: machine_and_optimizer(a.reckon, w, a.rounds)}
    if a.only and a.only not in parts:
        p.error(f"--only: '{a.only}' is none of {', '.join(parts)}")
    lines = [f"# Figures of reckon alone, {datetime.date.today().isoformat()}", "", "Made by `benchmarks/own_figures.py " + " ".join(sys.argv[1:]) + "`.", ""]
    with tempfile.TemporaryDirectory() as folder:
        for name, part in parts.items():
            if a.only and name != a.only:
                continue
            say(name)
            try:
                lines += part(pathlib.Path(folder)) + [""]
            except (RuntimeError, OSError, KeyError) as e:
                lines += [f"## {name}", "", f"Not measured: {e}", ""]
                say(f"  not measured: {e}")
    pathlib.Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(a.out).write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
