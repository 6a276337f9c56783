#!/usr/bin/env python3
"""Version, completion, manual page and suggestions come from the program's own help and agree with it.

usage: doors_test.py PROGRAM"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

program = str(pathlib.Path(sys.argv[1]).resolve())
failures = []
checks = 0
left_out = []


def run(*args, **more):
    return subprocess.run([program, *args], capture_output=True, text=True, timeout=120, **more)


def expect(name, condition, text=""):
    global checks
    checks += 1
    if not condition:
        failures.append(f"{name}\n{text}")


def commands_in(help_text):
    part = help_text.split("Subcommands:")
    return re.findall(r"^  ([a-z][\w-]*)", part[1], re.M) if len(part) == 2 else []


def flags_in(help_text):
    return sorted({flag for line in re.findall(r"^  (-\S+)", help_text, re.M) for flag in line.split(",")})


# The tree as --help shows it: path -> flags.
tree = {}
waiting = [[]]
while waiting:
    path = waiting.pop()
    text = run(*path, "--help").stdout
    tree[tuple(path)] = flags_in(text)
    waiting += [[*path, name] for name in commands_in(text)]
expect("there are commands", len(tree) > 12 and ("plan", "training-time") in tree, str(list(tree)))
expect("train has flags", {"--checkpoint", "--fuse", "--dtype"} <= set(tree[("train",)]), str(tree[("train",)]))

# Version.
version = run("--version")
expect("version", version.returncode == 0 and re.match(r"reckon \d+\.\d+\.\d+\n", version.stdout), version.stdout + version.stderr)
expect("what was built", all(word in version.stdout for word in ("build: ", "CPU kernels: ", "CUDA plugin: ")), version.stdout)

# Suggestions: one wrong letter, two swapped, one missing; nothing is suggested for what is far from everything.
for words, meant in [(["trian", "qwen"], "train"), (["train", "qwen", "--chekpoint", "none"], "--checkpoint"), (["plan", "qwen", "--fues=all"], "--fuse"),
                     (["explain", "tenser", "4x8 f32"], "tensor"), (["plan", "training-time", "--stage", "x"], "--stages")]:
    r = run(*words)
    expect(f"{' '.join(words)}: suggests {meant}", r.returncode == 2 and f"did you mean {meant}?" in r.stderr, r.stderr)
for family, mistyped, meant in (("qwen", "qwen2.5-7", "qwen2.5-7b"), ("evoformer", "alphafold", "alphafold2"), ("pairformer", "dmeo", "demo"), ("af3", "tinny", "tiny")):
    r = run("plan", family, "--preset", mistyped)
    expect(f"preset {mistyped} of {family}: suggests {meant}", r.returncode == 1 and f"Did you mean '{meant}'?" in r.stderr, r.stderr)
r = run("plan", "qwem")
expect("model qwem: suggests qwen", r.returncode == 1 and "Did you mean 'qwen'?" in r.stderr, r.stderr)
for words in (["cook"], ["train", "qwen", "--temperature-of-the-sea", "4"]):
    r = run(*words)
    expect(f"{' '.join(words)}: no wild guess", r.returncode == 2 and "did you mean" not in r.stderr, r.stderr)
r = run("train", "qwen", "--data", "--preset", "tiny")
expect("a known flag is not suggested away", "did you mean" not in r.stderr, r.stderr)

# Completion: what bash offers is what --help lists, command by command.
script = run("completion", "bash").stdout
with tempfile.TemporaryDirectory() as work:
    (pathlib.Path(work) / "reckon.bash").write_text(script)

    def offers(*words):
        array = " ".join(f"'{w}'" for w in words)
        body = f"source reckon.bash; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _reckon; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        r = subprocess.run(["bash", "--norc", "-c", body], cwd=work, capture_output=True, text=True, timeout=60)
        expect(f"bash completes {words}", r.returncode == 0 and not r.stderr, r.stderr)
        return r.stdout.split()

    for path, flags in tree.items():
        offered = offers("reckon", *path, "--")
        expect(f"bash offers the flags of '{' '.join(path)}'", sorted(offered) == [f for f in flags if f.startswith("--")], f"{offered}\n{flags}")
    expect("bash offers commands", set(offers("reckon", "")) >= {"train", "plan", "audit"})
    expect("bash completes a command", offers("reckon", "trai") == ["train"])
    expect("bash offers values", offers("reckon", "parity", "--dtype", "") == ["f64", "f32", "bf16"])
    expect("bash offers values after =", offers("reckon", "parity", "--dtype", "=", "b") == ["bf16"])
    expect("bash offers files", offers("reckon", "train", "--data", "reck") == ["reckon.bash"])

    zsh = run("completion", "zsh").stdout
    expect("zsh names itself", zsh.startswith("#compdef reckon\n"), zsh[:80])
    for path, flags in tree.items():
        part = zsh.split(f'"{" ".join(["reckon", *path])}")\n', 1)
        expect(f"zsh has a case for '{' '.join(path)}'", len(part) == 2)
        body = part[-1].split(" ;;\n", 1)[0]
        expect(f"zsh offers the flags of '{' '.join(path)}'", all(f"'{flag}" in body for flag in flags), body)
    if shutil.which("zsh"):
        (pathlib.Path(work) / "_reckon").write_text(zsh)
        r = subprocess.run(["zsh", "-f", "-c", "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; autoload -Uz +X _reckon"], cwd=work, capture_output=True, text=True)
        expect("zsh reads the script", r.returncode == 0 and not r.stderr, r.stderr)
    else:
        left_out.append("zsh was not asked to read its script: no zsh here")

# The manual page has every command, flag and description, and renders without a complaint.
man = run("man").stdout
if shutil.which("groff"):
    r = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-rLL=78n"], input=man, capture_output=True, text=True)
    expect("groff renders the page without warnings", r.returncode == 0 and not r.stderr, r.stderr[:2000])
    page = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", r.stdout).replace("\u2212", "-").replace("\u2010", "-")
    for path, flags in tree.items():
        expect(f"the page has 'reckon {' '.join(path)}'", " ".join(["reckon", *path]) in page, page)
        expect(f"the page has the flags of '{' '.join(path)}'", all(flag in page for flag in flags))
else:
    left_out.append("the manual page was not rendered: no groff here")
plain = re.sub(r"\\f[BIR]|\\:", "", man).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
for path in tree:
    first_line = run(*path, "--help").stdout.split("\n")[0]
    expect(f"the page has the description of '{' '.join(path)}'", first_line in plain, first_line)

if failures:
    print("\n".join(failures))
    print(f"{len(failures)} of {checks} checks failed")
    sys.exit(1)
print("\n".join([f"{checks} checks passed", *left_out]))
