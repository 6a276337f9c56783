"""The cases of the comparison: sizes, how the PyTorch module is built, and the safetensors file both sides read."""
import dataclasses
import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from . import evoformer, qwen


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    family: str  # qwen, evoformer, pair, outer
    title: str
    config: dict
    batch: dict
    optimizer: str = "none"  # qwen: the update belongs to the step
    compiled: bool = True  # torch.compile too; each family has it at its smallest and largest size (--compile-all: everywhere)
    device: str = "cpu"  # where its sizes make sense


QWEN = dict(hidden_size=896, num_attention_heads=14, num_key_value_heads=2, head_dim=64, intermediate_size=4864, num_hidden_layers=4,
            vocab_size=8192, rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=True, initializer_range=0.02)
EVOFORMER = dict(c_m=256, c_z=128, c_hidden_msa_att=32, no_heads_msa=8, c_hidden_pair_att=32, no_heads_pair=4, c_hidden_mul=128,
                 c_hidden_opm=32, transition_n=4, no_column_attention=False, opm_first=False, fuse_projection_weights=False,
                 msa_dropout=0.0, pair_dropout=0.0, inf=1e9, eps=1e-3)
PAIR = dict(c_z=128, c_hidden_mul=128, c_hidden_pair_att=32, no_heads_pair=4, transition_n=4, no_blocks=2)
OUTER = dict(c_m=64, c_hidden=64, c_z=64)


def _qwen(b, s):
    return Case(f"qwen_{b}x{s}", "qwen", f"Qwen2.5-0.5B widths, 4 layers, batch {b}, {s} tokens", QWEN, dict(batch=b, seq=s), "adamw", compiled=b == 1)


def _evoformer(s, r):
    return Case(f"evoformer_{s}x{r}", "evoformer", f"Evoformer block, AlphaFold 2 widths, {s} sequences x {r} residues", EVOFORMER,
                dict(n_seq=s, n_res=r))


def _pair(n):
    return Case(f"pair_{n}", "pair", f"Pairformer pair stack, AlphaFold 3 widths, 2 blocks, N = {n}", PAIR, dict(n_res=n), compiled=n != 192)


CASES = {c.name: c for c in [
    _qwen(1, 512), _qwen(2, 512), _qwen(1, 2048), _evoformer(64, 64), _evoformer(128, 128), _pair(128), _pair(192), _pair(256),
    Case("outer_250", "outer", "Outer product of bioformer, batch 2, 250 genes, 64 x 64 channels", OUTER, dict(batch=2, n_res=250)),
    # Seconds in all: for a look and for the test.
    Case("qwen_small", "qwen", "Qwen, 2 layers, hidden 128, batch 2, 64 tokens",
         QWEN | dict(hidden_size=128, num_attention_heads=4, num_key_value_heads=2, head_dim=32, intermediate_size=352, num_hidden_layers=2, vocab_size=512),
         dict(batch=2, seq=64), "adamw"),
    Case("evoformer_small", "evoformer", "Evoformer block, 16 sequences x 24 residues", EVOFORMER, dict(n_seq=16, n_res=24)),
    Case("pair_small", "pair", "Pair stack, 2 blocks, N = 32", PAIR, dict(n_res=32)),
    Case("outer_small", "outer", "Outer product of bioformer, batch 1, 48 genes", OUTER, dict(batch=1, n_res=48)),
]}
# Sizes for a GPU: one pair block, and the whole of Qwen2.5-0.5B.
QWEN_HALF_BILLION = QWEN | dict(num_hidden_layers=24, vocab_size=151936)
for _case in [
    *(Case(f"pair_block_{n}", "pair", f"Pairformer pair block, AlphaFold 3 widths, N = {n}", PAIR | dict(no_blocks=1), dict(n_res=n), device="cuda")
      for n in (256, 384, 512)),
    Case("qwen_0.5b_8x1024", "qwen", "Qwen2.5-0.5B, 24 layers, batch 8, 1024 tokens", QWEN_HALF_BILLION, dict(batch=8, seq=1024), "adamw", device="cuda"),
]:
    CASES[_case.name] = _case
SMALL = [n for n in CASES if n.endswith("_small")]
FULL = [n for n, c in CASES.items() if n not in SMALL and c.device == "cpu"]
ON_GPU = [n for n, c in CASES.items() if c.device == "cuda"]


def build_module(family, config):
    return {"qwen": qwen.Qwen, "evoformer": evoformer.EvoformerBlock, "pair": evoformer.PairStack,
            "outer": evoformer.LoneOuterProduct}[family](config)


