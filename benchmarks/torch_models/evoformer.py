"""Evoformer block and pair stack in the ordinary eager form (AlphaFold 2 supplement 1.6, AlphaFold 3 algorithm 17):
projections, broadcast biases, softmax and einsum, as public code writes them. Parameter names are those of reckon."""
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class Attention(nn.Module):
    """Gated attention of [*, L, c] with a list of biases that broadcast to [*, heads, L, L]."""

    def __init__(self, c, heads, width, biases=True):
        super().__init__()
        self.heads, self.width = heads, width
        self.linear_q = nn.Linear(c, heads * width, bias=False)
        self.linear_k = nn.Linear(c, heads * width, bias=False)
        self.linear_v = nn.Linear(c, heads * width, bias=False)
        self.linear_g = nn.Linear(c, heads * width, bias=biases)
        self.linear_o = nn.Linear(heads * width, c, bias=biases)

    def split(self, x):
        return x.view(*x.shape[:-1], self.heads, self.width).transpose(-2, -3)

    def forward(self, x, biases):
        q = self.split(self.linear_q(x)) / math.sqrt(self.width)
        k, v = self.split(self.linear_k(x)), self.split(self.linear_v(x))
        a = torch.matmul(q, k.transpose(-1, -2))
        for b in biases:
            a = a + b
        o = torch.matmul(torch.softmax(a, dim=-1), v).transpose(-2, -3)
        o = o.reshape(*o.shape[:-2], self.heads * self.width)
        return self.linear_o(o * torch.sigmoid(self.linear_g(x)))


def mask_bias(mask):
    return (1e9 * (mask - 1))[..., None, None, :]


class RowAttention(nn.Module):
    def __init__(self, c_m, c_z, heads, width):
        super().__init__()
        self.layer_norm_m = nn.LayerNorm(c_m)
        self.layer_norm_z = nn.LayerNorm(c_z)
        self.linear_z = nn.Linear(c_z, heads, bias=False)
        self.mha = Attention(c_m, heads, width)

    def forward(self, m, z, mask):
        bias = self.linear_z(self.layer_norm_z(z)).permute(0, 3, 1, 2).unsqueeze(1)
        return self.mha(self.layer_norm_m(m), [mask_bias(mask), bias])


class ColumnAttention(nn.Module):
    def __init__(self, c_m, heads, width):
        super().__init__()
        self.layer_norm_m = nn.LayerNorm(c_m)
        self.mha = Attention(c_m, heads, width)

    def forward(self, m, mask):
        m = self.layer_norm_m(m.transpose(-2, -3))
        return self.mha(m, [mask_bias(mask.transpose(-1, -2))]).transpose(-2, -3)


class TriangleAttention(nn.Module):
    def __init__(self, c_z, heads, width, ending, biases):
        super().__init__()
        self.ending = ending
        self.layer_norm = nn.LayerNorm(c_z)
        self.linear = nn.Linear(c_z, heads, bias=False)
        self.mha = Attention(c_z, heads, width, biases)

    def forward(self, z, mask):
        if self.ending:
            z, mask = z.transpose(-2, -3), mask.transpose(-1, -2)
        x = self.layer_norm(z)
        bias = self.linear(x).permute(0, 3, 1, 2).unsqueeze(1)
        x = self.mha(x, [mask_bias(mask), bias])
        return x.transpose(-2, -3) if self.ending else x


class TriangleMultiplication(nn.Module):
    def __init__(self, c_z, c, outgoing, biases):
        super().__init__()
        self.outgoing = outgoing
        self.layer_norm_in = nn.LayerNorm(c_z)
        self.layer_norm_out = nn.LayerNorm(c)
        for name in ("linear_a_p", "linear_a_g", "linear_b_p", "linear_b_g"):
            setattr(self, name, nn.Linear(c_z, c, bias=biases))
        self.linear_g = nn.Linear(c_z, c_z, bias=biases)
        self.linear_z = nn.Linear(c, c_z, bias=biases)

    def forward(self, z, mask):
        x, mask = self.layer_norm_in(z), mask.unsqueeze(-1)
        a = mask * torch.sigmoid(self.linear_a_g(x)) * self.linear_a_p(x)
        b = mask * torch.sigmoid(self.linear_b_g(x)) * self.linear_b_p(x)
        if self.outgoing:
            t = torch.matmul(a.permute(0, 3, 1, 2), b.permute(0, 3, 2, 1))
        else:
            t = torch.matmul(a.permute(0, 3, 2, 1), b.permute(0, 3, 1, 2))
        t = self.linear_z(self.layer_norm_out(t.permute(0, 2, 3, 1)))
        return t * torch.sigmoid(self.linear_g(x))


class Transition(nn.Module):
    def __init__(self, c, n):
        super().__init__()
        self.layer_norm = nn.LayerNorm(c)
        self.linear_1 = nn.Linear(c, n * c)
        self.linear_2 = nn.Linear(n * c, c)

    def forward(self, x):
        return self.linear_2(F.relu(self.linear_1(self.layer_norm(x))))


