#!/usr/bin/env python3
"""Writes tests/reference/evoformer/af3_swiglu_transition_boltz.safetensors: Boltz's lone transition,
fc3(silu(fc1(n)) * fc2(n)) with n = LayerNorm(x), its values and gradients stated here in float64 with the standard
library alone. Run it from the repository root; the same file comes out every time."""

import json
import math
import random
import struct

SHAPE, DIM, HIDDEN, EPS = (1, 5, 5), 12, 36, 1e-5
OUT = "tests/reference/evoformer/af3_swiglu_transition_boltz.safetensors"


def matrix(draw, rows, columns):
    return [[draw.gauss(0, 1 / math.sqrt(columns)) for _ in range(columns)] for _ in range(rows)]


def times(w, v):  # W v
    return [math.fsum(a * b for a, b in zip(row, v)) for row in w]


def transposed_times(w, v):  # W^T v
    return [math.fsum(w[i][j] * v[i] for i in range(len(w))) for j in range(len(w[0]))]


def add_outer(total, a, b):
    for row, x in zip(total, a):
        for j, y in enumerate(b):
            row[j] += x * y


def forward_backward(p, x, cot, grads):
    """One row: its output and dx; adds what it gives the parameters to `grads`."""
    mean = math.fsum(x) / DIM
    centred = [v - mean for v in x]
    inverse = 1 / math.sqrt(math.fsum(v * v for v in centred) / DIM + EPS)
    hat = [v * inverse for v in centred]
    n = [h * w + b for h, w, b in zip(hat, p["norm.weight"], p["norm.bias"])]
    a, b = times(p["fc1.weight"], n), times(p["fc2.weight"], n)
    s = [1 / (1 + math.exp(-v)) for v in a]
    product = [u * t * v for u, t, v in zip(a, s, b)]
    out = times(p["fc3.weight"], product)

    add_outer(grads["fc3.weight"], cot, product)
    d = transposed_times(p["fc3.weight"], cot)
    da = [g * v * t * (1 + u * (1 - t)) for g, v, t, u in zip(d, b, s, a)]
    db = [g * u * t for g, u, t in zip(d, a, s)]
    add_outer(grads["fc1.weight"], da, n)
    add_outer(grads["fc2.weight"], db, n)
    dn = [u + v for u, v in zip(transposed_times(p["fc1.weight"], da), transposed_times(p["fc2.weight"], db))]
    for i in range(DIM):
        grads["norm.weight"][i] += dn[i] * hat[i]
        grads["norm.bias"][i] += dn[i]
    g = [u * w for u, w in zip(dn, p["norm.weight"])]
    mean_g, mean_gh = math.fsum(g) / DIM, math.fsum(u * h for u, h in zip(g, hat)) / DIM
    return out, [inverse * (u - mean_g - h * mean_gh) for u, h in zip(g, hat)]


def flat(v):
    return [x for row in v for x in row] if isinstance(v[0], list) else list(v)


def main():
    draw = random.Random(20)
    p = {
        "norm.weight": [1 + 0.3 * draw.gauss(0, 1) for _ in range(DIM)],
        "norm.bias": [0.4 * draw.gauss(0, 1) for _ in range(DIM)],
        "fc1.weight": matrix(draw, HIDDEN, DIM),
        "fc2.weight": matrix(draw, HIDDEN, DIM),
        "fc3.weight": matrix(draw, DIM, HIDDEN),
    }
    grads = {k: [[0.0] * len(r) for r in v] if isinstance(v[0], list) else [0.0] * len(v) for k, v in p.items()}
    rows = math.prod(SHAPE)
    x = [[draw.gauss(0, 1) for _ in range(DIM)] for _ in range(rows)]
    cot = [[draw.gauss(0, 1) for _ in range(DIM)] for _ in range(rows)]
    both = [forward_backward(p, r, c, grads) for r, c in zip(x, cot)]
    out, dx = [b[0] for b in both], [b[1] for b in both]
    loss = math.fsum(a * b for o, c in zip(out, cot) for a, b in zip(o, c))

    shape = list(SHAPE) + [DIM]
    tensors = {"loss": ([1], [loss]), "in.x": (shape, x), "grad.in.x": (shape, dx), "out.update": (shape, out),
               "cot.update": (shape, cot)}
    for name, v in p.items():
        size = [len(v), len(v[0])] if isinstance(v[0], list) else [len(v)]
        tensors["param." + name] = (size, v)
        tensors["grad.param." + name] = (size, grads[name])
    metadata = {
        "config": json.dumps({"dim": DIM, "hidden": HIDDEN, "out_dim": DIM}),
        "call": json.dumps({"x": shape}),
        "source": json.dumps({"repo": "jwohlwend/boltz", "file": "src/boltz/model/layers/transition.py",
                              "cls": "Transition", "licence": "MIT"}),
        "tolerance": json.dumps({"float64_rtol": 1e-9}),
        "zero_grads": "[]",
        "notes": "the class's formula and parameter names, evaluated in float64 by scripts/make_boltz_transition.py; "
                 "the class itself was not run",
    }
    header, data = {"__metadata__": metadata}, b""
    for name in sorted(tensors):
        size, values = tensors[name]
        values = flat(values)
        raw = struct.pack(f"<{len(values)}d", *values)
        header[name] = {"dtype": "F64", "shape": size, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header)
    text += " " * (-len(text) % 8)
    with open(OUT, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text.encode() + data)
    print(f"{OUT}: {8 + len(text) + len(data)} bytes")


if __name__ == "__main__":
    main()
