#!/usr/bin/env python3
"""Does a model folder mean the same to transformers as to reckon? Compares the loss of one short text, in f32, and
the 48 tokens each continues it with, greedily and from its own key/value cache.

usage: check_hf_folder.py RECKON FOLDER     (needs the packages torch, transformers, safetensors)"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers

TEXT = "the cell adds up to the byte, and the byte adds up to the cell. 1 and 2 are 3."
program, folder = (str(pathlib.Path(a).resolve()) for a in sys.argv[1:3])
model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True,
                                                                  attn_implementation="eager")
problems = {key: value for key, value in report.items() if value}
has_tokenizer = any((pathlib.Path(folder) / name).exists() for name in ("tokenizer.json", "vocab.json"))
if has_tokenizer:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXT)["input_ids"]
else:
    ids = [*TEXT.encode()]
# Training reads all but the last tenth; with this length that is one window.
ids = ids[: len(ids) - len(ids) // 10]
with torch.no_grad():
    theirs = model(torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    (work / "text.txt").write_text(TEXT)
    command = [program, "train", "qwen", "--model", folder, "--data", "text.txt", "--seq", str(len(ids) - 1), "--batch", "1", "--steps", "1",
               "--report", "none", "--json", "run.json"]
    subprocess.run(command + ([] if has_tokenizer else ["--tokenizer", "bytes"]), cwd=work, check=True, stdout=subprocess.DEVNULL)
    ours = json.loads((work / "run.json").read_text())["losses"][0][0]
    common = [program, "generate", "--model", folder, "--prompt-ids", ",".join(map(str, ids)), "--max-new-tokens", "48", "--ignore-stop", "--report",
              "none", "--json", "out.json"]
    subprocess.run(common + ([] if has_tokenizer else ["--tokenizer", "bytes"]), cwd=work, check=True, stdout=subprocess.DEVNULL)
    continued = json.loads((work / "out.json").read_text())["sequences"][0]["ids"]
with torch.no_grad():
    expected = model.generate(torch.tensor([ids]), max_new_tokens=48, do_sample=False, min_new_tokens=48, pad_token_id=0)[0, len(ids):].tolist()
same = next((i for i, (a, b) in enumerate(zip(continued, expected)) if a != b), 48)
print(f"greedy: {same} of 48 tokens agree")
print(f"loss: transformers {theirs:.7f}, reckon {ours:.7f}, difference {abs(theirs - ours):.1e}")
if problems:
    print(f"transformers complains: {problems}")
sys.exit(bool(problems) or abs(theirs - ours) > 1e-4 or same < 48)
