"""Do both sides compute the same thing? Loss and every gradient, before anything is timed.

f32: each tensor of reckon against PyTorch's, as a relative 2-norm. bf16: both against PyTorch's f32 gradients; rounding
makes both differ, and reckon may not be further away than PyTorch's own bf16 by more than half. With the residual
streams in bf16 too (which PyTorch's autocast does not do) four times is allowed; such rows carry no time target.

Gradients of a ReLU jump where a sum lies within rounding of zero: two correct f32 programs may then differ by the square
root of (units that jump / units), 1e-4 and more for the 8 million hidden units of 128 x 128 pairs. Where f32 misses its
tolerance in a model with ReLU, both sides are therefore run in f64 as well (reckon with its plain ops there): they must agree in
f64, and f32 within F32_WITH_JUMPS."""
import math

import torch
from safetensors.torch import load_file

F32_TOLERANCE = 1e-4
WITH_RELU = ("evoformer",)
F32_WITH_JUMPS, F64_TOLERANCE = 2e-3, 1e-6  # gradients are stored in f32
BF16_FACTOR, BF16_FLOOR = 1.5, 0.02
LOW_RESIDUAL_FACTOR = 4  # one rounding of the stream per branch, which PyTorch's autocast does not make


def distances(got, expected):
    """Relative 2-norm of each tensor. The floor in the denominator is for gradients that are zero in exact arithmetic."""
    largest = max(t.norm().item() for t in expected.values())
    return {k: (got[k] - t).norm().item() / (t.norm().item() + 1e-4 * largest) for k, t in expected.items()}


def rms(values):
    values = list(values)
    return math.sqrt(sum(v * v for v in values) / len(values))


def check(reckon_path, reckon_loss, torch_f32_path, torch_f32_loss, torch_low_path=None, low_residual=False):
    """{'agrees', 'worst', 'worst_tensor', 'rms', 'tensors', ...}"""
    expected, got = load_file(torch_f32_path), load_file(reckon_path)
    if set(got) != set(expected):
        missing = sorted(set(got) ^ set(expected))
        return {"agrees": False, "why": f"only one side has a gradient for {missing[:3]}", "tensors": len(expected)}
    if any(not torch.isfinite(t).all() for t in got.values()):
        return {"agrees": False, "why": "a gradient is not finite", "tensors": len(expected)}
    d = distances(got, expected)
    worst = max(d, key=d.get)
    result = {"tensors": len(d), "worst": d[worst], "worst_tensor": worst, "rms": rms(d.values()),
              "loss_difference": abs(reckon_loss - torch_f32_loss) / (abs(torch_f32_loss) + 1)}
    if torch_low_path is None:
        result["allowed"] = F32_TOLERANCE
        result["agrees"] = result["worst"] <= F32_TOLERANCE and result["loss_difference"] <= F32_TOLERANCE
    else:
        theirs = rms(distances(load_file(torch_low_path), expected).values())
        result |= {"torch_rms": theirs, "allowed": max((LOW_RESIDUAL_FACTOR if low_residual else BF16_FACTOR) * theirs, BF16_FLOOR)}
        result["agrees"] = result["rms"] <= result["allowed"] and result["loss_difference"] <= 0.05
    return result


def check_again(result, reckon_path, reckon_loss, torch_path, torch_loss):
    """`result` of an f32 row that missed its tolerance, with what the same comparison says in f64."""
    exact = check(reckon_path, reckon_loss, torch_path, torch_loss)
    result |= {"allowed": F32_WITH_JUMPS, "worst_in_f64": exact.get("worst"), "why": exact.get("why", "f32 missed its tolerance")}
    result["agrees"] = exact.get("worst", 1) <= F64_TOLERANCE and result.get("worst", 1) <= F32_WITH_JUMPS
    return result
