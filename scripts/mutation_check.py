#!/usr/bin/env python3
"""Do the tests notice wrong code? Each mutation of scripts/mutations.py breaks one line in a throw-away copy of the tree; the
program or test that is to notice is built there and must then fail. Exits with 1 when a mutation survives.

  scripts/mutation_check.py                     all, in this order
  scripts/mutation_check.py --only rope sum     those whose name begins like this
  scripts/mutation_check.py --judge autograd    those of one judge: parity, autograd_test, ops_test, simt_test
  scripts/mutation_check.py --folder DIR        keeps the copy and its build there, and takes up what an earlier run left
  scripts/mutation_check.py --list              names only; also checks that every text to replace is still there
"""
import argparse
import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import mutations

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS, FACTOR = 60, 10  # a judge that takes longer than this, and than so many times what it took of the unbroken tree, hangs: it noticed


def broken(text, m):
    if text.count(m.old) != 1:
        sys.exit(f"{m.name}: the text to replace occurs {text.count(m.old)} times in {m.file}, expected once: {m.old.splitlines()[0]!r}")
    return text.replace(m.old, m.new)


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


class Copy:
    """A tree of the last commit plus what is not committed of tracked files, and its build folder. Leaving it removes it unless `keeps`."""

    def __init__(self, folder, keeps, jobs):
        self.tree = pathlib.Path(folder).resolve()
        self.build = self.tree / "build"  # the usual place, so that a compiler cache knows the unbroken objects
        self.keeps, self.jobs = keeps, jobs
        self.limits = {}  # seconds, by judge
        self.environment = dict(os.environ, CCACHE_DEPEND="1", GOMP_SPINCOUNT="1000",
                                CCACHE_SLOPPINESS="pch_defines,time_macros,include_file_mtime,include_file_ctime")
        if "CCACHE_BASEDIR" not in os.environ:  # objects of one copy serve in another
            self.environment.update(CCACHE_BASEDIR=str(self.tree), CCACHE_NOHASHDIR="1")

    def __enter__(self):
        if (self.tree / ".git").exists():
            head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=True, text=True).stdout.strip()
            subprocess.run(["git", "checkout", "--quiet", "--force", "--detach", head], cwd=self.tree, check=True)
            subprocess.run(["git", "clean", "--quiet", "-fd"], cwd=self.tree, check=True)
        else:
            subprocess.run(["git", "worktree", "add", "--quiet", "--force", "--detach", self.tree, "HEAD"], cwd=ROOT, check=True)
        patch = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
        if patch:
            subprocess.run(["git", "apply"], cwd=self.tree, input=patch, check=True)
        subprocess.run(["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DRECKON_TESTS=ON", "-DRECKON_CUDA=OFF",
                        "-DRECKON_SIMT_SANITIZERS=OFF", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"], check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        if not self.keeps:
            subprocess.run(["git", "worktree", "remove", "--force", self.tree], cwd=ROOT)

    def build_for(self, judge):
        """The compiler's words when the judge's program cannot be built, else nothing."""
        name = judge.split()[0]
        built = run(["cmake", "--build", self.build, "--target", "reckon" if name == "parity" else name, "--parallel", str(self.jobs)],
                    env=self.environment)
        return built.stdout if built.returncode else ""

    def ask(self, judge):
        """(whether the judge is content, the last line of what it said)"""
        name, _, argument = judge.partition(" ")
        if name == "parity":
            command = [self.build / "reckon", "parity", self.tree / "tests/reference", "--dtype", "f64"] + (["--fuse", "all"] if argument else [])
        else:
            command = [self.build / "tests" / name, "--gtest_brief=1"] + ([f"--gtest_filter={argument}"] if argument else [])
        try:
            asked = run(command, env=self.environment, timeout=self.limits.get(judge), cwd=self.build)
        except subprocess.TimeoutExpired:
            return False, f"no answer in {self.limits[judge]:.0f} s"
        lines = asked.stdout.strip().splitlines() or [""]
        if asked.returncode < 0:
            return False, f"killed by signal {-asked.returncode}"
        failed = [line for line in lines if line.startswith("[  FAILED  ]")]
        return asked.returncode == 0, failed[0] if failed else lines[-1]

    def time_unbroken(self, judge):
        """Sets the judge's limit; ends the program where the unbroken tree does not build or pass, or where no test has such a name."""
        begin = time.monotonic()
        words = self.build_for(judge)
        if words:
            sys.exit(f"the unbroken tree does not build for {judge}:\n{words[-3000:]}")
        built = time.monotonic()
        content, said = self.ask(judge)
        if not content or said.endswith(" 0 tests."):
            sys.exit(f"of the unbroken tree, {judge} says: {said}")
        took = time.monotonic() - built
        self.limits[judge] = max(SECONDS, FACTOR * took)
        print(f"unbroken, {judge}: {said} (built in {built - begin:.0f} s, ran {took:.1f} s)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutations, by the beginning of their names")
    parser.add_argument("--judge", help="those that this program or test has to notice")
    parser.add_argument("--folder", help="where the copy is made and stays")
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
            print(f"{m.name:36} {m.judge:60} {m.file}")
    if args.list:
        return 0

    with tempfile.TemporaryDirectory(prefix="reckon_mutation_") as spare, Copy(args.folder or f"{spare}/tree", bool(args.folder), args.jobs) as copy:
        for judge in dict.fromkeys(m.judge for m in chosen):
            copy.time_unbroken(judge)
        verdicts, begin = collections.Counter(), time.monotonic()
        for m in chosen:
            path = copy.tree / m.file
            sound = path.read_text()
            path.write_text(broken(sound, m))
            verdict, said = "NO BUILD", copy.build_for(m.judge)
            if not said:
                content, said = copy.ask(m.judge)
                verdict = "SURVIVED" if content else "caught"
            path.write_text(sound)
            verdicts[verdict] += 1
            print(f"{m.name:36} {verdict:9} {said[-3000:]}", flush=True)
        minutes = (time.monotonic() - begin) / 60
        print(f"{len(chosen)} mutations, {verdicts['caught']} caught, {verdicts['SURVIVED']} survived, {verdicts['NO BUILD']} do not compile, {minutes:.0f} min")
        return 0 if verdicts["caught"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
