"""Golden files of single operations from PyTorch in f64, for make_reference.py. One entry of FORWARD says what `op` of a file means;
gradients are autograd's for the cotangents in the file."""
import json
import math

import torch
import torch.nn.functional as F


def GIVEN(stored):
    return [name for name in stored if name.startswith(("in.", "cot."))]


def rms_norm(i, a):
    x = i["x"]
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + a["eps"]) * i["weight"]


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), -1)


def rope(i, a):
    dim = i["q"].shape[-1]
    frequency = 1.0 / (a["theta"] ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim))
    angle = i["position_ids"].double()[..., None] * frequency
    table = torch.cat((angle, angle), -1)
    cos, sin = table.cos()[:, None], table.sin()[:, None]
    out = {name: i[name] * cos + rotate_half(i[name]) * sin for name in ("q", "k")}
    return {**out, "ref.cos": cos[:, 0], "ref.sin": sin[:, 0]}


def attention(i, a, group=1):
    k, v = (torch.repeat_interleave(i[name], group, 1) for name in ("k", "v"))
    scores = i["q"] @ k.transpose(-1, -2) / math.sqrt(i["q"].shape[-1])
    for name in ("bias", "mask"):
        if name in i:
            scores = scores + i[name]
    if a.get("causal"):
        lq, lk = scores.shape[-2:]
        scores = scores.masked_fill(~torch.ones(lq, lk, dtype=torch.bool).tril(), -torch.inf)
    return scores.softmax(-1) @ v


