"""What the words of a program mean, in PyTorch, and the numbers that leaves and dropout draw (values.h, runtime/core/rng.h)."""
import math

import torch
import torch.nn.functional as F

MASK = 0xFFFFFFFF


class LeftOut(Exception):
    """Why a program cannot be judged here."""


def dims(text):
    return [] if text in ("-", "") else [int(d) for d in text.split("x")]


def philox(counter, stream, seed):
    """The four words of one Philox4x32-10 block."""
    c = [counter & MASK, counter >> 32, stream & MASK, stream >> 32]
    k0, k1 = seed & MASK, seed >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & MASK, (p0 >> 32) ^ c[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c


def below(block, n):
    return (((block[1] << 32) | block[0]) * n) >> 64


def draw(kind, block, i, limit, ignored):
    if kind == "signed":
        return (2 * below(block, 64) - 63) / 32
    if kind == "positive":
        return (2 * below(block, 16) + 17) / 32
    if kind == "mask":
        return 0 if block[0] % 4 == 0 and (limit == 0 or i % limit) else 1
    if kind == "target" and block[2] % 5 == 0:
        return ignored
    return below(block, limit)


def drawn(recipe, scale, n):
    if ":" not in recipe:
        return [float(v) for v in recipe.split(",")]
    parts = recipe.split(":")
    limit = int(parts[2]) if len(parts) > 2 else 0
    ignored = int(parts[3]) if len(parts) > 3 else -100
    return [scale * draw(parts[0], philox(i, int(parts[1]), 0x5EED), i, limit, ignored) for i in range(n)]


def wide(x):
    """The type in which rows are summed."""
    return x if x.dtype == torch.float64 else x.float()


def norm_rows(x, weight, bias, eps, kind="layer"):
    w = wide(x)
    if kind == "layer":
        w = w - w.mean(-1, keepdim=True)
    y = w * torch.rsqrt((w * w).mean(-1, keepdim=True) + eps)
    y = y if weight is None else y * weight.to(y.dtype)
    return (y if bias is None else y + bias.to(y.dtype)).to(x.dtype)


def linear(x, weight, bias=None):
    both = torch.promote_types(x.dtype, weight.dtype)
    y = x.to(both) @ weight.to(both).transpose(-1, -2)
    return y if bias is None else y + bias


def cross_entropy(x, target, reduction, ignored):
    w = wide(x)
    y = F.cross_entropy(w.reshape(-1, w.shape[-1]), target.reshape(-1), reduction=reduction, ignore_index=ignored)
    return y.reshape(target.shape) if reduction == "none" else y


def attention(q, k, v, mask, bias, scale, causal, mask_value):
    groups = q.shape[2] // k.shape[2]
    kw, vw = (wide(t).repeat_interleave(groups, 2) for t in (k, v))
    s = scale * (wide(q) @ kw.transpose(-1, -2))
    if mask is not None:
        s = s + ((1 - mask.to(s.dtype)) * mask_value)[:, :, None, None, :]
    if bias is not None:
        s = s + bias.to(s.dtype)
    if causal:
        rows, columns = s.shape[-2:]
        s = s.masked_fill(~torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows), -math.inf)
    return (torch.softmax(s, -1) @ vw).permute(0, 1, 3, 2, 4).to(q.dtype)


