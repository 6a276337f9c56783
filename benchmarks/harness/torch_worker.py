"""One PyTorch variant of one case in a process of its own.

`--mode time`: prints 'ready' after a warm-up, then runs one step for each line 'step' on standard input and prints its
seconds; at the end of the input it writes times and memory (on a GPU: the allocator's own). `--mode books`: one step under counters: gradients, bytes
kept for backward, ATen kernels, FLOPs. Times and counters never share a process."""
import argparse
import contextlib
import ctypes
import gc
import json
import pathlib
import sys
import time

import torch
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from torch_models.cases import Loaded  # noqa: E402

# Calls that move no data: views are told by their schema, these by name.
NO_KERNEL = {"aten::detach", "aten::alias", "aten::_unsafe_view", "aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided",
             "aten::lift_fresh", "aten::view", "aten::_reshape_alias", "aten::new_empty_strided", "aten::set_", "aten::is_same_size"}


class KernelCounter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if not func.is_view and name not in NO_KERNEL:
            self.calls[name] = self.calls.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


class SavedBytes:
    """Bytes of distinct storages handed to backward; parameters and inputs would exist anyway and are left out."""

    def __init__(self, known):
        self.known = {t.untyped_storage().data_ptr() for t in known}
        self.storages = {}

    def pack(self, t):
        s = t.untyped_storage()
        if s.data_ptr() not in self.known:
            self.storages[s.data_ptr()] = s.nbytes()
        return t.detach()

    def total(self):
        return sum(self.storages.values())


def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return -1


def trim():
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def make_optimizer(loaded, kind):
    if kind == "none":
        return None
    params = list(loaded.module.parameters())
    return torch.optim.AdamW(params, lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01, fused=True)


def one_step(loaded, optimizer, cast):
    with cast():
        outputs = loaded.forward()
    loaded.backward(outputs)
    if optimizer:
        optimizer.step()
    loaded.clear()


def books(a, loaded, optimizer, cast):
    known = [t for _, t in loaded.leaves()] + list(loaded.inputs.values()) + loaded.cotangents
    saved, kernels = SavedBytes(known), KernelCounter()
    forward_flops, backward_flops = FlopCounterMode(display=False), FlopCounterMode(display=False)
    with forward_flops, kernels, cast(), torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
        outputs = loaded.forward()
    result = {"saved_bytes": saved.total(), "loss": loaded.loss(outputs), "kernels_forward": sum(kernels.calls.values())}
    with backward_flops, kernels:
        loaded.backward(outputs)
    result |= {"kernels": sum(kernels.calls.values()), "flops": forward_flops.get_total_flops() + backward_flops.get_total_flops(),
               "by_kernel": dict(sorted(kernels.calls.items(), key=lambda kv: -kv[1]))}
    if a.grads:
        save_file({n: t.grad.float().cpu().contiguous() for n, t in loaded.leaves() if t.grad is not None}, a.grads)
    return result


def wait(a):
    if a.device == "cuda":
        torch.cuda.synchronize()


def timed(a, loaded, optimizer, cast):
    trim()
    start = torch.cuda.memory_allocated() if a.device == "cuda" else status("VmRSS")
    for _ in range(a.warmup):
        one_step(loaded, optimizer, cast)
    trim()
    with contextlib.suppress(OSError):
        open("/proc/self/clear_refs", "w").write("5")
    if a.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    wait(a)
    print("ready", flush=True)
    seconds, cpu_seconds = [], []
    for line in sys.stdin:
        if line.strip() != "step":
            break
        begin, cpu = time.perf_counter(), time.process_time()
        one_step(loaded, optimizer, cast)
        wait(a)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(time.process_time() - cpu)
        print(f"{seconds[-1]:.9f}", flush=True)
    result = {"seconds": seconds, "cpu_seconds": cpu_seconds, "rss_start": start,
              "rss_peak": torch.cuda.max_memory_allocated() if a.device == "cuda" else status("VmHWM")}
    if a.variant == "compile":
        result |= compiled_saves(loaded, cast)
    return result


def compiled_saves(loaded, cast):
    """What compiled code hands to backward; counted after the timed steps, since hooks may make it compile again."""
    saved = SavedBytes([t for _, t in loaded.leaves()] + list(loaded.inputs.values()))
    try:
        with cast(), torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
            outputs = loaded.forward()
        return {"saved_bytes": saved.total(), "loss": loaded.loss(outputs)}
    except Exception as e:  # a figure less, not a failed comparison
        return {"saved_bytes_unknown": str(e).splitlines()[0][:200]}


@contextlib.contextmanager
def forward_scope(a):
    """Precision of the forward pass, and for the variant cudnn who computes attention (an error where cuDNN cannot)."""
    with contextlib.ExitStack() as scopes:
        if a.dtype == "bf16":
            scopes.enter_context(torch.autocast(a.device, dtype=torch.bfloat16))
        if a.variant == "cudnn":
            scopes.enter_context(sdpa_kernel(SDPBackend.CUDNN_ATTENTION))
        yield


def main():
    p = argparse.ArgumentParser()
    p.add_argument("case")
    p.add_argument("--variant", choices=["eager", "checkpoint", "compile", "cudnn"], default="eager")
    p.add_argument("--dtype", choices=["f64", "f32", "bf16"], default="f32")
    p.add_argument("--optimizer", choices=["none", "adamw"], default="none")
    p.add_argument("--mode", choices=["time", "books"], default="time")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--grads")
    p.add_argument("--json", required=True)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_num_interop_threads(1)
    loaded = Loaded(a.case, a.device)
    if a.dtype == "f64":
        loaded.widen()
    loaded.module.checkpoint = a.variant == "checkpoint"
    if a.variant == "compile":
        loaded.module.compile_regions()
    optimizer = make_optimizer(loaded, a.optimizer)
    cast = lambda: forward_scope(a)  # noqa: E731
    result = (books if a.mode == "books" else timed)(a, loaded, optimizer, cast)
    result |= {"torch": torch.__version__, "variant": a.variant, "dtype": a.dtype, "threads": a.threads}
    pathlib.Path(a.json).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
