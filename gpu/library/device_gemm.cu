// cuBLASLt behind library_gemm. The library thinks in columns: a row-major c = a b is its c^T = b^T a^T,
// whose "row bias" is our bias along n. One heuristic query per kind of product; its answer, with the
// descriptors, is kept in the context. cuBLASLt gives equal bits for equal calls on one device and version
// when reductions in place are left out.
#include <cublasLt.h>

#include <array>
#include <string>
#include <unordered_map>
#include <utility>

#include "gpu/library/library_context.cuh"
#include "ops/kernel/gpu/elements.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/plan/device_gemm.h"

namespace reckon {
[[noreturn]] void raise_error(std::string message);
std::string_view name_of(DType t);
}  // namespace reckon

namespace reckon::ops::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBatches = 65535;  // of one library call: grids end there in two of their extents

void check(cublasStatus_t status, const std::string& what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  raise_error(what + ": cuBLASLt says " + cublasLtGetStatusName(status) + " (" +
              cublasLtGetStatusString(status) + ")");
}

cudaDataType_t cuda_type(DType t) {
  switch (t) {
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

// c's rows are dense: otherwise the transposed product is computed, whose bias runs along its rows.
struct Oriented {
  GemmProblem p;
  int64_t a_step = 0, b_step = 0, c_step = 0, batches = 1;
  bool bias_on_rows = false;
};

bool dense_rows(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  return (col_stride == 1 || cols <= 1) && (rows <= 1 || row_stride >= cols);
}

Oriented orient(const GemmCall& call) {
  Oriented o{.p = call.problem};
  if (call.batch.rank == 1) {
    o.a_step = call.batch.a_stride[0];
    o.b_step = call.batch.b_stride[0];
    o.c_step = call.batch.c_stride[0];
    o.batches = call.batch.size[0];
  }
  GemmProblem& p = o.p;
  if (dense_rows(p.m, p.n, p.c_row_stride, p.c_col_stride)) return o;
  std::swap(p.m, p.n);
  std::swap(p.a, p.b);
  std::swap(p.a.row_stride, p.a.col_stride);
  std::swap(p.b.row_stride, p.b.col_stride);
  std::swap(p.c_row_stride, p.c_col_stride);
  std::swap(o.a_step, o.b_step);
  o.bias_on_rows = true;
  return o;
}

// A row-major matrix as the library stores its transpose: columns of `height` elements, `ld` apart.
struct Stored {
  int64_t height = 0, width = 0, ld = 0;
  bool turned = false;  // the transpose of what the product needs
};

Stored stored(int64_t rows, int64_t cols, int64_t row_stride, int64_t col_stride) {
  const bool by_row = dense_rows(rows, cols, row_stride, col_stride);
  const int64_t height = by_row ? cols : rows, width = by_row ? rows : cols,
                step = by_row ? row_stride : col_stride;
  return {height, width, width <= 1 ? (height > 0 ? height : 1) : step, !by_row};
}

// The alignment the library may count on, from a small set so that it does not depend on where the arena put a
// tensor: tensors of their own lie at multiples of 256.
int alignment_of(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  for (const int bytes : {256, 16, 8, 4})
    if (address % bytes == 0) return bytes;
  return 2;
}

int64_t shared_alignment(const void* p, DType t, int64_t batch_step) {
  const int64_t step = batch_step * static_cast<int64_t>(size_of(t));
  int64_t bytes = alignment_of(p);
  while (step % bytes != 0) bytes /= 2;
  return bytes;
}

// Everything the choice of an algorithm follows from.
using Key = std::array<int64_t, 21>;

struct Chosen {
  bool found = false;
  cublasLtMatmulDescOpaque_t product;
  cublasLtMatrixLayoutOpaque_t a, b, c;  // in the library's order of operands
  cublasLtMatmulAlgo_t algorithm;
};

struct Products : LibraryState {
  cublasLtHandle_t handle = nullptr;
  std::unordered_map<Key, Chosen, KeyHash> chosen;

  Products() { check(cublasLtCreate(&handle), "making a handle for matrix products"); }
  ~Products() override { cublasLtDestroy(handle); }
};

template <class T>
void set(Chosen& c, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublasLtMatmulDescSetAttribute(&c.product, attribute, &value, sizeof(value)),
        "describing a matrix product");
}
template <class T>
void set(cublasLtMatrixLayoutOpaque_t& m, cublasLtMatrixLayoutAttribute_t attribute, T value) {
  check(cublasLtMatrixLayoutSetAttribute(&m, attribute, &value, sizeof(value)), "describing a matrix");
}
template <class T>
void set(cublasLtMatmulPreferenceOpaque_t& p, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(cublasLtMatmulPreferenceSetAttribute(&p, attribute, &value, sizeof(value)),
        "stating what a matrix product may use");
}

// One library call with what it fuses.
struct Request {
  const Oriented& o;
  int64_t batches;
  GemmEpilogue epilogue;
  const void* bias;
  void* aux;
  size_t workspace_bytes;
  Stored a, b, c;

  Request(const Oriented& oriented, int64_t n, GemmEpilogue e, const void* bias_, void* aux_, size_t bytes)
      : o(oriented),
        batches(n),
        epilogue(e),
        bias(bias_),
        aux(aux_),
        workspace_bytes(bytes),
        a(stored(o.p.k, o.p.n, o.p.b.row_stride, o.p.b.col_stride)),
        b(stored(o.p.m, o.p.k, o.p.a.row_stride, o.p.a.col_stride)),
        c(stored(o.p.m, o.p.n, o.p.c_row_stride, o.p.c_col_stride)) {}

  int64_t step(int64_t s) const { return batches > 1 ? s : 0; }
  int64_t a_alignment() const { return shared_alignment(o.p.b.data, o.p.b.dtype, step(o.b_step)); }
  int64_t b_alignment() const { return shared_alignment(o.p.a.data, o.p.a.dtype, step(o.a_step)); }
  int64_t c_alignment() const { return shared_alignment(o.p.c, o.p.c_dtype, step(o.c_step)); }

  Key key() const {
    const auto as_number = [](auto e) { return static_cast<int64_t>(e); };
    return {o.p.m,
            o.p.n,
            o.p.k,
            batches,
            a.ld,
            b.ld,
            c.ld,
            step(o.b_step),
            step(o.a_step),
            step(o.c_step),
            as_number(o.p.a.dtype),
            as_number(o.p.c_dtype),
            a.turned,
            b.turned,
            as_number(epilogue),
            bias ? alignment_of(bias) : 0,
            aux ? alignment_of(aux) : 0,
            a_alignment(),
            b_alignment(),
            c_alignment(),
            as_number(workspace_bytes)};
  }

  cublasLtEpilogue_t library_epilogue() const {
    switch (epilogue) {
      case GemmEpilogue::none:
        return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
      case GemmEpilogue::relu:
        return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
      case GemmEpilogue::gelu_tanh:
        if (aux) return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
        return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
      case GemmEpilogue::gelu_tanh_gradient:
        return CUBLASLT_EPILOGUE_DGELU;
    }
    return CUBLASLT_EPILOGUE_DEFAULT;
  }

  std::string text() const {
    const auto number = [](int64_t v) { return std::to_string(v); };
    std::string s = "a matrix product of " + number(batches) + " x [" + number(o.p.m) + ", " + number(o.p.k) +
                    "] x [" + number(o.p.k) + ", " + number(o.p.n) + "] in " +
                    std::string(name_of(o.p.a.dtype)) + " into " + std::string(name_of(o.p.c_dtype));
    return s + " (leading dimensions " + number(b.ld) + ", " + number(a.ld) + ", " + number(c.ld) +
           ", alignments " + number(b_alignment()) + ", " + number(a_alignment()) + ", " +
           number(c_alignment()) + ", workspace " + number(static_cast<int64_t>(workspace_bytes)) + " bytes)";
  }
};

void describe(cublasLtMatrixLayoutOpaque_t& m, const Stored& s, DType t, int64_t batches, int64_t step,
              const Request& r) {
  check(cublasLtMatrixLayoutInit(&m, cuda_type(t), static_cast<uint64_t>(s.height),
                                 static_cast<uint64_t>(s.width), s.ld),
        r.text());
  if (batches == 1) return;
  set(m, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<int32_t>(batches));
  set(m, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, step);
}

// The addresses enter a query too: the library reads their alignment.
void set_addresses(Chosen& c, const Request& r) {
  if (r.bias) set(c, CUBLASLT_MATMUL_DESC_BIAS_POINTER, r.bias);
  if (r.aux) set(c, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, r.aux);
}

void choose(Chosen& chosen, const Request& r, cublasLtHandle_t handle) {
  const GemmProblem& p = r.o.p;
  check(cublasLtMatmulDescInit(&chosen.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), r.text());
  set(chosen, CUBLASLT_MATMUL_DESC_TRANSA, r.a.turned ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(chosen, CUBLASLT_MATMUL_DESC_TRANSB, r.b.turned ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(chosen, CUBLASLT_MATMUL_DESC_EPILOGUE, r.library_epilogue());
  if (r.bias) set(chosen, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(cuda_type(p.bias_dtype)));
  if (r.aux) {
    set(chosen, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, r.c.ld);
    set(chosen, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, r.step(r.o.c_step));
  }
  set_addresses(chosen, r);
  describe(chosen.a, r.a, p.b.dtype, r.batches, r.o.b_step, r);
  describe(chosen.b, r.b, p.a.dtype, r.batches, r.o.a_step, r);
  describe(chosen.c, r.c, p.c_dtype, r.batches, r.o.c_step, r);

  cublasLtMatmulPreferenceOpaque_t preference;
  check(cublasLtMatmulPreferenceInit(&preference), r.text());
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(r.workspace_bytes));
  // Partial sums of a split k meet in f32 and in a fixed order, or not at all.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(r.a_alignment()));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(r.b_alignment()));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(r.c_alignment()));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(r.c_alignment()));
  cublasLtMatmulHeuristicResult_t result{};
  int results = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle, &chosen.product, &chosen.a, &chosen.b, &chosen.c, &chosen.c, &preference, 1, &result, &results);
  chosen.found = status == CUBLAS_STATUS_SUCCESS && results > 0 && result.state == CUBLAS_STATUS_SUCCESS &&
                 result.workspaceSize <= r.workspace_bytes;
  chosen.algorithm = result.algo;
}

// Whether an epilogue may be asked for at all; the library has the last word. GELU in f32 stays ours: the
// library's is accurate to 16 bits.
bool may_fuse(const GemmCall& call, const Oriented& o, const Stored& c) {
  const GemmProblem& p = o.p;
  if (p.bias && (o.bias_on_rows || p.bias_dtype != p.c_dtype)) return false;
  switch (call.epilogue) {
    case GemmEpilogue::none:
    case GemmEpilogue::relu:
      return true;
    case GemmEpilogue::gelu_tanh_gradient:
      if (p.bias) return false;
      [[fallthrough]];
    case GemmEpilogue::gelu_tanh:
      return p.c_dtype != DType::f32 &&
             (!call.aux || (c.ld % 8 == 0 && o.c_step % 8 == 0 && alignment_of(call.aux) >= 16));
  }
  return false;
}

// ---- what the library does not do ---------------------------------------------------------------------------

struct Finish {
  Elements c, aux, bias;
  int64_t m, n, row_stride, step, total;
  GemmEpilogue epilogue;
  bool bias_on_rows, clears;  // clears: there was no product (k = 0), and c holds nothing
};

constexpr float kGeluScale = 0.7978845608028654f, kGeluCube = 0.044715f;

// Bias and epilogue over c, in place. Rows of c are dense.
__global__ void __launch_bounds__(kThreads) finish_product(Finish f) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= f.total) return;
  const int64_t column = i % f.n, rest = i / f.n, row = rest % f.m,
                at = rest / f.m * f.step + row * f.row_stride + column;
  float v = f.clears ? 0.0f : load(f.c, at);
  if (f.bias) v += load(f.bias, f.bias_on_rows ? row : column);
  switch (f.epilogue) {
    case GemmEpilogue::none:
      break;
    case GemmEpilogue::relu:
      v = 0.0f > v ? 0.0f : v;  // keeps NaN
      break;
    case GemmEpilogue::gelu_tanh:
      if (f.aux) store(f.aux, at, v);
      v = 0.5f * v * (1.0f + tanhf(kGeluScale * (v + kGeluCube * v * v * v)));
      break;
    case GemmEpilogue::gelu_tanh_gradient: {
      const float x = load(f.aux, at), t = tanhf(kGeluScale * (x + kGeluCube * x * x * x));
      v *= 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * kGeluScale * (1.0f + 3.0f * kGeluCube * x * x);
      break;
    }
  }
  store(f.c, at, v);
}

