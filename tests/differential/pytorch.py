#!/usr/bin/env python3
"""Judge two: the programs of differential_test, evaluated with PyTorch.

    pytorch.py BUILD/tests/differential_test [--programs N] [--from N] [--jobs N]

Values and gradients of reckon's f64 run must agree with PyTorch in f64. Those in the program's own types count as wrong only when they are
also ten times further from f64 than PyTorch is in these types. Needs torch (`pip install torch` in some environment); says so and exits
with 77 where it is not installed. Left out, and counted: programs that write random numbers in place, and those whose writes may reach
another name's memory, which PyTorch's graph would see."""
import argparse
import concurrent.futures
import math
import os
import subprocess
import sys
import tempfile

try:
    import torch
    import torch_words
    from torch_words import LeftOut
except ImportError:
    print("pytorch.py: left out, PyTorch is not installed for", sys.executable)
    sys.exit(77)

TYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "i64": torch.int64, "u8": torch.uint8}
# Results that may be their input's memory here, whatever PyTorch makes of them.
SHARE = {"permute", "transpose", "reshape", "expand", "slice", "unsqueeze", "squeeze", "split", "diagonal", "detach", "contiguous", "cast",
         "dropout", "dropout_add", "sum", "mean", "segment", "einsum"}
UPDATES = {"fill", "fill_causal", "copy_into", "accumulate", "copy_from_host", "adamw", "sgd", "clip", "scaler_update"}
LEAST = 0.1  # in low types: what cancels to less is judged as if it were this large
EXACT = 1e-8  # of the largest element: sums in another order, and what conditioning makes of it


class Statement:
    def __init__(self, line, number):
        words = line.split()
        self.number, self.outs, self.ins, self.attrs, self.body = number, [], [], {}, []
        if len(words) > 1 and words[1] == "=":
            self.outs, words = words[0].split(","), words[2:]
        self.word = words[0]
        for w in words[1:]:
            if "=" in w:
                key, value = w.split("=", 1)
                self.attrs[key] = value
            elif w != "{":
                self.ins.append(w)


def parse(lines):
    """Statements, numbered in the order of the text as differential_test does."""
    root, stack, number, header = [], [], 0, None
    for line in lines:
        line = line.split("#")[0].strip()
        if not line:
            continue
        if line.startswith("program"):
            header = Statement(line, -1)
            continue
        if line == "}":
            stack.pop()
            continue
        s = Statement(line, number)
        number += 1
        (stack[-1].body if stack else root).append(s)
        if line.endswith("{"):
            stack.append(s)
    return header, root


