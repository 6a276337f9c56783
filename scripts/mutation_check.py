#!/usr/bin/env python3
"""Does the parity suite notice wrong mathematics? Each mutation below breaks one line in a throw-away copy of the tree;
`reckon` is built there and must then fail `reckon parity tests/reference`. Exits with 1 when a mutation survives.

  scripts/mutation_check.py                  all, in this order (most are one kernel file to rebuild)
  scripts/mutation_check.py --only rope sum  some of them
  scripts/mutation_check.py --list           names only; also checks that every text to replace is still there
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUSED = ["--fuse", "all"]
# name, file, old text (found once), new text, flags of `reckon parity`. f64 runs the formulas as they are written for it,
# so the lines below are the ones that f64 reaches.
MUTATIONS = [
    ("softmax-sign", "ops/softmax/softmax_kernel.h", "o[i] = k_exp(v[i] - top);", "o[i] = k_exp(top - v[i]);", []),
    ("softmax-backward", "ops/softmax/softmax_kernel.h", "o[i] = yv[i] * (gv[i] - dot);", "o[i] = yv[i] * (gv[i] + dot);", []),
    ("rope-sine-sign", "ops/rope/rope_kernel.h", "sine[i] = k_sin(angle);", "sine[i] = -k_sin(angle);", []),
    ("layer-norm-eps", "ops/layer_norm/layer_norm_kernel.h", "k_sqrt(squares / C(c) + eps)", "k_sqrt(squares / C(c))", []),
    ("rms-norm-eps", "ops/rms_norm/rms_norm_kernel.h", "k_sqrt(sum / C(c) + eps)", "k_sqrt(sum / C(c))", []),
    ("cross-entropy-all-rows", "ops/cross_entropy/cross_entropy_kernel.h", "total = total / C(counted_targets(targets, t.ignore_index));",
     "total = total / C(rows);", []),
    ("sum-last-element", "ops/sum/sum_kernel.h", "for (int64_t i = 0; i < count; ++i) total += v[i];",
     "for (int64_t i = 0; i + 1 < count; ++i) total += v[i];", []),
    ("attention-mask-ignored", "ops/attention/attention_reference.h", "if (mask.defined()) dot += terms[j];", "", FUSED),
    ("attention-scale", "ops/attention/attention_reference.h", "dot = dot * C(attrs.scale);", "dot = dot;", FUSED),
    ("adamw-decay-after-step", "ops/adamw/adamw_kernel.h",
     """      if (t.decays_param) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = p[i] * p_factor;
      }
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) m[i] = lerp_to(m[i], g[i], w1);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) v[i] = lerp_to_square(v[i], g[i], w2);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) d[i] = root_term(v[i], root, eps);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) p[i] = quotient_sum(p[i], m[i], d[i], step);
""",
     """      for (int64_t i = 0; i < n; ++i) m[i] = lerp_to(m[i], g[i], w1);
      for (int64_t i = 0; i < n; ++i) v[i] = lerp_to_square(v[i], g[i], w2);
      for (int64_t i = 0; i < n; ++i) d[i] = root_term(v[i], root, eps);
      for (int64_t i = 0; i < n; ++i) p[i] = quotient_sum(p[i], m[i], d[i], step);
      if (t.decays_param)
        for (int64_t i = 0; i < n; ++i) p[i] = p[i] * p_factor;
