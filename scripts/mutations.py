"""The mutations of scripts/mutation_check.py: one broken line each, and the tests that must notice it."""
import collections

# file, a text found in it once, what it becomes, the judge that must fail. `slow`: seconds a judge may take before it counts as failed.
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
    autograd("leaf-hooks-skipped", "autograd/engine.cpp", "    if (!target->hooks) {", "    if (true) {"),
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

ALL = FORMULAS + AUTOGRAD
