"""The mutations of scripts/mutation_check.py: one broken line each, and the tests that must notice it."""
import collections

# A file, a text found in it once, what it becomes, and the judge that must fail: a test program with a filter, or the parity suite.
Mutation = collections.namedtuple("Mutation", "name file old new judge")

PARITY, FUSED = "parity", "parity fused"


def autograd(name, file, old, new):
    return Mutation(name, file, old, new, "autograd_test")


def ops(name, file, old, new, tests):
    return Mutation(name, file, old, new, f"ops_test {tests}")


def gpu(name, file, old, new, tests):
    return Mutation(name, file, old, new, f"simt_test {tests}")


def parity(name, file, old, new, flags=PARITY):
    return Mutation(name, file, old, new, flags)


# Wrong mathematics in the formulas as they are written for f64: do the golden numbers notice?
FORMULAS = [
    parity("softmax-sign", "ops/softmax/softmax_kernel.h", "o[i] = k_exp(v[i] - top);",
           "o[i] = k_exp(top - v[i]);"),
    parity("softmax-backward", "ops/softmax/softmax_kernel.h", "o[i] = yv[i] * (gv[i] - dot);",
           "o[i] = yv[i] * (gv[i] + dot);"),
    parity("rope-sine-sign", "ops/rope/rope_kernel.h", "sine[i] = k_sin(angle);",
           "sine[i] = -k_sin(angle);"),
    parity("layer-norm-eps", "ops/layer_norm/layer_norm_kernel.h", "k_sqrt(squares / C(c) + eps)",
           "k_sqrt(squares / C(c))"),
    parity("rms-norm-eps", "ops/rms_norm/rms_norm_kernel.h", "k_sqrt(sum / C(c) + eps)",
           "k_sqrt(sum / C(c))"),
    parity("cross-entropy-all-rows", "ops/cross_entropy/cross_entropy_kernel.h", "total = total / C(counted_targets(targets, t.ignore_index));",
           "total = total / C(rows);"),
    parity("sum-last-element", "ops/sum/sum_kernel.h", "for (int64_t i = 0; i < count; ++i) total += v[i];",
           "for (int64_t i = 0; i + 1 < count; ++i) total += v[i];"),
    parity("attention-mask-ignored", "ops/attention/attention_reference.h", "if (mask.defined()) dot += terms[j];",
           "", FUSED),
    parity("attention-scale", "ops/attention/attention_reference.h", "dot = dot * C(attrs.scale);",
           "dot = dot;", FUSED),
    parity('adamw-decay-after-step', 'ops/adamw/adamw_kernel.h',
           """      if (t.decays_param) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = p[i] * p_factor;
      }
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) m[i] = lerp_to(m[i], g[i], w1);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) v[i] = lerp_to_square(v[i], g[i], w2);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) d[i] = root_term(v[i], root, eps);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) p[i] = quotient_sum(p[i], m[i], d[i], step);
""",
           """      for (int64_t i = 0; i < n; ++i) m[i] = lerp_to(m[i], g[i], w1);
      for (int64_t i = 0; i < n; ++i) v[i] = lerp_to_square(v[i], g[i], w2);
      for (int64_t i = 0; i < n; ++i) d[i] = root_term(v[i], root, eps);
      for (int64_t i = 0; i < n; ++i) p[i] = quotient_sum(p[i], m[i], d[i], step);
      if (t.decays_param)
        for (int64_t i = 0; i < n; ++i) p[i] = p[i] * p_factor;
""", FUSED),
    parity("gelu-constant", "ops/activation/activation.h", "return C(0.5) * x * (C(1) + k_erf(x * C(kRootHalf)));",
           "return C(0.5) * x * (C(1) + k_erf(x * C(0.7)));"),
    parity("silu-slope", "ops/activation/activation.h", "g * (s * (C(1) + x * (C(1) - s)))",
           "g * (s * (C(1) - x * (C(1) - s)))"),
    parity("norm-linear-eps", "ops/kernel/cpu/norm_rows.h", "k_sqrt(squares / C(c) + n.eps)",
           "k_sqrt(squares / C(c))", FUSED),
    parity('outer-product-a-b', 'ops/outer_product_mean/outer_product_mean_kernel.h',
           """const Matrix a = batch_of(args.in[In::a], n, batch), b = batch_of(args.in[In::b], n, batch);
    for (int64_t i0 = 0; i0 < n.r; i0 += t.ti) {""",
           """const Matrix a = batch_of(args.in[In::b], n, batch), b = batch_of(args.in[In::a], n, batch);
    for (int64_t i0 = 0; i0 < n.r; i0 += t.ti) {""", FUSED),
    parity("triangle-direction", "models/nn/pair_updates.cpp", "outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1}",
           "!outgoing ? Dims{0, 3, 1, 2} : Dims{0, 3, 2, 1}"),
    parity("triangle-direction-fused", "models/nn/pair_updates.cpp", "z, mask, w, outgoing, layer_norm_in.eps",
           "z, mask, w, !outgoing, layer_norm_in.eps", FUSED),
    parity("outer-product-eps", "models/nn/pair_updates.cpp", "ops::affine(count, 1.0, eps)",
           "ops::affine(count, 1.0, 0.0)"),
]