""", FUSED),
    ("gelu-constant", "ops/activation/activation.h",
     "return C(0.5) * x * (C(1) + k_erf(x * C(kRootHalf)));", "return C(0.5) * x * (C(1) + k_erf(x * C(0.7)));", []),
    ("silu-slope", "ops/activation/activation.h", "g * (s * (C(1) + x * (C(1) - s)))", "g * (s * (C(1) - x * (C(1) - s)))", []),
    ("norm-linear-eps", "ops/kernel/cpu/norm_rows.h", "k_sqrt(squares / C(c) + n.eps)", "k_sqrt(squares / C(c))", FUSED),
    ("outer-product-a-b", "ops/outer_product_mean/outer_product_mean_kernel.h",
     "const Matrix a = batch_of(args.in[In::a], n, batch), b = batch_of(args.in[In::b], n, batch);\n    for (int64_t i0 = 0; i0 < n.r; i0 += t.ti) {",
     "const Matrix a = batch_of(args.in[In::b], n, batch), b = batch_of(args.in[In::a], n, batch);\n    for (int64_t i0 = 0; i0 < n.r; i0 += t.ti) {",
     FUSED),
    ("triangle-direction", "models/nn/pair_updates.cpp", "outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1}",
     "!outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1}", []),
    ("triangle-direction-fused", "models/nn/pair_updates.cpp", "z, mask, w, outgoing, layer_norm_in.eps",
     "z, mask, w, !outgoing, layer_norm_in.eps", FUSED),
    ("outer-product-eps", "models/nn/pair_updates.cpp", "ops::affine(count, 1.0, eps)", "ops::affine(count, 1.0, 0.0)", []),
]


def broken(text, name, file, old, new):
    if text.count(old) != 1:
        sys.exit(f"{name}: the text to replace occurs {text.count(old)} times in {file}, expected once: {old.splitlines()[0]!r}")
    return text.replace(old, new)


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutations")
    parser.add_argument("--list", action="store_true", help="print the names, build nothing")
    parser.add_argument("--jobs", type=int, default=2, help="compilers at a time")
    args = parser.parse_args()
    known = [m[0] for m in MUTATIONS]
    if unknown := set(args.only or []) - set(known):
        sys.exit(f"unknown mutation {', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
    chosen = [m for m in MUTATIONS if not args.only or m[0] in args.only]
    for name, file, old, new, _ in chosen:
        broken((ROOT / file).read_text(), name, file, old, new)
        if args.list:
            print(f"{name:26} {file}")
    if args.list:
        return 0

    # The copy is the last commit plus what is not committed of tracked files.
    with tempfile.TemporaryDirectory(prefix="reckon_mutation_") as folder:
        tree = pathlib.Path(folder) / "tree"
        build = tree / "build"  # the usual place, so that a compiler cache knows the unbroken objects
        environment = dict(os.environ, CCACHE_BASEDIR=str(tree), CCACHE_NOHASHDIR="1", GOMP_SPINCOUNT="1000")
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, "HEAD"], cwd=ROOT, check=True)
        try:
            patch = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
            if patch:
                subprocess.run(["git", "apply"], cwd=tree, input=patch, check=True)
            subprocess.run(["cmake", "-S", tree, "-B", build, "-G", "Ninja", "-DRECKON_TESTS=OFF",
                            "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"], check=True, stdout=subprocess.DEVNULL)

            def compile_and_judge(flags):
                built = run(["cmake", "--build", build, "--target", "reckon", "--parallel", str(args.jobs)], env=environment)
                if built.returncode:
                    return None, built.stdout
                judged = run([build / "reckon", "parity", tree / "tests/reference", "--dtype", "f64", *flags], env=environment)
                return judged.returncode == 0, judged.stdout

            for flags in ([], FUSED):
                passes, output = compile_and_judge(flags)
                if not passes:
                    sys.exit(f"the unbroken tree does not pass, nothing can be judged:\n{output[-3000:]}")
            survivors = 0
            for name, file, old, new, flags in chosen:
                path = tree / file
                sound = path.read_text()
                path.write_text(broken(sound, name, file, old, new))
                passes, output = compile_and_judge(flags)
                path.write_text(sound)
                if passes is None:
                    sys.exit(f"{name} does not compile: a mutation must\n{output[-3000:]}")
                survivors += passes
                last = output.strip().splitlines()[-1] if output.strip() else "no output"
                print(f"{name:26} {'SURVIVED' if passes else 'caught':9} {last}", flush=True)
            print(f"{len(chosen)} mutations, {len(chosen) - survivors} caught, {survivors} survived")
            return 1 if survivors else 0
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