def _prefix(family):
    return "" if family == "qwen" else "param."


def parameter_names(family, module):
    """(name in the file, parameter)."""
    for name, p in module.named_parameters():
        yield _prefix(family) + (name.removeprefix("inner.") if family == "outer" else name), p


def _inputs(case, g):
    b = case.batch
    normal = lambda *shape: torch.randn(shape, generator=g)  # noqa: E731
    if case.family == "qwen":
        ids = torch.randint(0, case.config["vocab_size"], (b["batch"], b["seq"]), generator=g)
        return {"in.input_ids": ids, "in.labels": ids.clone()}
    r = b["n_res"]
    if case.family == "outer":
        m = (b["batch"], 1, r, case.config["c_m"])
        return {"in.m": normal(*m), "cot.update": normal(b["batch"], r, r, case.config["c_z"])}
    z = (1, r, r, case.config["c_z"])
    t = {"in.z": normal(*z), "cot.z": normal(*z), "in.pair_mask": torch.ones(1, r, r)}
    if case.family == "evoformer":
        m = (1, b["n_seq"], r, case.config["c_m"])
        t |= {"in.m": normal(*m), "cot.m": normal(*m), "in.msa_mask": torch.ones(1, b["n_seq"], r)}
    return t


SOURCE = {"evoformer": ("aqlaboratory/openfold", "EvoformerBlock"), "pair": ("reckon", "PairStack"),
          "outer": ("giacomo-ciro/240316_bio-llms", "OuterProductMean")}


def write_case(case, path, seed=1):
    """Weights, batch and cotangents from one seed. Nothing starts at zero, so that every gradient is checked."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    module = build_module(case.family, case.config)
    tensors = {name: p.detach().clone() for name, p in parameter_names(case.family, module)}
    if case.family != "qwen":
        for name, t in tensors.items():
            if t.dim() == 1:
                t.add_(0.1 * torch.randn(t.shape, generator=g))
    tensors |= _inputs(case, g)
    meta = {"case": case.name, "bench_family": case.family, "config": json.dumps(case.config)}
    if case.family == "qwen":
        meta |= {"family": "qwen2"}
    else:
        repo, cls = SOURCE[case.family]
        meta |= {"source": json.dumps({"repo": repo, "cls": cls}), "call": json.dumps({"mask_transitions": False, "training": False})}
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=meta)


class Loaded:
    """A case file as a module and a step: `forward()` gives outputs, `backward(outputs)` fills gradients."""

    def __init__(self, path, device="cpu"):
        with safe_open(path, "pt", device=device) as f:
            meta = f.metadata()
            tensors = {k: f.get_tensor(k) for k in f.keys()}
        self.family = meta["bench_family"]
        with torch.device(device):
            self.module = build_module(self.family, json.loads(meta["config"]))
        with torch.no_grad():
            for name, p in parameter_names(self.family, self.module):
                p.copy_(tensors.pop(name))
        self.cotangents = [tensors.pop(k) for k in sorted(tensors) if k.startswith("cot.")]
        self.inputs = {k.removeprefix("in."): t for k, t in tensors.items()}
        self.run = self.module
        for name in ("m", "z"):
            if name in self.inputs:
                self.inputs[name].requires_grad_()

    def widen(self):
        """Everything that is floating point in f64."""
        self.module.double()
        self.cotangents = [c.double() for c in self.cotangents]
        self.inputs = {k: t.detach().double().requires_grad_(t.requires_grad) if t.is_floating_point() else t for k, t in self.inputs.items()}

    def arguments(self):
        order = {"qwen": ("input_ids", "labels"), "evoformer": ("m", "z", "msa_mask", "pair_mask"), "pair": ("z", "pair_mask"), "outer": ("m",)}
        return [self.inputs[k] for k in order[self.family]]

    def leaves(self):
        yield from parameter_names(self.family, self.module)
        for name, t in self.inputs.items():
            if t.requires_grad:
                yield "in." + name, t

    def forward(self):
        return self.run(*self.arguments())

    def backward(self, outputs):
        if self.family == "qwen":
            outputs.backward()
        else:
            torch.autograd.backward(list(outputs), [c.to(o.dtype) for c, o in zip(self.cotangents, outputs)])

    def loss(self, outputs):
        if self.family == "qwen":
            return outputs.item()
        return sum((o.double() * c.double()).sum().item() for o, c in zip(outputs, self.cotangents))

    def clear(self):
        for _, t in self.leaves():
            t.grad = None