AUTOGRAD = [
    autograd("recipe-output-version", "autograd/saved_tensor.h", "return output.storage()->version() == output_version_;", "return true;"),
    autograd("recipe-input-version", "autograd/saved_tensor.cpp", "return held && held->version() == version;", "return held != nullptr;"),
    autograd("recipe-hears-no-writes", "autograd/saved_tensor.cpp", "  listen();\n  return true;", "  return true;"),
    autograd("recipe-never-dropped", "autograd/saved_tensor.cpp", "if (--users_ == 0) forget();", "--users_;"),
    autograd("recipe-followers-not-told", "autograd/saved_tensor.cpp", "follower->before_write();", "(void)follower;"),
    autograd("recipe-view-rebuilt-ahead", "autograd/saved_tensor.cpp", "  if (output_is_view_) {\n    const std::vector", "  if (false) {\n    const std::vector"),
    autograd("recipe-early-output-not-saved", "autograd/saved_tensor.cpp", "rebuilt_early_ = SavedTensor(rebuilt_, nullptr);", ""),
    autograd("recipe-of-dear-ops", "autograd/saved_tensor.cpp", "if (op.recompute != ops::Recompute::cheap || spec.writes) return nullptr;",
             "if (spec.writes) return nullptr;"),
    autograd("recipe-chain-never-cut", "autograd/saved_tensor.h", "kLongestChain = 64;", "kLongestChain = 1 << 30;"),
    autograd("saved-version-ignored", "autograd/saved_tensor.cpp", "RECKON_CHECK(!tensor_.defined() || tensor_.storage()->version() == version_,",
             "RECKON_CHECK(true,"),
    autograd("saver-not-counted", "autograd/saved_tensor.cpp", "tensor_.storage()->add_saver();", "(void)tensor_;"),
    autograd("graph-dropped-recursively", "autograd/node.cpp", "  if (pending) {", "  if (false) {"),
    autograd("spent-node-runs-again", "autograd/node.cpp", "      !released_,\n", "      true,\n"),
    autograd("partial-gradient-read", "autograd/node.cpp", "RECKON_CHECK(!meta->partial,", "RECKON_CHECK(true,"),
    autograd("undo-keeps-gradients", "autograd/engine.cpp", "    else\n      t.leaf->grad = {};", "    else\n      (void)t;"),
    autograd("undo-keeps-queued", "autograd/engine.cpp", "    node.queued = false;\n    node.hooked", "    node.hooked"),
    autograd("undo-marks-nothing", "autograd/engine.cpp", "t.leaf->partial = true;", "(void)t;"),
    autograd("no-look-ahead", "autograd/engine.cpp", "  run.check(roots);\n", ""),
    autograd("generator-rewound-by-backward", "autograd/engine.cpp", "    generator.keep();\n", ""),
    autograd("leaf-steals-a-shared-buffer", "autograd/engine.cpp", "if (!sole_owner(grad)) {", "if (false) {"),
    autograd("sum-in-place-while-shared", "autograd/engine.cpp", "} else if (sole_owner(sum)) {", "} else if (true) {"),
    autograd("earliest-node-first", "autograd/engine.cpp", "return a->sequence < b->sequence;", "return a->sequence > b->sequence;"),
    autograd("hook-shape-unchecked", "autograd/engine.cpp", "replaced.shape() == grad.shape() && replaced.dtype() == grad.dtype() &&",
             "true || replaced.shape() == grad.shape() ||"),
    autograd("hook-may-write", "autograd/engine.cpp", "grad.storage()->version() == version,", "true || version,"),
    autograd("leaf-hooks-skipped", "autograd/engine.cpp", "    if (!has_hooks(*target)) {", "    if (true) {"),
    autograd("gradient-type-kept", "autograd/engine.cpp", "if (grad.dtype() != edge.target->grad_dtype) grad", "if (false) grad"),
    autograd("segment-random-numbers", "autograd/checkpoint.cpp", "    grad_state().generator = generator_;\n", ""),
    autograd("segment-precision", "autograd/checkpoint.cpp", "    const AutocastScope precision(autocast_);\n", ""),
    autograd("segment-fusions", "autograd/checkpoint.cpp", "    const FusionScope fusions(fusions_);\n", ""),
    autograd("segment-path-unchecked", "autograd/checkpoint.cpp", "RECKON_CHECK(trace_hash() == trace_,", "RECKON_CHECK(true,"),
    autograd("segment-reads-unchecked", "autograd/checkpoint.cpp", "    reads_.check(module);\n", ""),
    autograd("segment-takes-all-outputs", "autograd/checkpoint.cpp", "if (!traced || !is_traced(*traced)) continue;", "if (!traced) continue;"),
    autograd("segment-output-twice", "autograd/checkpoint.cpp", "    if (!meta) {\n", "    {\n"),
    autograd("segment-failure-draws", "autograd/checkpoint.cpp", "    GeneratorGuard generator;\n", "    GeneratorGuard generator;\n    generator.keep();\n"),
    autograd("outside-version-ignored", "autograd/segment_trace.cpp", "!storage || storage->version() == read.version,",
             "true,"),
    autograd("cast-read-hides-weight", "autograd/autocast.cpp", "  SegmentTrace::note_reads({&t, 1});\n", ""),
    autograd("cast-version-ignored", "autograd/autocast.cpp", "entry.version == t.storage()->version() &&", ""),
    autograd("cast-offset-ignored", "autograd/autocast.cpp", "return {t.storage().get(), t.layout().offset};", "return {t.storage().get(), 0};"),
    autograd("path-without-ops", "autograd/hook.cpp", "  mix(reinterpret_cast<uintptr_t>(&op));\n", ""),
    autograd("write-not-announced", "ops/dispatch.cpp", "  announce_writes(plan, inputs);\n", ""),
    autograd("write-not-counted", "ops/dispatch.cpp", "    bump_versions(plan, inputs);\n", ""),
    autograd("host-write-not-counted", "runtime/tensor.cpp", "  storage_->bump_version();\n", ""),
]

