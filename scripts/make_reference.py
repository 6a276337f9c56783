#!/usr/bin/env python3
"""Makes the golden files of ops and decoders again, from PyTorch and transformers of PyPI, and compares them with those in the tree.

  python3 -m venv build/reference && build/reference/bin/pip install torch transformers safetensors numpy
  build/reference/bin/python scripts/make_reference.py                   compares every file, exits with 1 when one disagrees
  build/reference/bin/python scripts/make_reference.py softmax_last      some of them
  build/reference/bin/python scripts/make_reference.py --write FOLDER    also writes what it made, for review or for a changed producer

Inputs, cotangents and weights are those in the file; everything else in it is computed. Files that other code made (evoformer/, the
tokenizer, FLOP records) are not made here: the README beside them names code and commit. Equal bits cannot be asked for: another
version of PyTorch adds in another order. So each tensor is compared with the bound of its file's README and the largest difference
is printed; integers must be equal."""
import argparse
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import reference_decoders  # noqa: E402
import reference_ops  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "reference"
# By the dtype of the stored tensor, relative to its largest element: README.md of each folder.
BOUNDS = {torch.float64: 1e-9, torch.float32: 5e-5, torch.bfloat16: 0.0, torch.float16: 0.0}
PURE_BF16 = 2e-2  # out.bf16.*: the whole model in bf16


def read(path):
    with safe_open(path, framework="pt") as f:
        return {name: f.get_tensor(name) for name in f.keys()}, f.metadata()


def difference(made, stored):
    """The largest difference over the largest stored element; positions where both are infinite or NaN agree."""
    if made.shape != stored.shape or made.dtype != stored.dtype:
        return float("inf")
    a, b = made.double(), stored.double()
    same = (a == b) | (a.isnan() & b.isnan())
    if bool(same.all()):
        return 0.0
    largest = float(b[b.isfinite()].abs().max()) if bool(b.isfinite().any()) else 0.0
    return float((a - b)[~same].abs().max()) / max(largest, 1e-300)


def bound_for(name, stored):
    if not stored.is_floating_point():
        return 0.0
    if name.startswith("out.bf16."):
        return PURE_BF16
    return BOUNDS[stored.dtype]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="files without their ending; all when none is named")
    parser.add_argument("--write", type=pathlib.Path, help="folder for the files as made")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted([*(ROOT / "ops").glob("*.safetensors"), *(ROOT / "qwen2").glob("*.safetensors")])
    if arguments.names:
        unknown = set(arguments.names) - {path.stem for path in paths}
        if unknown:
            parser.error(f"no golden file of ops or decoders is called {', '.join(sorted(unknown))}")
        paths = [path for path in paths if path.stem in arguments.names]
    failed = equal = tensors = 0
    largest = {}
    for path in paths:
        stored, metadata = read(path)
        producer = reference_ops if path.parent.name == "ops" else reference_decoders
        made = producer.make(stored, metadata)
        given = set(producer.GIVEN(stored))
        missing = set(stored) - set(made) - given
        rows = [(difference(made[name], stored[name]), bound_for(name, stored[name]), name) for name in made]
        bad = [row for row in rows if not row[0] <= row[1]]
        worst = max(rows, default=(0.0, 0.0, "-"))
        tensors += len(rows)
        equal += sum(row[0] == 0.0 for row in rows)
        for error, _, name in rows:
            kind = "whole models in bf16" if name.startswith("out.bf16.") else str(stored[name].dtype).removeprefix("torch.")
            largest[kind] = max(largest.get(kind, 0.0), error)
        verdict = "FAIL" if bad or missing else "pass"
        failed += verdict == "FAIL"
        print(f"{path.stem:<30} {verdict}  {len(rows):>3} made, {len(given):>3} given; largest difference {worst[0]:.1e} ({worst[2]})")
        for error, bound, name in bad:
            print(f"    {name}: {error:.1e}, bound {bound:.0e}")
        if missing:
            print(f"    not made: {', '.join(sorted(missing))}")
        if arguments.write:
            folder = arguments.write / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            whole = {**stored, **made}
            save_file({name: tensor.contiguous() for name, tensor in whole.items()}, folder / path.name, metadata)
    print(f"{len(paths)} files, {failed} fail; {tensors} tensors made, {equal} of them with equal bits (torch {torch.__version__})")
    print("largest differences: " + ", ".join(f"{kind} {error:.1e}" for kind, error in sorted(largest.items())))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
