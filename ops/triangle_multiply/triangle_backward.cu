// The order of backward's launches: see TriangleWork. dt, da, a and b lie by channels; db
// takes b's place once da is made.
#include "ops/kernel/gpu/gradient_sums.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/triangle_multiply/triangle_backward.cuh"
#include "ops/triangle_multiply/triangle_products.cuh"

namespace reckon::ops::gpu {

namespace {

// The last launch: what the others left of the parameters' gradients, added up piece by piece.
void sum_parameters(KernelArgs& a, int launch_index, const TriangleSizes& s, const TriangleSums& where,
                    uint32_t needs, const float* in_sums, const float* out_sums, const float* weight_sums) {
  using namespace triangle;
  GradientSums sums;
  int next = needs >> z & 1u;
  const RowPieces tall(s.positions());
  const WeightPieces pieces = where.pieces(s.positions());
  for (int k = ln_in_w; k < n_inputs; ++k) {
    if (!(needs >> k & 1u)) continue;
    const TensorArg& to = a.out[next++];
    if (k <= ln_in_b)
      sums.add(to, in_sums + (k - ln_in_w) * s.cz, tall.pieces, 2 * s.cz);
    else if (k == ln_out_w || k == ln_out_b)
      sums.add(to, out_sums + (k - ln_out_w) * s.c, tall.pieces, 2 * s.c);
    else
      sums.add(to, weight_sums + where.at[k], pieces.pieces, where.floats);
  }
  launch_sum_gradients(a, launch_index, sums);
}

}  // namespace

// in dy, then the forward inputs (biases absent), then what was kept; out the wanted gradients.
// Workspaces: with sides the library's, dt, da, a and b; the sums of the norms of t and of z and
// those of the weights, where wanted.
void triangle_multiply_backward_gpu(KernelArgs& a) {
  using namespace triangle;
  const auto& attrs = a.as<TriangleMultiplyAttrs>();
  const auto in = [&](int k) -> const TensorArg& { return a.in[triangle_input(k)]; };
  const auto kept = [&](int k) -> const TensorArg& { return a.in[triangle_kept(k)]; };
  const TensorArg &zt = in(z), &dy = a.in[kTriangleDout];
  const TriangleSizes s{zt.shape[0],      zt.shape[1],      zt.shape[3],
                        in(w_a).shape[0], in(w_z).shape[0], in(w_a).dtype};
  const TriangleWork work(attrs.needs);
  const TriangleSums where(attrs.needs, s);

  int next_workspace = 0;
  const auto workspace = [&](bool wanted) { return wanted ? a.workspace[next_workspace++] : nullptr; };
  workspace(work.sides);  // the library's
  std::byte* const dt = workspace(work.sides);
  std::byte* const da = workspace(work.sides);
  std::byte* const of_a = workspace(work.sides);
  std::byte* const of_b = workspace(work.sides);
  float* const out_sums = reinterpret_cast<float*>(workspace(work.norm_out));
  float* const in_sums = reinterpret_cast<float*>(workspace(work.norm_in));
  float* const weight_sums = reinterpret_cast<float*>(workspace(work.weights));

  const auto all_take = [&](std::initializer_list<const TensorArg*> list) {
    for (const TensorArg* t : list)
      if (!takes_vectors(*t)) return false;
    return true;
  };
  const NormInput norm_in = norm_input(zt, in(ln_in_w), in(ln_in_b), NormKind::layer, attrs.eps,
                                       kept(mean_in).as<float>(), kept(rstd_in).as<float>());
  const NormInput norm_out = norm_input(kept(t), in(ln_out_w), in(ln_out_b), NormKind::layer, attrs.eps,
                                        kept(mean_out).as<float>(), kept(rstd_out).as<float>());
  const TriangleBackward p{.dy = dy.data,
                           .o = kept(o).data,
                           .g = kept(g).data,
                           .w_z = in(w_z).data,
                           .w_g = in(w_g).data,
                           .side = {{kept(pa).data, kept(pag).data, in(w_a).data, in(w_ag).data, da},
                                    {kept(pb).data, kept(pbg).data, in(w_b).data, in(w_bg).data, of_b}},
                           .mask = elements(in(mask)),
                           .layout = channels_of(s),
                           .c = static_cast<int>(s.c),
                           .cz = static_cast<int>(s.cz),
                           .c_out = static_cast<int>(s.c_out),
                           .out_vectors = all_take({&dy, &kept(o), &kept(g)}),
                           .side_vectors = all_take({&kept(pa), &kept(pag), &kept(pb), &kept(pbg)}),
                           .w_z_vectors = takes_vectors(in(w_z)),
                           .w_g_vectors = takes_vectors(in(w_g)),
                           .side_w_vectors = all_take({&in(w_a), &in(w_ag), &in(w_b), &in(w_bg)})};
  int launches = 0;
  if (work.output_rows) launch_triangle_output_rows(a, launches++, s.low, norm_out, p, dt, out_sums);
  if (work.sides) {
    launch_triangle_gather(a, launches++, s.low, p, of_a, of_b);
    // outgoing, t = a b^T: da = dt b, db = dt^T a. Incoming, t = a^T b: da = b dt^T, db = a dt.
    const bool out = attrs.outgoing;
    multiply_channels(a, launches++, s, {out ? dt : of_b, false}, {out ? of_b : dt, !out}, da);
    multiply_channels(a, launches++, s, {out ? dt : of_a, out}, {out ? of_a : dt, false}, of_b);
  }
  const bool wants_z = attrs.needs >> z & 1u;
  if (work.input_rows)
    launch_triangle_input_rows(a, launches++, s.low, norm_in, p, wants_z ? &a.out[0] : nullptr, in_sums);
  if (work.weights) launch_triangle_weights(a, launches++, s.low, norm_in, norm_out, p, where, weight_sums);
  if (work.sums) sum_parameters(a, launches++, s, where, attrs.needs, in_sums, out_sums, weight_sums);
}

}  // namespace reckon::ops::gpu