# Slips in the CPU kernels as f32 and bf16 take them: tiles, pieces of sums, edges, strides, where a sum begins anew.
KERNELS = [
    ops("attention-sum-not-rescaled", "ops/attention/attention_tiled.h", "    sum[i] *= factor[i];\n", "", "*attention*:*Attention*"),
    ops("attention-backward-lead", "ops/attention/attention_backward_tiled.h", "j0 > s.lead() ? j0 - s.lead() : 0", "j0 > s.lead() ? j0 : 0",
        "*attention*:*Attention*"),
    ops("softmax-maximum-of-last-tile", "ops/softmax/softmax_kernel.h", "top = largest(top, load_tile", "top = largest(C(-__builtin_inff()), load_tile", "*softmax*:*Softmax*"),
    ops("cross-entropy-maximum-of-last-tile", "ops/cross_entropy/cross_entropy_kernel.h", "top = largest(top, load_tile", "top = largest(C(-__builtin_inff()), load_tile",
        "*/cross_entropy*:CrossEntropy*"),
    ops("linear-loss-sum-not-rescaled", "ops/linear_cross_entropy/linear_cross_entropy_tiled.h", "sum[i] * k_exp(before - safe), classes,", "sum[i], classes,",
        "*linear_cross_entropy*:LinearCrossEntropy*"),
    ops("linear-loss-sums-over-classes", "ops/linear_cross_entropy/linear_cross_entropy_tiled.h", "dw_sum + class0 * H, DType::f32, r > 0);",
        "dw_sum + class0 * H, DType::f32, v > 0);", "*linear_cross_entropy*:LinearCrossEntropy*"),
    ops("gemm-last-step-not-packed", "ops/kernel/cpu/gemm_pack.h", "    if (p < steps) store(to + p", "    if (p + 1 < steps) store(to + p", "*Gemm*:*Matmul*"),
    ops("gemm-scale-in-first-block-only", "ops/kernel/cpu/gemm_cpu.cpp", "stage = {finish.alpha, nullptr, nullptr, true};", "stage = {T{1}, nullptr, nullptr, true};",
        "*Gemm*:*Matmul*"),
    ops("conv2d-weight-of-last-image", "ops/conv2d/conv2d.cpp", ".accumulate = started};", ".accumulate = first > 0};", "*conv2d*:Conv2d*"),
    ops("conv2d-truncates-bf16", "ops/conv2d/conv2d.cpp", "to.as<bf16>()[offset + i].bits = f32_to_bf16(from[i]);",
        "to.as<bf16>()[offset + i].bits = static_cast<uint16_t>(__builtin_bit_cast(uint32_t, from[i]) >> 16);", "*conv2d*:Conv2d*"),
    ops("rope-angle-in-f32", "ops/rope/rope_kernel.h", "sine_cosine(at * frequency[i], &sine[i]", "sine_cosine(static_cast<float>(at * frequency[i]), &sine[i]", "*rope*:Rope*"),
    ops("dropout-every-word-of-the-first", "ops/dropout/dropout_kernel.h", "const int skip = static_cast<int>(first % 4);", "const int skip = 0;", "*dropout*:Dropout*"),
    ops("concat-ignores-stride", "ops/concat/concat_kernel.h", "x.as<S>()[at + i * step];", "x.as<S>()[at + i];", "*concat*:Concat*"),
    ops("embedding-first-position-lost", "ops/embedding/embedding_kernel.h", "for (int32_t i = head[v]; i >= 0;", "for (int32_t i = head[v]; i > 0;",
        "*embedding*:Embedding*"),
    ops("scatter-add-reads-first-columns", "ops/index_select/index_select_kernel.h", "(o * n + k) * s.inner + column, 1, width, cells);", "(o * n + k) * s.inner, 1, width, cells);",
        "*scatter_add*:ScatterAdd*:*index_select*:IndexSelect*"),
    ops("masked-fill-gradient-filled", "ops/masked_fill/masked_fill.cpp", "masked_fill(c.grads[0], c.saved[0], 0.0)",
        "masked_fill(c.grads[0], c.saved[0], c.as<MaskedFillAttrs>().value)", "*masked_fill*:MaskedFill*"),
    ops("contiguous-without-first-axis", "ops/cast/cast_kernel.h", "for (int d = r - 2; d >= 0; --d) {", "for (int d = r - 2; d > 0; --d) {", "*contiguous*:*cast*"),
    ops("sum-piece-not-cleared", "ops/sum/sum_kernel.h", "    if (!single)\n      for (int64_t j = 0; j < lanes; ++j) piece[j] = C(0);",
        "    if (start == 0)\n      for (int64_t j = 0; j < lanes; ++j) piece[j] = C(0);", "*sum*:*Sum*"),
    ops("outer-product-db-over-wrong-tiles", "ops/outer_product_mean/outer_product_mean_kernel.h", ".accumulate = i0 > 0};\n          products<C>(args, p, {.rank = 2, .size = {1, mj}",
        ".accumulate = j0 > 0};\n          products<C>(args, p, {.rank = 2, .size = {1, mj}", "*outer_product_mean*:OuterProductMean*"),
    ops("triangle-mask-of-first-square", "ops/triangle_multiply/channel_blocks.h", "mask.dtype, mask_row + r0 + i, 1, 1, &cell);", "mask.dtype, mask_row + i, 1, 1, &cell);",
        "*triangle_multiply*:TriangleMultiply*"),
    ops("layer-norm-last-piece-lost", "ops/layer_norm/layer_norm_kernel.h", "for (int64_t p = 1; p < pieces; ++p) {", "for (int64_t p = 1; p + 1 < pieces; ++p) {",
        "*layer_norm*:LayerNorm*"),
    ops("sgd-dampens-first-step", "ops/sgd/sgd_kernel.h", "        if (first) {", "        if (first && s.dampening == 0) {", "*sgd*:Sgd*"),
]

