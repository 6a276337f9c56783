#!/usr/bin/env python3
"""Do the tests notice wrong code? Each mutation of scripts/mutations.py breaks one line in a throw-away copy of the tree; the
program or test that is to notice is built there and must then fail. Exits with 1 when a mutation survives.

  scripts/mutation_check.py                     all, in this order
  scripts/mutation_check.py --only rope sum     those whose name begins like this
  scripts/mutation_check.py --judge autograd    those of one judge: parity, autograd_test, ops_test, simt_test
  scripts/mutation_check.py --list              names only; also checks that every text to replace is still there
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import mutations

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 300  # a judge that takes longer hangs, which is noticing


def broken(text, m):
    if text.count(m.old) != 1:
        sys.exit(f"{m.name}: the text to replace occurs {text.count(m.old)} times in {m.file}, expected once: {m.old.splitlines()[0]!r}")
    return text.replace(m.old, m.new)


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


class Copy:
    """A tree of the last commit plus what is not committed of tracked files, and its build folder."""

    def __init__(self, folder, jobs):
        self.tree = pathlib.Path(folder) / "tree"
        self.build = self.tree / "build"  # the usual place, so that a compiler cache knows the unbroken objects
        self.jobs = jobs
        self.environment = dict(os.environ, CCACHE_BASEDIR=str(self.tree), CCACHE_NOHASHDIR="1", CCACHE_DEPEND="1", GOMP_SPINCOUNT="1000",
                                CCACHE_SLOPPINESS="pch_defines,time_macros,include_file_mtime,include_file_ctime")

    def __enter__(self):
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", self.tree, "HEAD"], cwd=ROOT, check=True)
        patch = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
        if patch:
            subprocess.run(["git", "apply"], cwd=self.tree, input=patch, check=True)
        subprocess.run(["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DRECKON_TESTS=ON", "-DRECKON_CUDA=OFF",
                        "-DRECKON_SIMT_SANITIZERS=OFF", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"], check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        subprocess.run(["git", "worktree", "remove", "--force", self.tree], cwd=ROOT)

    def judge(self, judge):
        """Builds the judge and asks it: (it noticed nothing, what it printed), or (None, the compiler's words)."""
        name, _, argument = judge.partition(" ")
        target = "reckon" if name == "parity" else name
        built = run(["cmake", "--build", self.build, "--target", target, "--parallel", str(self.jobs)], env=self.environment)
        if built.returncode:
            return None, built.stdout
        if name == "parity":
            command = [self.build / "reckon", "parity", self.tree / "tests/reference", "--dtype", "f64"] + (["--fuse", "all"] if argument else [])
        else:
            command = [next(self.build.glob(f"tests/**/{target}")), "--gtest_brief=1"] + ([f"--gtest_filter={argument}"] if argument else [])
        try:
            asked = run(command, env=self.environment, timeout=SECONDS, cwd=self.build)
        except subprocess.TimeoutExpired:
            return False, f"no answer in {SECONDS} s"
        if name != "parity" and " 0 tests from" in asked.stdout and not asked.returncode:
            return None, f"{judge}: no such test\n"
        last = asked.stdout.strip().splitlines()[-1] if asked.stdout.strip() else f"exit status {asked.returncode}"
        return asked.returncode == 0, last


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutations, by the beginning of their names")
    parser.add_argument("--judge", help="those that this program or test has to notice")
    parser.add_argument("--list", action="store_true", help="print the names, build nothing")
    parser.add_argument("--jobs", type=int, default=2, help="compilers at a time")
    args = parser.parse_args()
    chosen = [m for m in mutations.ALL
              if (not args.only or any(m.name.startswith(n) for n in args.only)) and (not args.judge or m.judge.startswith(args.judge))]
    if not chosen:
        sys.exit(f"no such mutation: expected some of {', '.join(m.name for m in mutations.ALL)}")
    for m in chosen:
        broken((ROOT / m.file).read_text(), m)
        if args.list:
            print(f"{m.name:34} {m.judge:46} {m.file}")
    if args.list:
        return 0

    with tempfile.TemporaryDirectory(prefix="reckon_mutation_") as folder, Copy(folder, args.jobs) as copy:
        for judge in dict.fromkeys(m.judge for m in chosen):
            sound, output = copy.judge(judge)
            if not sound:
                sys.exit(f"the unbroken tree does not pass {judge}, nothing can be judged:\n{output[-3000:]}")
        survivors, begin = 0, time.monotonic()
        for m in chosen:
            path = copy.tree / m.file
            sound = path.read_text()
            path.write_text(broken(sound, m))
            survived, output = copy.judge(m.judge)
            path.write_text(sound)
            if survived is None:
                sys.exit(f"{m.name} does not compile: a mutation must\n{output[-3000:]}")
            survivors += survived
            print(f"{m.name:34} {'SURVIVED' if survived else 'caught':9} {output}", flush=True)
        minutes = (time.monotonic() - begin) / 60
        print(f"{len(chosen)} mutations, {len(chosen) - survivors} caught, {survivors} survived, {minutes:.0f} min")
        return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