class Evaluation:
    def __init__(self, own, raised):
        self.own, self.raised = own, raised
        self.leaves, self.values, self.gradients = {}, {}, {}
        self.words = torch_words.Words(self.type)
        self.first = {}  # of names, as they were made: writes replace them
        self.memory = {}  # of names: a set of those that may share it

    def type(self, name):
        t = TYPES[name]
        return t if self.own or not t.is_floating_point else torch.float64

    def run(self, body, env):
        for s in body:
            if s.number in self.raised or any(i != "_" and i not in env for i in s.ins):
                continue
            self.statement(s, env)

    def define(self, names, tensors, env):
        for name, t in zip(names, tensors):
            if name != "_" and t is not None:
                env[name] = self.first[name] = t
                self.values[name] = t.detach().clone()

    def share(self, names):
        shared = set(names).union(*(self.memory.get(n, ()) for n in names))
        for n in shared:
            self.memory[n] = shared

    def statement(self, s, env):
        if s.word in SHARE:
            inside = s.body[-1].ins if s.body else []
            self.share([n for n in s.outs + s.ins + inside if n != "_"])
        if s.word == "try":  # leaves nothing behind
            return
        if s.word == "leaf":
            self.leaf(s, env)
        elif s.word == "segment":
            inside = dict(env)
            for inner in s.body[:-1]:
                self.statement(inner, inside)
            self.define(s.outs, [inside[n] for n in s.body[-1].ins], env)
        elif s.word == "no_grad":
            # Ops that return their input return it with its graph there, and PyTorch's are other ones.
            if any(inner.word in SHARE for inner in s.body):
                raise LeftOut("an identity under no_grad")
            with torch.no_grad():
                self.run(s.body, env)
        elif s.word == "autocast":
            self.run(s.body, env)
        elif s.word == "backward":
            self.backward(s, env)
        elif s.word == "hook":
            self.hook(s, env)
        elif s.word == "grad":
            grad = self.leaves[s.ins[0]].grad
            self.define(s.outs, [None if grad is None else grad.clone()], env)
        elif s.word == "clear_grad":
            for t in self.leaves.values():
                t.grad = None
            self.gradients = {}
        elif s.word == "drop":
            for n in s.ins:
                env.pop(n, None)
        elif s.word == "fill_random":
            raise LeftOut("random numbers written in place")
        elif s.word in UPDATES:
            self.update(s, env)
        else:
            tensors = [None if n == "_" else env[n] for n in s.ins]
            self.define(s.outs, self.words.call(s, tensors), env)

    def leaf(self, s, env):
        shape = torch_words.dims(s.attrs["shape"])
        drawn, layout = list(shape), s.attrs.get("layout", "").split(":")
        if layout[0] == "spread":
            drawn[int(layout[1])] = 1
        values = torch_words.drawn(s.attrs["values"], float(s.attrs.get("scale", 1)), math.prod(drawn))
        name = s.attrs.get("type", "f32")
        t = torch.tensor(values, dtype=torch.float64).reshape(drawn).expand(shape).clone()
        t = t.to(TYPES[name] if s.attrs.get("fixed") == "1" else self.type(name))
        if s.attrs.get("grad") == "1":
            self.leaves[s.outs[0]] = t.requires_grad_(True)
        self.define(s.outs, [t], env)

    def hook(self, s, env):
        if s.attrs["kind"] == "throw":
            raise LeftOut("a hook that throws")
        factor = float(s.attrs["factor"])
        if not self.first[s.ins[0]].requires_grad:  # of a fused op
            return
        self.first[s.ins[0]].register_hook(lambda g: g * factor)

    def backward(self, s, env):
        roots = [env[n] for n in s.ins]
        seeds = [torch.tensor(torch_words.drawn(f"signed:{int(s.attrs['seed']) + i}", 1.0, r.numel()), dtype=torch.float64)
                 .reshape(r.shape).to(r.dtype) for i, r in enumerate(roots)]
        # A fused op's outputs all require a gradient, though none may come of one.
        wanted = [i for i, r in enumerate(roots) if r.requires_grad]
        torch.autograd.backward([roots[i] for i in wanted], [seeds[i] for i in wanted], retain_graph=True)
        self.gradients = {n: t.grad.detach().clone() for n, t in self.leaves.items() if t.grad is not None}

    def update(self, s, env):
        """Writes are constants to the graph: the old value with its history, plus what it grew by."""
        tensors = [None if n == "_" else env[n].detach().clone() for n in s.ins]
        written, results = self.words.update(s, tensors)
        for i, new in written.items():
            name, old = s.ins[i], env[s.ins[i]]
            if len(self.memory.get(name, ())) > 1:
                raise LeftOut("a write that may reach another name's memory")
            with torch.enable_grad():
                env[name] = old + (new.to(old.dtype) - old).detach() if old.requires_grad else new.to(old.dtype)
        self.define(s.outs, results, env)


def distance(a, b, least=1e-3):
    """Largest difference over the largest element of b, or over `least` where that is larger."""
    a, b = a.double().reshape(-1), b.double().reshape(-1)
    if a.numel() != b.numel():
        return math.inf
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return 0.0 if torch.equal(torch.isnan(a), torch.isnan(b)) else math.inf
    return float((a - b).abs().max() / max(float(b.abs().max()), least)) if a.numel() else 0.0