# Slips in GPU kernels that the emulator runs as they are: barriers, lanes, stages, strides, tiles' offsets.
GPU = [
    gpu("attention-gpu-causal-edge", "ops/attention/attention_forward.cuh", "if (p.causal && j + kStep - 1 > own + p.lead()) {", "if (p.causal && j > own + p.lead()) {",
        "AttentionKernels*:-*Gradient*"),
    gpu("attention-gpu-last-lanes-not-added", "ops/attention/attention_rows.cuh", "for (unsigned d = lanes / 2; d > 0; d /= 2) sum", "for (unsigned d = lanes / 2; d > 1; d /= 2) sum",
        "AttentionKernels*Gradient*"),
    gpu("attention-gpu-unseen-keys-kept", "ops/attention/attention_dq.cuh", "key = (own_seen + 31) / 32 * 32 + lane;", "key = own_seen / 32 * 32 + 32 + lane;",
        "AttentionKernels*Gradient*"),
    gpu("scatter-gpu-sorts-without-barrier", "ops/kernel/gpu/scatter_rows.cuh", "      __syncthreads();\n      if (threadIdx.x < size / 2) {", "      if (threadIdx.x < size / 2) {",
        "ScatterAdd*:*embedding*"),
    gpu("softmax-gpu-sum-of-one-warp", "ops/softmax/softmax.cu", "  sum = block_sum(sum, cells);\n", "  sum = warp_sum(sum);\n", "*softmax*:Softmax*"),
    gpu("cross-entropy-gpu-column-of-tile", "ops/cross_entropy/cross_entropy.cu", "if (t.start + t.column(k, i) == target)", "if (t.column(k, i) == target)",
        "*/cross_entropy*:CrossEntropy*"),
    gpu("linear-loss-gpu-unpadded-rows", "ops/linear_cross_entropy/linear_cross_entropy.cu", "int64_t{blockIdx.y} * tile.pitch + j, target", "int64_t{blockIdx.y} * tile.classes + j, target",
        "LinearCrossEntropy*"),
    gpu("sum-gpu-lane-for-strand", "ops/sum/sum.cu", "cells[threadIdx.x + s * lanes][k];", "cells[threadIdx.x + s][k];", "*/sum*:SumKernels*"),
    gpu("rope-gpu-turns-without-barrier", "ops/rope/rope.cu", "  __syncthreads();\n  const uint32_t items", "  const uint32_t items", "*rope*"),
    gpu("dropout-gpu-stride-of-shared-mask", "ops/dropout/dropout.cu", "return row * inner.by + column;", "return row * outer.by + column;", "*dropout*:Random*"),
    gpu("triangle-gpu-mask-of-first-tile", "ops/triangle_multiply/triangle_rows.cu", "p.mask ? load(p.mask, row0 + r) : 1.0f", "p.mask ? load(p.mask, r) : 1.0f",
        "TriangleMultiplyOnAGpu.BackwardAgrees*"),
    gpu("transition-gpu-weight-of-first-step", "ops/transition/transition.cu", "static_cast<const T*>(p.w_b) + int64_t{h0} * n.c", "static_cast<const T*>(p.w_b)",
        "*/swiglu_transition*:TransitionOnAGpu.Agrees*"),
    gpu("outer-product-gpu-swapped-counts", "ops/outer_product_mean/outer_product_mean.cu", "count += rows[s][i] * columns[s][j];", "count += rows[s][j] * columns[s][i];",
        "OuterProductMean*"),
    gpu("norm-linear-gpu-stage-in-use", "ops/norm_linear/norm_linear_backward.cu", "if (more) issue(row0 + kDepth<T>, stage ^ 1);", "if (more) issue(row0 + kDepth<T>, stage);", "NormLinear*"),
    gpu("adamw-gpu-counts-skipped-steps", "ops/adamw/steps.cu", "if (!is_set(skip)) store(updates, 0, made);", "store(updates, 0, made);", "AdamW*:Optimizers*:*adam*"),
    gpu("cast-gpu-e4m3-not-saturated", "ops/cast/cast.cu", "__NV_SATFINITE, __NV_E4M3", "__NV_NOSAT, __NV_E4M3", "Cast*"),
    gpu("fill-gpu-causal-of-square", "ops/fill/fill.cu", "last = row % queries + keys - queries;", "last = row % queries;", "*fill*:Fill*"),
]

ALL = FORMULAS + AUTOGRAD + KERNELS + GPU
