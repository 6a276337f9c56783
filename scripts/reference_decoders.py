"""Golden files of Qwen2 and Qwen3 decoders from transformers' own classes, for make_reference.py.

The classes go up to float32 in places (norms, softmax, rotary tables, logits); for the f64 numbers those places go up to float64
instead: the modules see a `torch` whose float32 is float64, and Tensor.float() widens to double. Nothing else is changed."""
import contextlib
import importlib
import json

import torch
import transformers


def GIVEN(stored):
    weights = ("model.", "lm_head.", "lora.", "in.")
    return [name for name in stored if name.startswith(weights)]


class Widened:
    """torch, but float32 means float64."""

    def __getattr__(self, name):
        return torch.float64 if name in ("float32", "float") else getattr(torch, name)


@contextlib.contextmanager
def float64_throughout(family):
    names = (f"models.{family}.modeling_{family}", "modeling_rope_utils", "loss.loss_utils")
    modules = [importlib.import_module(f"transformers.{name}") for name in names]
    kept, plain_float = [m.torch for m in modules], torch.Tensor.float
    try:
        for m in modules:
            m.torch = Widened()
        torch.Tensor.float = torch.Tensor.double
        yield
    finally:
        for m, t in zip(modules, kept):
            m.torch = t
        torch.Tensor.float = plain_float


def build(stored, metadata, dtype):
    """The public class with the file's sizes and weights."""
    family, config = metadata["family"], json.loads(metadata["config"])
    kind = {"qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM), "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM)}[family]
    theta = config.pop("rope_theta")
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    settings = kind[0](**config, rope_theta=theta)
    settings._attn_implementation = "eager"
    model = kind[1](settings).to(dtype).train(False)
    weights = {name: tensor.to(dtype) for name, tensor in stored.items() if name.startswith(("model.", "lm_head."))}
    report = model.load_state_dict(weights, strict=False)
    missing = [name for name in report.missing_keys if not (name == "lm_head.weight" and settings.tie_word_embeddings)]
    if missing or [name for name in report.unexpected_keys if name != "lm_head.bias"]:
        raise SystemExit(f"{metadata['case']}: weights that do not fit: {missing or report.unexpected_keys}")
    return model


def inputs_of(stored, labels=True):
    names = ["input_ids", "attention_mask", "position_ids"] + (["labels"] if labels else [])
    return {name: stored[f"in.{name}"] for name in names if f"in.{name}" in stored}


def activations(model, stored, run):
    """Outputs of the sub-modules that the file has, and the attention probabilities."""
    made, hooks = {}, []
    for name, module in model.named_modules():
        if f"act.{name}" in stored:
            hooks.append(module.register_forward_hook(
                lambda _m, _i, out, name=name: made.__setitem__(f"act.{name}", (out[0] if isinstance(out, tuple) else out).detach())))
        if f"act.{name}.probs" in stored:
            hooks.append(module.register_forward_hook(lambda _m, _i, out, name=name: made.__setitem__(f"act.{name}.probs", out[1].detach())))
    out = run()
    for hook in hooks:
        hook.remove()
    return out, made


def plain(stored, metadata):
    with float64_throughout(metadata["family"]):
        model = build(stored, metadata, torch.float64)
        out, made = activations(model, stored, lambda: model(**inputs_of(stored), use_cache=False))
        out.loss.backward()
        made.update({"out.logits": out.logits.detach(), "out.loss": out.loss.detach()})
        made.update({f"grad.{name}": p.grad for name, p in model.named_parameters() if f"grad.{name}" in stored})
        if "out.generated_ids" in stored:
            made.update(greedy(model, stored))
    for key, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        if f"out.{key}.logits" in stored:
            model = build(stored, metadata, dtype)
            with torch.no_grad():
                out = model(**inputs_of(stored), use_cache=False)
            made.update({f"out.{key}.logits": out.logits.float(), f"out.{key}.loss": out.loss.float()})
    return rows_that_count(made, stored)


def rows_that_count(made, stored):
    """Logits of pad tokens follow a quirk of each version (a query that sees no key): the file says which rows may be compared."""
    if "in.logits_valid" in stored:
        for name in ("out.logits", "out.f32.logits", "out.bf16.logits"):
            if name in made:
                made[name] = torch.where(stored["in.logits_valid"][..., None], made[name], stored[name])
    return made