def read_results(lines):
    """{"f64": {...}, "own": {...}}, each with raised, value and gradient."""
    runs = {}
    for line in lines:
        words = line.split()
        if words[0] == "run":
            run = runs[words[1]] = {"value": {}, "gradient": {}}
        elif words[0] == "raised":
            run["raised"] = {int(w) for w in words[1:]}
        else:
            run[words[0]][words[1]] = torch.tensor([float(w) for w in words[4:]], dtype=torch.float64)
    return runs


def evaluated(header, body, own, raised):
    e = Evaluation(own, raised)
    with torch.autograd.set_grad_enabled(True):
        e.run(body, {})
    return {"value": e.values, "gradient": e.gradients}


def judge(text):
    """Complaints about one program, or why it is left out."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("run f64"))
    header, body = parse(lines[1:at])
    runs = read_results(lines[at:])
    try:
        exact = evaluated(header, body, False, runs["f64"]["raised"])
    except LeftOut as why:
        return [], str(why)
    except RuntimeError as error:
        return [f"PyTorch raises: {error}"], ""
    complaints = compare("f64", runs["f64"], exact, lambda part, name: EXACT)
    casts = "autocast" in header.attrs or any("autocast" in line for line in lines[1:at])
    rough = max((2.0**-8 if "=bf16" in text else 0, 2.0**-11 if "=f16" in text else 0, 2.0**-24))
    if runs["own"]["raised"] != runs["f64"]["raised"] or casts:
        return complaints, ""
    low = None

    def allowed(part, name):
        nonlocal low
        if low is None:
            try:
                low = evaluated(header, body, True, runs["own"]["raised"])
            except RuntimeError:  # a mixture of types that PyTorch does not take
                low = {"value": {}, "gradient": {}}
        theirs = low[part].get(name)
        return 64 * rough + 10 * (distance(theirs, exact[part][name], LEAST) if theirs is not None else math.inf)

    return complaints + compare("own", runs["own"], exact, allowed, 64 * rough), ""


def compare(where, got, right, allowed, at_least=0.0):
    complaints = []
    for part in ("value", "gradient"):
        for name, t in right[part].items():
            if name not in got[part]:
                if part == "value" or float(t.abs().max() if t.numel() else 0) > 0:
                    complaints.append(f"{where}: {part} {name} is missing")
                continue
            d = distance(got[part][name], t, LEAST if at_least else 1e-3)
            if d > at_least and d > allowed(part, name):
                complaints.append(f"{where}: {part} {name} is off by {d:.3g} of the largest element")
    return complaints


def work(arguments):
    binary, first, count = arguments
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "results")
        subprocess.run([binary, "--from", str(first), "--programs", str(count), "--results", path], check=True, stdout=subprocess.DEVNULL)
        text = open(path).read()
    done, left_out, wrong = 0, {}, []
    for part in text.split("\nend\n"):
        part = part.strip()
        if not part:
            continue
        done += 1
        complaints, why = judge(part)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        if complaints:
            wrong.append((part.splitlines()[0], complaints))
    return done, left_out, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--programs", type=int, default=20000)
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    a = parser.parse_args()
    chunks = [(a.binary, n, min(100, a.first + a.programs - n)) for n in range(a.first, a.first + a.programs, 100)]
    done, left_out, wrong = 0, {}, 0
    with concurrent.futures.ProcessPoolExecutor(a.jobs) as pool:
        for n, left, faults in pool.map(work, chunks):
            done += n
            for why, count in left.items():
                left_out[why] = left_out.get(why, 0) + count
            for seed, complaints in faults:
                wrong += 1
                print(f"{seed}: " + "; ".join(complaints[:4]), flush=True)
    print(f"{done} programs against PyTorch {torch.__version__}: {wrong} wrong; left out: " +
          (", ".join(f"{n} ({why})" for why, n in sorted(left_out.items())) or "none"))
    sys.exit(1 if wrong or done < a.programs else 0)


if __name__ == "__main__":
    main()