def gqa(i, a):
    return attention(i, a, i["q"].shape[1] // i["k"].shape[1])


def mean_var(i, a):
    variance, mean = torch.var_mean(i["x"], a["dim"], unbiased=a["unbiased"])
    return {"mean": mean, "var": variance}


def conv2d(i, a):
    return F.conv2d(i["x"], i["weight"], i.get("bias"), a["stride"], a["padding"], a["dilation"], a["groups"])


def cross_entropy(i, a):
    return F.cross_entropy(i["logits"], i["target"], ignore_index=a["ignore_index"], reduction=a["reduction"])


FORWARD = {
    "layer_norm": lambda i, a: F.layer_norm(i["x"], i["x"].shape[-1:], i.get("weight"), i.get("bias"), a["eps"]),
    "rms_norm": rms_norm,
    "softmax": lambda i, a: i["x"].softmax(a["dim"]),
    "log_softmax": lambda i, a: i["x"].log_softmax(a["dim"]),
    "logsumexp": lambda i, a: i["x"].logsumexp(a["dim"]),
    "silu": lambda i, a: F.silu(i["x"]),
    "gelu_erf": lambda i, a: F.gelu(i["x"]),
    "gelu_tanh": lambda i, a: F.gelu(i["x"], approximate="tanh"),
    "sigmoid": lambda i, a: i["x"].sigmoid(),
    "relu": lambda i, a: i["x"].relu(),
    "tanh": lambda i, a: i["x"].tanh(),
    "swiglu": lambda i, a: F.silu(i["gate"]) * i["up"],
    "geglu": lambda i, a: F.gelu(i["gate"], approximate=a.get("approximate", "none")) * i["up"],
    "mul_sigmoid": lambda i, a: i["gate"].sigmoid() * i["x"],
    "cross_entropy": cross_entropy,
    "mse_loss": lambda i, a: F.mse_loss(i["x"], i["target"], reduction=a["reduction"]),
    "embedding": lambda i, a: F.embedding(i["ids"], i["weight"]),
    "linear": lambda i, a: F.linear(i["x"], i["weight"], i.get("bias")),
    "matmul": lambda i, a: i["a"] @ i["b"],
    "einsum": lambda i, a: torch.einsum(a["equation"], i["a"], i["b"]),
    "conv2d": conv2d,
    "sdpa": attention,
    "sdpa_gqa": gqa,
    "rope_rotate_half": rope,
    "mean_var": mean_var,
    "add_mul": lambda i, a: (i["x"] + i["b"]) * i["s"],
    "permute": lambda i, a: i["x"].permute(a["perm"]).reshape(a["then_reshape"]),
    "cat": lambda i, a: torch.cat((i["a"], i["b"]), a["dim"]),
    "masked_fill": lambda i, a: i["x"].masked_fill(i["mask"], a["value"]),
}


def differentiable(stored, op, attrs):
    inputs = {name[3:]: tensor.clone() for name, tensor in stored.items() if name.startswith("in.")}
    for name in inputs:
        inputs[name].requires_grad_(f"grad.{name}" in stored)
    result = FORWARD[op](inputs, attrs)
    result = result if isinstance(result, dict) else {"y": result}
    made = {name if "." in name else f"out.{name}": value for name, value in result.items()}
    wanted = [name for name in inputs if inputs[name].requires_grad]
    if wanted:
        loss = sum((made["out." + name[4:]] * cot).sum() for name, cot in stored.items() if name.startswith("cot."))
        made.update({f"grad.{name}": grad for name, grad in zip(wanted, torch.autograd.grad(loss, [inputs[name] for name in wanted]))})
    return {name: value.detach() for name, value in made.items()}


def optimizer(stored, op, attrs):
    params = [stored[f"in.param{n}"].clone().requires_grad_() for n in range(sum(name.startswith("in.param") for name in stored))]
    kind = {"adamw": torch.optim.AdamW, "adam_l2": torch.optim.Adam, "sgd": torch.optim.SGD}[op]
    attrs = {**attrs, **({"betas": tuple(attrs["betas"])} if "betas" in attrs else {})}
    steps = 1 + max(int(name.split(".")[1][4:]) for name in stored if name.startswith("in.step"))
    run, made = kind(params, **attrs), {}
    for t in range(steps):
        for n, p in enumerate(params):
            p.grad = stored[f"in.step{t}.grad{n}"].clone()
        run.step()
        for n, p in enumerate(params):
            made[f"out.step{t}.param{n}"] = p.detach().clone()
            for key in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
                if key in run.state[p]:
                    made[f"out.step{t}.{key}{n}"] = run.state[p][key].clone()
    return made


def clip(stored, op, attrs):
    params = [torch.zeros_like(stored[name]).requires_grad_() for name in sorted(n for n in stored if n.startswith("in.grad"))]
    for n, p in enumerate(params):
        p.grad = stored[f"in.grad{n}"].clone()
    norm = torch.nn.utils.clip_grad_norm_(params, attrs["max_norm"], attrs["norm_type"])
    return {"out.total_norm": norm, **{f"out.grad{n}": p.grad for n, p in enumerate(params)}}


def schedule(stored, op, attrs):
    import transformers

    p = torch.zeros(1, requires_grad=True)
    run = torch.optim.SGD([p], lr=attrs["lr"])
    if op == "lr_cosine_warmup":
        plan = transformers.get_cosine_schedule_with_warmup(run, attrs["warmup_steps"], attrs["total_steps"], attrs["num_cycles"])
    else:
        plan = transformers.get_linear_schedule_with_warmup(run, attrs["warmup_steps"], attrs["total_steps"])
    rates = []
    for _ in range(stored["out.lr"].numel()):
        rates.append(run.param_groups[0]["lr"])
        run.step()
        plan.step()
    return {"out.lr": torch.tensor(rates, dtype=torch.float64)}


def casts(stored, op, attrs):
    bf16, f16 = stored["in.x"].bfloat16(), stored["in.x"].half()
    return {"out.bf16": bf16, "out.f16": f16, "out.bf16_as_f32": bf16.float(), "out.f16_as_f32": f16.float()}


def grad_scaler(stored, op, attrs):
    """torch's documented rule in f32: its class needs a GPU."""
    scale, tracker = torch.tensor(attrs["init_scale"], dtype=torch.float32), 0
    scales, trackers, taken, inverse = [], [], [], []
    for found in stored["in.found_inf"].tolist():
        inverse.append(scale.double().reciprocal())
        taken.append(int(not found))
        if found:
            scale, tracker = scale * attrs["backoff_factor"], 0
        else:
            tracker += 1
            if tracker == attrs["growth_interval"]:
                grown = scale * attrs["growth_factor"]
                scale, tracker = (grown if bool(torch.isfinite(grown)) else scale), 0
        scales.append(scale)
        trackers.append(tracker)
    return {"out.scale": torch.stack(scales), "out.growth_tracker": torch.tensor(trackers), "out.step_taken": torch.tensor(taken),
            "out.inv_scale_used": torch.stack(inverse)}


OTHERS = {"adamw": optimizer, "adam_l2": optimizer, "sgd": optimizer, "clip_grad_norm": clip, "lr_cosine_warmup": schedule,
          "lr_linear_warmup": schedule, "cast_f32": casts, "grad_scaler": grad_scaler}


def make(stored, metadata):
    op, attrs = metadata["op"], json.loads(metadata.get("attrs", "{}"))
    if op not in FORWARD and op not in OTHERS:
        raise SystemExit(f"{metadata.get('case', '?')}: no producer of op '{op}'; add one to scripts/reference_ops.py")
    return OTHERS.get(op, differentiable)(stored, op, attrs)
