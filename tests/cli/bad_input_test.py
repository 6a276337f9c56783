#!/usr/bin/env python3
"""Bad input at the command line: a clear message, a non-zero exit, and nothing half-written.

usage: bad_input_test.py PROGRAM"""
import gzip
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time

program = str(pathlib.Path(sys.argv[1]).resolve())
reference = pathlib.Path(__file__).resolve().parent.parent / "reference" / "evoformer"
failures = []
checks = 0


def run(*args, cwd=None, timeout=120):
    return subprocess.run([program, *map(str, args)], capture_output=True, text=True, cwd=cwd, timeout=timeout)


def expect_error(name, args, *fragments, code=1):
    global checks
    checks += 1
    r = run(*args, cwd=work)
    text = r.stderr + r.stdout
    if r.returncode != code:
        failures.append(f"{name}: exit code {r.returncode}, expected {code}\n{text}")
    for f in fragments:
        if f not in text:
            failures.append(f"{name}: the message lacks '{f}':\n{text}")
    if "internal error" in text:
        failures.append(f"{name}: an internal error reached the user:\n{text}")


def expect(name, condition, text=""):
    global checks
    checks += 1
    if not condition:
        failures.append(f"{name}\n{text}")


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    (work / "text.txt").write_text("the cell adds up to the byte. " * 200)
    (work / "short.txt").write_text("too short")
    (work / "empty.txt").write_text("")
    (work / "good.aln").write_text("\n".join("ARNDCQEGHILKMFPSTWYV" for _ in range(12)) + "\n")
    (work / "one.aln").write_text("ARNDCQEGHILKMFPSTWYV\n")
    (work / "ragged.aln").write_text("ARNDCQEG\nARNDC\n")
    (work / "illegal.aln").write_text("ARNDCQEG\nARN!CQEG\n")
    (work / "empty.aln").write_text("")
    (work / "binary.aln").write_bytes(bytes(range(256)) * 4)
    (work / "cut.aln.gz").write_bytes(gzip.compress(b"ARNDCQEG\n" * 500)[:40])
    (work / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2,
                                                  "num_attention_heads": 5, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64}))
    (work / "broken.json").write_text("{")
    (work / "spec.json").write_text(json.dumps({"threads": -3}))
    (work / "spec2.json").write_text(json.dumps({"treads": 3}))
    tiny = ["--preset", "tiny", "--steps", "1", "--report", "none"]
    qwen = ["train", "qwen", *tiny, "--data", "text.txt"]

    expect_error("missing data", ["train", "qwen", *tiny, "--data", "nowhere.txt"], "nowhere.txt")
    expect_error("no data", ["train", "qwen", *tiny], "--data")
    af3 = ["train", "af3", *tiny]
    expect_error("af3: batch", [*af3, "--batch", "2"], "--batch must be 1", "--accumulate")
    expect_error("af3: too few tokens", [*af3, "--tokens", "2"], "--tokens", "3", "got 2")
    expect_error("af3: negative chunk", [*af3, "--chunk", "-2"], "--chunk", "got -2")
    expect_error("af3: data", [*af3, "--data", "text.txt"], "--data", "makes up")
    expect_error("af3: preset", ["plan", "af3", "--preset", "large"], "large", "af3, demo, tiny")
    expect_error("af3: rollout without its reader", [*af3, "--rollout", "--no-confidence"], "--rollout", "--no-confidence")
    expect_error("af3: early gradients of a scaled loss", [*af3, "--backward-per-chunk", "--accumulate", "2"], "--backward-per-chunk", "--accumulate 1")
    expect_error("af3: residual type", [*af3, "--dtype", "bf16", "--residual", "low"], "--residual low")
    expect_error("af3: part type", [*af3, "--diffusion-dtype", "int3"], "int3")
    expect_error("empty text", ["train", "qwen", *tiny, "--data", "empty.txt"], "empty.txt")
    expect_error("sequence longer than data", ["train", "qwen", *tiny, "--data", "short.txt", "--seq", "4096"], "4096", "--seq")
    expect_error("ragged alignment", ["train", "evoformer", *tiny, "--data", "ragged.aln"], "ragged.aln", "8", "5")
    expect_error("illegal character", ["train", "evoformer", *tiny, "--data", "illegal.aln"], "illegal.aln", "!")
    expect_error("empty alignment", ["train", "evoformer", *tiny, "--data", "empty.aln"], "empty.aln")
    expect_error("binary alignment", ["train", "evoformer", *tiny, "--data", "binary.aln"], "binary.aln")
    expect_error("truncated gzip", ["train", "evoformer", *tiny, "--data", "cut.aln.gz"], "cut.aln.gz")
    expect_error("crop larger than alignment", ["train", "evoformer", *tiny, "--data", "good.aln", "--seq", "400"], "400", "20")
    expect_error("unknown model", ["train", "gpt5", "--data", "text.txt"], "gpt5", "qwen, evoformer, pairformer or af3")
    expect_error("unknown Pairformer preset", ["plan", "pairformer", "--preset", "huge"], "huge", "alphafold3")
    expect_error("an alignment of one row has no profile", ["train", "pairformer", *tiny, "--data", "one.aln"], "1 row", "at least two")
    expect_error("pairformer crop larger than alignment", ["train", "pairformer", *tiny, "--data", "good.aln", "--seq", "400"], "400", "20")
    expect_error("rows of a pairformer", ["plan", "pairformer", "--preset", "tiny", "--rows", "4"], "--rows", "--batch")
    expect_error("unknown preset", ["train", "qwen", "--preset", "huge", "--data", "text.txt"], "huge", "qwen2.5-72b")
    expect_error("unknown checkpoint policy", [*qwen, "--checkpoint", "some"], "some", "selective")
    expect_error("unknown fusion", [*qwen, "--fuse", "attention,everything"], "everything", "cross-entropy")
    expect_error("unknown dtype", [*qwen, "--dtype", "int4"], "int4")
    expect_error("trace device", [*qwen, "--trace-device", "maybe"], "--trace-device must be on, off or counters")
    expect_error("counters of a cpu", [*qwen, "--trace-device", "counters"], "needs --device cuda")
    expect_error("storage dtype", [*qwen, "--dtype", "f64"], "--dtype must be f32, bf16 or f16")
    expect_error("unknown device", [*qwen, "--device", "tpu"], "tpu", "cpu, cuda or meta")
    expect_error("a plan for a GPU that is not here", ["plan", "qwen", "--preset", "tiny", "--device", "cuda"], "needs --spec")
    expect_error("unknown flag", [*qwen, "--chekpoint", "none"], "--chekpoint", code=2)
    expect_error("text for a number", [*qwen, "--batch", "many"], "--batch", code=2)
    expect_error("negative batch", [*qwen, "--batch", "-2"], "--batch")
    expect_error("zero accumulate", [*qwen, "--accumulate", "0"], "--accumulate")
    expect_error("negative learning rate", [*qwen, "--lr", "-1"], "--lr")
    expect_error("heads that do not divide", ["train", "qwen", "--config", "config.json", "--data", "text.txt"], "5", "2", "multiple")
    expect_error("config that is not JSON", ["train", "qwen", "--config", "broken.json", "--data", "text.txt"], "broken.json", "not JSON")
    expect_error("spec on cpu", [*qwen, "--spec", "spec.json"], "--device meta")
    expect_error("spec with a negative", ["plan", "qwen", "--preset", "tiny", "--spec", "spec.json"], "threads")
    expect_error("spec with a typo", ["plan", "qwen", "--preset", "tiny", "--spec", "spec2.json"], "treads", "threads")
    expect_error("memory limit", [*qwen, "--memory-limit", "1MiB"], "out of memory", "op '", "module '", "phase", "largest live groups", "largest free gap")
    expect_error("memory limit in parsecs", [*qwen, "--memory-limit", "8 parsecs"], "8 parsecs", "512MiB")
    for zero in ("0", "0B", "0MiB", "0.0"):
        r = run("plan", "qwen", "--preset", "tiny", "--memory-limit", zero)
        expect(f"--memory-limit {zero} is no limit", r.returncode == 0, r.stderr)
    expect_error("no memory in parsecs", ["plan", "qwen", "--preset", "tiny", "--memory-limit", "0 parsecs"], "parsecs", "512MiB")

    # Flags of one family are read as all others are.
    af3 = ["plan", "af3", "--preset", "tiny"]
    for flag, text, setting in (("--rollout=false", "rollout", "off"), ("--rollout", "rollout", "on"), ("--no-confidence=no", "confidence", "on"),
                                ("--no-confidence", "confidence", "off"), ("--recycles=0x3", "recycles", "3"), ("--recycles=+2", "recycles", "2")):
        r = run(*af3, flag)
        words = next((line.split() for line in r.stdout.splitlines() if line.split()[:1] == [text]), [])
        expect(f"{flag} sets {text} to {setting}", words == [text, setting], f"{words}\n{r.stderr}")
    expect_error("a switch with a word", [*af3, "--rollout=abc"], "--rollout", "abc", code=2)
    expect_error("a switch with a number no integer holds", [*af3, "--rollout=99999999999999999999"], "--rollout", code=2)
    expect_error("a family's number that is none", [*af3, "--recycles", "1.5"], "--recycles", "1.5", code=2)
    expect_error("unwritable json", [*qwen, "--json", "/nonexistent/folder/run.json"], "/nonexistent/folder/run.json")
    expect_error("tokenizer that is none", [*qwen, "--tokenizer", "broken.json"], "broken.json")
    expect_error("compare with nothing", ["compare", "a.json", "b.json"], "a.json")
    expect_error("compare with something else", ["compare", "config.json", "config.json"], "config.json")
    expect_error("NaN loss", [*qwen[:4], "--steps", "30", "--report", "none", "--data", "text.txt", "--lr", "900", "--clip", "0", "--schedule", "constant",
                              "--optimizer", "sgd"], "the loss is", "--check-nan")
    expect_error("NaN is named", [*qwen[:4], "--steps", "30", "--report", "none", "--data", "text.txt", "--lr", "900", "--clip", "0", "--schedule", "constant",
                                  "--optimizer", "sgd", "--check-nan"], "made NaN or infinity", "module")
    expect("no state is left by failed runs", not list(work.glob("*.tmp*")), str(list(work.iterdir())))

    # Checkpoints: hostile, truncated, of another run.
    r = run(*qwen, "--out", "run", cwd=work)
    expect("a good run works", r.returncode == 0, r.stderr + r.stdout)
    state = work / "run" / "checkpoint.safetensors"
    good = state.read_bytes()
    for name, data in {"truncated": good[: len(good) // 2], "header beyond the file": struct.pack("<Q", 1 << 40) + good[8:],
                       "not safetensors": b"hello", "empty": b""}.items():
        (work / "bad.safetensors").write_bytes(data)
        expect_error(f"checkpoint: {name}", [*qwen, "--resume", "bad.safetensors"], "bad.safetensors")
    expect_error("checkpoint of another run", ["train", "qwen", "--preset", "tiny", "--steps", "5", "--report", "none", "--data", "text.txt",
                                               "--resume", str(state)], "steps")
    expect("resuming did not touch the state", state.read_bytes() == good)

    expect_error("LoRA on an unknown projection", [*qwen, "--lora", "r=2,targets=query"], "query", "q_proj")
    expect_error("LoRA without a rank", [*qwen, "--lora", "r=0"], "rank")
    expect_error("LoRA on evoformer", ["train", "evoformer", *tiny, "--data", "good.aln", "--lora", "r=2"], "--lora")
    expect_error("a whole model is no LoRA checkpoint", [*qwen, "--lora", "r=2", "--resume", str(state)], "lora")

    expect_error("block weights of qwen", [*qwen, "--weights", "x.safetensors"], "--weights", "--model")
    expect_error("block weights that are not there", ["plan", "pairformer", "--preset", "tiny", "--weights", "nowhere.safetensors"], "nowhere.safetensors")
    expect_error("a prefix without weights", ["plan", "pairformer", "--preset", "tiny", "--weights-prefix", "a.blocks"], "--weights-prefix")
    expect_error("block weights of another size", ["plan", "pairformer", "--preset", "tiny", "--weights", reference / "pairformer_boltz_ones.safetensors"],
                 "no tensor of a block")
    expect_error("block weights with several stacks", ["plan", "evoformer", "--preset", "tiny", "--weights", reference / "stack2.safetensors"], "nearest is", "preset")

    # Hugging Face folders.
    expect_error("no such folder", ["train", "qwen", "--model", "nowhere", "--data", "text.txt"], "nowhere")
    expect_error("folder and preset", ["train", "qwen", "--model", ".", "--preset", "tiny", "--data", "text.txt"], "--model", "--preset", code=2)
    expect_error("folder without tokenizer", ["train", "qwen", "--model", "hf", "--data", "text.txt"], "hf")
    expect_error("export on meta", [*qwen, "--device", "meta", "--export", "hf"], "--export", "meta")
    expect_error("export as integers", [*qwen, "--export", "hf", "--export-dtype", "i64"], "--export-dtype")
    expect_error("evoformer has no folder", ["train", "evoformer", *tiny, "--data", "good.aln", "--export", "hf"], "--export")
    r = run(*qwen, "--export", "hf", cwd=work)
    expect("export works", r.returncode == 0 and (work / "hf" / "model.safetensors").exists(), r.stderr + r.stdout)
    expect_error("folder without tokenizer", ["train", "qwen", "--model", "hf", "--data", "text.txt", "--seq", "16"], "--tokenizer")
    r = run("train", "qwen", "--model", "hf", "--tokenizer", "bytes", "--data", "text.txt", "--seq", "16", "--steps", "1", "--report", "none", cwd=work)
    expect("an exported folder trains", r.returncode == 0, r.stderr + r.stdout)
    # Generation.
    speak = ["generate", "--model", "hf", "--prompt", "the cell"]
    five = [*speak, "--max-new-tokens", "5"]
    expect_error("generation without weights", ["generate", "--prompt", "x"], "--model")
    expect_error("generation without a prompt", ["generate", "--model", "hf"], "--prompt")
    expect_error("two prompts", [*speak, "--prompt-ids", "1,2"], "one prompt")
    expect_error("empty prompt file", ["generate", "--model", "hf", "--prompt-file", "empty.txt"], "no tokens")
    expect_error("missing prompt file", ["generate", "--model", "hf", "--prompt-file", "nowhere.txt"], "nowhere.txt")
    expect_error("ids that are none", ["generate", "--model", "hf", "--prompt-ids", "1,x"], "--prompt-ids", "'x'")
    expect_error("ids beyond the vocabulary", ["generate", "--model", "hf", "--prompt-ids", "1,99999"], "99999")
    expect_error("prompt length on cpu", ["generate", "--model", "hf", "--prompt-tokens", "9"], "--device meta")
    expect_error("negative temperature", [*speak, "--temperature", "-1"], "temperature")
    expect_error("top-k of greedy", [*speak, "--top-k", "4"], "temperature")
    expect_error("top-p of two", [*speak, "--temperature", "1", "--top-p", "2"], "top-p")
    expect_error("no new tokens", [*speak, "--max-new-tokens", "0"], "new tokens")
    expect_error("no samples", [*speak, "--samples", "0"], "sequences")
    expect_error("generation in f16", [*speak, "--dtype", "f16"], "--dtype")
    expect_error("chat without a chat tokenizer", [*speak, "--chat"], "--chat", "im_start")
    expect_error("a cache larger than the limit", [*speak, "--memory-limit", "2MiB", "--max-new-tokens", "900000"], "out of memory", "kv_cache")
    expect_error("unwritable generation json", [*speak, "--json", "/nonexistent/x.json"], "/nonexistent/x.json")
    r = run(*five, "--samples", "2", "--temperature", "0.8", "--top-k", "20", "--top-p", "0.9", "--report", "none", "--json", "out.json", cwd=work)
    expect("generation works", r.returncode == 0 and "tokens/s" in r.stdout, r.stderr + r.stdout)
    told = json.loads((work / "out.json").read_text()) if r.returncode == 0 else {"sequences": [], "kv_cache": {}}
    expect("generation's JSON holds both sequences", [len(s["ids"]) for s in told["sequences"]] == [5, 5] or "text" in str(told), str(told)[:400])
    r2 = run(*five, "--samples", "2", "--temperature", "0.8", "--top-k", "20", "--top-p", "0.9", "--report", "none", "--json", "again.json", cwd=work)
    again = json.loads((work / "again.json").read_text())["sequences"]
    expect("the same seed gives the same text", again == told["sequences"], r2.stdout)
    r = run("generate", "--device", "meta", "--config", "qwen2.5-7b", "--prompt-tokens", "1000", "--max-new-tokens", "4", "--dtype", "bf16", cwd=work)
    expect("a dry run counts the cache", "57,516,032 B" in r.stdout and "kv_cache" in r.stdout, r.stderr + r.stdout)
    r = run("plan", "qwen", "--model", "hf", "--seq", "16", cwd=work)
    expect("an exported folder is planned", r.returncode == 0 and "by formula" in r.stdout, r.stderr + r.stdout)
    (work / "hf" / "model.safetensors").write_bytes(good[: len(good) // 2])
    expect_error("folder with a broken file", ["train", "qwen", "--model", "hf", "--tokenizer", "bytes", "--data", "text.txt", "--seq", "16"],
                 "model.safetensors")

    # A kill at any moment leaves a state that can be resumed.
    long = ["train", "qwen", "--preset", "tiny", "--steps", "100000", "--report", "none", "--data", "text.txt", "--out", "killed", "--save-every", "1"]
    for delay in (0.5, 0.9, 1.3):
        p = subprocess.Popen([program, *long], cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 60
        while not (work / "killed" / "checkpoint.safetensors").exists() and time.time() < deadline:
            time.sleep(0.05)
        time.sleep(delay)
        os.kill(p.pid, signal.SIGKILL)
        p.wait()
        checks += 1
        r = subprocess.Popen([program, *long, "--resume", "killed/checkpoint.safetensors"], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = r.stdout.readline()
        r.kill()
        r.wait()
        if not line.startswith("resumed after"):
            failures.append(f"after a kill the state could not be resumed: {line}")

if failures:
    print("\n\n".join(failures))
    print(f"{len(failures)} of {checks} checks failed")
    sys.exit(1)
print(f"{checks} checks of bad input passed")