class SwigluTransition(nn.Module):
    def __init__(self, c, n):
        super().__init__()
        self.layer_norm = nn.LayerNorm(c)
        self.linear_a = nn.Linear(c, n * c, bias=False)
        self.linear_b = nn.Linear(c, n * c, bias=False)
        self.linear_out = nn.Linear(n * c, c, bias=False)

    def forward(self, x):
        x = self.layer_norm(x)
        return self.linear_out(F.silu(self.linear_a(x)) * self.linear_b(x))


class OuterProductMean(nn.Module):
    """`mean`: divided by the number of rows that cover both residues; without it as in bioformer (one row, no mask)."""

    def __init__(self, c_m, c, c_z, mean=True):
        super().__init__()
        self.mean = mean
        self.layer_norm = nn.LayerNorm(c_m)
        self.linear_1 = nn.Linear(c_m, c)
        self.linear_2 = nn.Linear(c_m, c)
        self.linear_out = nn.Linear(c * c, c_z)

    def forward(self, m, mask):
        x = self.layer_norm(m)
        a, b = self.linear_1(x), self.linear_2(x)
        if self.mean:
            a, b = a * mask.unsqueeze(-1), b * mask.unsqueeze(-1)
        outer = torch.einsum("bsic,bsjd->bijcd", a, b)
        update = self.linear_out(outer.reshape(*outer.shape[:-2], -1))
        if not self.mean:
            return update
        count = torch.einsum("bsi,bsj->bij", mask, mask)
        return update / (count.unsqueeze(-1) + 1e-3)


class PairBlock(nn.Module):
    def __init__(self, c, biases, swiglu):
        super().__init__()
        c_z, heads, width, mul = c["c_z"], c["no_heads_pair"], c["c_hidden_pair_att"], c["c_hidden_mul"]
        self.tri_mul_out = TriangleMultiplication(c_z, mul, True, biases)
        self.tri_mul_in = TriangleMultiplication(c_z, mul, False, biases)
        self.tri_att_start = TriangleAttention(c_z, heads, width, False, biases)
        self.tri_att_end = TriangleAttention(c_z, heads, width, True, biases)
        self.pair_transition = (SwigluTransition if swiglu else Transition)(c_z, c["transition_n"])

    def forward(self, z, mask):
        z = z + self.tri_mul_out(z, mask)
        z = z + self.tri_mul_in(z, mask)
        z = z + self.tri_att_start(z, mask)
        z = z + self.tri_att_end(z, mask)
        return z + self.pair_transition(z)


class EvoformerBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        c_m, c_z = c["c_m"], c["c_z"]
        self.checkpoint = False
        self.block = self.run
        self.msa_att_row = RowAttention(c_m, c_z, c["no_heads_msa"], c["c_hidden_msa_att"])
        self.msa_att_col = ColumnAttention(c_m, c["no_heads_msa"], c["c_hidden_msa_att"])
        self.msa_transition = Transition(c_m, c["transition_n"])
        self.outer_product_mean = OuterProductMean(c_m, c["c_hidden_opm"], c_z)
        self.pair_stack = PairBlock(c, biases=True, swiglu=False)

    def run(self, m, z, msa_mask, pair_mask):
        m = m + self.msa_att_row(m, z, msa_mask)
        m = m + self.msa_att_col(m, msa_mask)
        m = m + self.msa_transition(m)
        z = z + self.outer_product_mean(m, msa_mask)
        return m, self.pair_stack(z, pair_mask)

    def forward(self, m, z, msa_mask, pair_mask):
        if self.checkpoint:
            return checkpoint(self.block, m, z, msa_mask, pair_mask, use_reentrant=False)
        return self.block(m, z, msa_mask, pair_mask)

    def compile_regions(self):
        self.block = torch.compile(self.run, dynamic=False)


class PairStack(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.checkpoint = False
        self.blocks = nn.ModuleList(PairBlock(c, biases=False, swiglu=True) for _ in range(c["no_blocks"]))

    def forward(self, z, pair_mask):
        for block in self.blocks:
            z = checkpoint(block, z, pair_mask, use_reentrant=False) if self.checkpoint else block(z, pair_mask)
        return (z,)

    def compile_regions(self):
        for block in self.blocks:
            block.compile(dynamic=False)


class LoneOuterProduct(nn.Module):
    """bioformer's outer product alone: one row, nothing divided."""

    def __init__(self, c):
        super().__init__()
        self.checkpoint = False
        self.inner = OuterProductMean(c["c_m"], c["c_hidden"], c["c_z"], mean=False)

    def forward(self, m):
        if self.checkpoint:
            return (checkpoint(self.inner, m, None, use_reentrant=False),)
        return (self.inner(m, None),)

    def compile_regions(self):
        self.inner.compile(dynamic=False)