@torch.no_grad()
def greedy(model, stored):
    """Continues the prompts from the class's own cache, one token at a time."""
    given = inputs_of(stored, labels=False)
    ids, made, logits_of_step = given["input_ids"], {}, []
    new = stored["out.generated_ids"].shape[1] - ids.shape[1]
    mask, positions = given.get("attention_mask"), given.get("position_ids")
    out = model(**given, use_cache=True)
    cache = out.past_key_values
    for n in range(sum(name.startswith("cache.") for name in stored) // 2):
        layer = cache.layers[n]
        made[f"cache.layers.{n}.key"], made[f"cache.layers.{n}.value"] = layer.keys.clone(), layer.values.clone()
    for step in range(new):
        logits_of_step.append(out.logits[:, -1])
        next_ids = logits_of_step[-1].argmax(-1, keepdim=True)
        ids = torch.cat((ids, next_ids), 1)
        if step + 1 == new:
            break
        more = {}
        if mask is not None:
            mask = torch.cat((mask, torch.ones_like(next_ids)), 1)
            more["attention_mask"] = mask
        if positions is not None:
            positions = positions[:, -1:] + 1
            more["position_ids"] = positions
        out = model(input_ids=next_ids, past_key_values=cache, use_cache=True, **more)
    return {**made, "out.generated_ids": ids, "out.step_logits": torch.stack(logits_of_step)}


def lora(stored, metadata):
    """y = x W' + b + scaling (x A') B' on the target projections; weights frozen."""
    settings = json.loads(metadata["lora"])
    with float64_throughout(metadata["family"]):
        model = build(stored, metadata, torch.float64).requires_grad_(False)
        with torch.no_grad():
            made = {"out.base_loss": model(**inputs_of(stored), use_cache=False).loss}
        trained = {}

        def add(module, name):
            a, b = (trained.setdefault(f"{name}.lora_{m}.weight", stored[f"{name}.lora_{m}.weight"].clone().requires_grad_()) for m in "AB")
            module.register_forward_hook(lambda _m, i, out: out + settings["scaling"] * (i[0] @ a.T) @ b.T)

        for n, layer in enumerate(model.model.layers):
            for target in settings["targets"]:
                add(getattr(layer.self_attn, target), f"lora.layers.{n}.self_attn.{target}")
        if settings["train_lm_head_bias"]:
            bias = trained["lm_head.bias"] = stored["lm_head.bias"].clone().requires_grad_()
            model.lm_head.register_forward_hook(lambda _m, _i, out: out + bias)
        out = model(**inputs_of(stored), use_cache=False)
        out.loss.backward()
    made.update({"out.logits": out.logits.detach(), "out.loss": out.loss.detach()})
    return {**made, **{f"grad.{name}": p.grad for name, p in trained.items()}}


def train(stored, metadata):
    """Steps of AdamW with clipping and a cosine schedule; the loss of a step is the mean over its micro-batches."""
    settings = json.loads(metadata["train"])
    with float64_throughout(metadata["family"]):
        model = build(stored, metadata, torch.float64)
        params = dict(model.named_parameters())
        flat = [p for p in params.values() if p.ndim == 1] if settings["no_decay_for_1d"] else []
        rest = [p for p in params.values() if not any(p is q for q in flat)]
        run = torch.optim.AdamW([{"params": rest, "weight_decay": settings["weight_decay"]}, {"params": flat, "weight_decay": 0.0}][: 2 if flat else 1],
                                lr=settings["lr"], betas=tuple(settings["betas"]), eps=settings["eps"])
        plan = transformers.get_cosine_schedule_with_warmup(run, settings["warmup_steps"], settings["total_steps"])
        losses, norms, rates = [], [], []
        for t in range(settings["steps"]):
            total = 0.0
            for micro in range(settings["grad_accum"]):
                loss = model(input_ids=stored["in.input_ids"][t, micro], labels=stored["in.labels"][t, micro], use_cache=False).loss / settings["grad_accum"]
                loss.backward()
                total = total + loss.detach()
            losses.append(total)
            norms.append(torch.nn.utils.clip_grad_norm_(params.values(), settings["max_norm"]).detach())
            rates.append(run.param_groups[0]["lr"])
            run.step()
            plan.step()
            run.zero_grad()
    made = {"out.losses": torch.stack(losses), "out.grad_norms": torch.stack(norms), "out.lrs": torch.tensor(rates, dtype=torch.float64)}
    return {**made, **{f"final.{name}": p.detach() for name, p in params.items() if f"final.{name}" in stored}}


def make(stored, metadata):
    kind = lora if "lora" in metadata else train if "train" in metadata else plain
    return kind(stored, metadata)