// Part of the library call: no launch of the plan.
void finish(const KernelArgs& args, const GemmCall& call, const Oriented& o, bool clears) {
  KernelArgs unannounced = args;
  unannounced.note_launch = [](void*, int) {};
  const GemmProblem& p = o.p;
  const int64_t total = p.m * p.n * o.batches;
  const Finish f{.c = {p.c, p.c_dtype},
                 .aux = {call.aux, p.c_dtype},
                 .bias = {const_cast<void*>(p.bias), p.bias_dtype},
                 .m = p.m,
                 .n = p.n,
                 .row_stride = p.c_row_stride,
                 .step = o.c_step,
                 .total = total,
                 .epilogue = call.epilogue,
                 .bias_on_rows = o.bias_on_rows,
                 .clears = clears};
  launch(unannounced, 0, finish_product, blocks_for(total, kThreads), kThreads, 0, f);
}

void* at(const void* p, DType t, int64_t elements) {
  return p ? const_cast<char*>(static_cast<const char*>(p)) + elements * static_cast<int64_t>(size_of(t))
           : nullptr;
}

// False when the library has no algorithm for this call; nothing was queued then.
bool run(const KernelArgs& args, Products& products, const Request& r, void* workspace) {
  const auto [it, is_first] = products.chosen.try_emplace(r.key());
  Chosen& chosen = it->second;
  if (is_first) choose(chosen, r, products.handle);
  if (!chosen.found) return false;
  set_addresses(chosen, r);
  const GemmProblem& p = r.o.p;
  const float alpha = static_cast<float>(p.alpha), beta = p.accumulate ? 1.0f : 0.0f;
  const cublasStatus_t status = cublasLtMatmul(
      products.handle, &chosen.product, &alpha, p.b.data, &chosen.a, p.a.data, &chosen.b, &beta, p.c, &chosen.c,
      p.c, &chosen.c, &chosen.algorithm, workspace, r.workspace_bytes, static_cast<cudaStream_t>(args.stream));
  if (status != CUBLAS_STATUS_SUCCESS) check(status, r.text());
  return true;
}

}  // namespace