def rope(x, positions, theta):
    half = x.shape[-1] // 2
    angle = positions.double()[..., None] * theta ** (-2 * torch.arange(half, dtype=torch.float64) / x.shape[-1])
    angle = angle[None] if positions.dim() == 1 else angle
    cos, sin = (f(angle)[:, :, None, :].to(wide(x).dtype) for f in (torch.cos, torch.sin))
    a, b = wide(x)[..., :half], wide(x)[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


def outer_product_mean(a, b, weight, bias, mask, normalize):
    n, s, r, c = a.shape
    z = torch.einsum("bsic,bsjd->bijcd", a, b).reshape(n, r, r, c * c)
    if mask is None:
        count = torch.full((n, r, r, 1), float(s), dtype=z.dtype)
    else:
        count = torch.einsum("bsi,bsj->bij", mask, mask)[..., None].to(z.dtype)
    if normalize == "before":
        z = z / count.clamp(min=1)
    y = linear(z, weight, bias)
    return y / (1e-3 + count) if normalize == "after" else y


def triangle_multiply(z, mask, w, outgoing):
    ln_w, ln_b, wa, ba, wag, bag, wb, bb, wbg, bbg, lo_w, lo_b, wz, bz, wg, bg = w
    x = norm_rows(z, ln_w, ln_b, 1e-5).to(wa.dtype)
    a = torch.sigmoid(linear(x, wag, bag)) * linear(x, wa, ba)
    b = torch.sigmoid(linear(x, wbg, bbg)) * linear(x, wb, bb)
    if mask is not None:
        a, b = a * mask[..., None].to(a.dtype), b * mask[..., None].to(b.dtype)
    t = torch.einsum("bikc,bjkc->bijc" if outgoing else "bkic,bkjc->bijc", a, b)
    return linear(norm_rows(t, lo_w, lo_b, 1e-5), wz, bz) * torch.sigmoid(linear(x, wg, bg))


class Words:
    def __init__(self, type_of):
        self.type_of, self.next_stream = type_of, 0

    def call(self, s, t):
        return getattr(self, "w_" + s.word, None)(s, t) if hasattr(self, "w_" + s.word) else [self.simple(s, t)]

    def simple(self, s, t):
        x, y = t[0], t[1] if len(t) > 1 else None
        number = lambda key, other=0.0: float(s.attrs.get(key, other))
        axis = int(s.attrs.get("axis", -1))
        one = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt,
               "silu": F.silu, "gelu": F.gelu, "abs": torch.abs, "cos": torch.cos, "contiguous": torch.clone, "copy": torch.clone,
               "detach": torch.detach, "sum_all": torch.sum}
        if s.word == "abs" and bool((x == 0).any()):
            raise LeftOut("a slope at a kink")  # of |x| at 0: PyTorch has 0, activation.h that of -x
        if s.word in one:
            return one[s.word](x)
        two = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "matmul": torch.matmul,
               "swiglu": lambda a, b: F.silu(a) * b, "mul_sigmoid": lambda a, b: a * torch.sigmoid(b),
               "geglu": lambda a, b: F.gelu(a, approximate="tanh") * b, "embedding": F.embedding}
        if s.word in two:
            return two[s.word](x, y)
        more = {
            "gelu_tanh": lambda: F.gelu(x, approximate="tanh"),
            "affine": lambda: x * number("scale") + number("shift"),
            "scale": lambda: x * number("factor"),
            "cast": lambda: x.clone() if x.dtype == self.type_of(s.attrs["type"]) else x.to(self.type_of(s.attrs["type"])),
            "sum": lambda: self.over_axes(torch.sum, s, x),
            "sum_wide": lambda: self.over_axes(torch.sum, s, wide(x)),
            "mean": lambda: self.over_axes(torch.mean, s, x),
            "softmax": lambda: torch.softmax(wide(x), axis).to(x.dtype),
            "log_softmax": lambda: torch.log_softmax(wide(x), axis).to(x.dtype),
            "logsumexp": lambda: torch.logsumexp(wide(x), axis).to(x.dtype),
            "permute": lambda: x.permute(dims(s.attrs["axes"])),
            "transpose": lambda: x.transpose(int(s.attrs["a"]), int(s.attrs["b"])),
            "reshape": lambda: x.reshape(dims(s.attrs["shape"])),
            "expand": lambda: x.expand(dims(s.attrs["shape"])),
            "slice": lambda: x.narrow(axis, int(s.attrs["first"]), int(s.attrs["last"]) - int(s.attrs["first"])),
            "unsqueeze": lambda: x.unsqueeze(axis),
            "squeeze": lambda: x.squeeze(axis),
            "concat": lambda: torch.cat(t, axis),
            "diagonal": lambda: torch.movedim(torch.diagonal(x, 0, int(s.attrs["first"]), int(s.attrs["second"])), -1,
                                              int(s.attrs["first"])),
            "linear": lambda: linear(x, y, t[2]),
            "matmul_as": lambda: x.to(self.type_of(s.attrs["type"])) @ y.to(self.type_of(s.attrs["type"])),
            "masked_fill": lambda: x.masked_fill(y.bool().expand(x.shape), number("value")),
            "layer_norm": lambda: norm_rows(x, y, t[2], number("eps", 1e-5)),
            "rms_norm": lambda: norm_rows(x, y, None, number("eps", 1e-5), "rms"),
            "cross_entropy": lambda: cross_entropy(x, y, s.attrs["reduction"], int(s.attrs.get("ignored", -100))),
            "linear_cross_entropy": lambda: cross_entropy(linear(wide(x), wide(y)), t[2], s.attrs["reduction"], -100),
            "one_hot": lambda: F.one_hot(x, int(s.attrs["classes"])).to(self.type_of(s.attrs["type"])),
            "rope": lambda: rope(x, y, number("theta")),
            "attention": lambda: attention(*t, number("scale"), s.attrs["causal"] == "1", number("mask_value")),
            "outer_product_mean": lambda: outer_product_mean(*t, s.attrs["normalize"]),
            "triangle_multiply": lambda: triangle_multiply(x, y, t[2:], s.attrs["outgoing"] == "1"),
            "relu_transition": lambda: linear(torch.relu(linear(norm_rows(x, y, t[2], 1e-5), t[3], t[4])), t[5], t[6]),
            "einsum": lambda: torch.einsum(s.attrs["equation"], *t),
        }
        return more[s.word]()

    @staticmethod
    def over_axes(function, s, x):
        axes = dims(s.attrs["axes"])
        return function(x, axes, keepdim=s.attrs.get("keep") == "1") if axes else x.clone()

    def w_mean_var(self, s, t):
        axes, keep = dims(s.attrs["axes"]), s.attrs["keep"] == "1"
        return [t[0].mean(axes, keepdim=keep), t[0].var(axes, correction=int(s.attrs["unbiased"]), keepdim=keep)]

    def w_cast_all(self, s, t):
        return [x.detach().to(self.type_of(s.attrs["type"]), copy=True) for x in t]

    def w_split(self, s, t):
        return list(torch.chunk(t[0], int(s.attrs["n"]), int(s.attrs["axis"])))

    def w_pad_with_zeros(self, s, t):
        x, axis, first = t[0], int(s.attrs["axis"]), int(s.attrs["first"])
        behind = int(s.attrs["extent"]) - first - x.shape[axis]
        sides = [0, 0] * (x.dim() - 1 - axis) + [first, behind]
        return [F.pad(x, sides)]

    def w_mse_loss(self, s, t):
        d = (wide(t[0]) - wide(t[1])) ** 2
        return [{"none": d, "sum": d.sum(), "mean": d.mean()}[s.attrs["reduction"]]]

    def w_index_select(self, s, t):
        x, ids = t
        axis = int(s.attrs["axis"]) % x.dim()
        y = torch.index_select(x, axis, ids.reshape(-1))
        return [y.reshape(list(x.shape[:axis]) + list(ids.shape) + list(x.shape[axis + 1:]))]

    def w_scatter_add(self, s, t):
        x, ids, source = t
        axis = int(s.attrs["axis"])
        flat = source.reshape(list(x.shape[:axis]) + [ids.numel()] + list(x.shape[axis + 1:]))
        return [x.index_add(axis, ids.reshape(-1), flat.to(x.dtype))]

    def w_norm_linear(self, s, t):
        n = int(s.attrs["n"])
        h = norm_rows(t[0], t[1], t[2], 1e-5, s.attrs["kind"])
        biases = t[3 + n:] if s.attrs["biases"] == "1" else [None] * n
        return [linear(h, t[3 + i], biases[i]) for i in range(n)]

    def w_swiglu_transition(self, s, t):
        h = t[0] if t[1] is None else norm_rows(t[0], t[1], t[2], 1e-5)
        return [linear(F.silu(linear(h, t[3])) * linear(h, t[4]), t[5])]

    def w_conv2d(self, s, t):
        return [F.conv2d(*t, stride=dims(s.attrs["stride"]), padding=dims(s.attrs["padding"]), dilation=dims(s.attrs["dilation"]),
                         groups=int(s.attrs["groups"]))]

    def dropped(self, s, x):
        if "key" in s.attrs:
            key, stream = int(s.attrs["key"]), int(s.attrs["stream"])
        else:
            key, stream = 7, self.next_stream
            self.next_stream += 1
        p, shared = float(s.attrs["p"]), dims(s.attrs["shared"])
        if p == 0:
            return x
        shape = [1 if i in shared else d for i, d in enumerate(x.shape)]
        n = math.prod(shape)
        words = [w for block in range((n + 3) // 4) for w in philox(block, stream, key)][:n]
        keeps = torch.tensor([float(w >= math.floor(p * 2**32 + 0.5)) for w in words], dtype=torch.float64).reshape(shape)
        return x * (keeps / (1 - p)).to(x.dtype)

    def w_dropout(self, s, t):
        return [self.dropped(s, t[0])]

    def w_dropout_add(self, s, t):
        return [t[0] + self.dropped(s, t[1])]

    def update(self, s, t):
        """New values by the input's position, and results."""
        if s.word == "fill":
            return {0: torch.full_like(t[0], float(s.attrs["value"]))}, []
        if s.word == "fill_causal":
            rows, columns = t[0].shape[-2:]
            unseen = ~torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
            return {0: torch.zeros_like(t[0]).masked_fill(unseen, float(s.attrs["value"]))}, []
        if s.word == "copy_into":
            return {0: t[1]}, []
        if s.word == "accumulate":
            return {0: t[0] + t[1]}, []
        if s.word == "copy_from_host":
            values = drawn(s.attrs["values"], float(s.attrs.get("scale", 1)), t[0].numel())
            return {0: torch.tensor(values, dtype=torch.float64).reshape(t[0].shape)}, []
        return getattr(self, "u_" + s.word)(s, t)

    def u_clip(self, s, t):
        norm = torch.sqrt(sum((wide(g) ** 2).sum() for g in t)).reshape(1)
        factor = torch.clamp(float(s.attrs["most"]) / (norm + 1e-6), max=1)
        return {i: (wide(g) * factor).to(g.dtype) for i, g in enumerate(t)}, [norm, factor, torch.zeros(1)]

    def u_scaler_update(self, s, t):
        scale, tracker = t[0].clone(), t[1] + 1
        if int(tracker) == 2:
            tracker, scale = tracker * 0, scale * 2
        return {0: scale, 1: tracker}, []

    def u_sgd(self, s, t):
        p, g, buffer = wide(t[0]), wide(t[1]), None if t[2] is None else wide(t[2])
        momentum, nesterov = float(s.attrs["momentum"]), s.attrs["nesterov"] == "1"
        g = g + float(s.attrs["decay"]) * p
        written = {}
        if buffer is not None and momentum:
            buffer = g if int(s.attrs["step"]) == 1 else momentum * buffer + (1 if nesterov else 0.75) * g
            written[2] = buffer
            g = g + momentum * buffer if nesterov else buffer
        written[0] = p - 0.125 * g
        return written, []

    def u_adamw(self, s, t):
        n, step, decay = int(s.attrs["n"]), int(s.attrs["step"]), float(s.attrs["decay"])
        counts = t[4 * n + 1:]
        written = {4 * n + 1 + i: count + 1 for i, count in enumerate(counts)}
        for i in range(n):
            p, g, m, v = (wide(t[k * n + i]) for k in range(4))
            step = int(counts[i]) + 1 if counts else step
            if s.attrs["decoupled"] == "1":
                p = p * (1 - 0.125 * decay)
            else:
                g = g + decay * p
            m, v = 0.75 * m + 0.25 * g, 0.875 * v + 0.125 * g * g
            p = p - 0.125 / (1 - 0.75**step) * m / (torch.sqrt(v / (1 - 0.875**step)) + 1e-3)
            written.update({i: p, 2 * n + i: m, 3 * n + i: v})
        return written, []