LibraryContext::LibraryContext() : products(std::make_unique<Products>()) {}
LibraryContext::~LibraryContext() = default;

void library_gemm(const KernelArgs& args, int launch_index, const GemmCall& call, void* workspace,
                  size_t workspace_bytes) {
  args.launch(launch_index);
  if (!library_takes(call))
    raise_error("a library product got operands that it does not take: the plan must convert them");
  if (!workspace || workspace_bytes == 0) raise_error("a library product needs its workspace");
  if (!args.context) raise_error("a library product needs the backend's library context");
  auto& context = *static_cast<LibraryContext*>(args.context);
  auto& products = static_cast<Products&>(*context.products);
  const Oriented whole = orient(call);
  if (whole.p.m == 0 || whole.p.n == 0 || whole.batches == 0) return;
  if (context.tracer) context.tracer->note_product(whole.p.m, whole.p.n, whole.p.k, whole.batches);
  if (whole.p.k == 0) return finish(args, call, whole, !call.problem.accumulate);
  const bool leaves_something = call.epilogue != GemmEpilogue::none || call.problem.bias;
  const bool may =
      may_fuse(call, whole, stored(whole.p.m, whole.p.n, whole.p.c_row_stride, whole.p.c_col_stride));
  for (int64_t first = 0; first < whole.batches; first += kMostBatches) {
    Oriented part = whole;
    part.batches = whole.batches - first < kMostBatches ? whole.batches - first : kMostBatches;
    part.p.a.data = at(whole.p.a.data, whole.p.a.dtype, first * whole.a_step);
    part.p.b.data = at(whole.p.b.data, whole.p.b.dtype, first * whole.b_step);
    part.p.c = at(whole.p.c, whole.p.c_dtype, first * whole.c_step);
    GemmCall part_call = call;
    part_call.aux = at(call.aux, whole.p.c_dtype, first * whole.c_step);
    if (may &&
        run(args, products, {part, part.batches, call.epilogue, whole.p.bias, part_call.aux, workspace_bytes},
            workspace))
      continue;
    const Request plain{part, part.batches, GemmEpilogue::none, nullptr, nullptr, workspace_bytes};
    if (!run(args, products, plain, workspace))
      raise_error(plain.text() + ": cuBLASLt has no algorithm for it");
    if (leaves_something) finish(args, part_call, part, false);
  }
}

}  // namespace reckon::ops::gpu
