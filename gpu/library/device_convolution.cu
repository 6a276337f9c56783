// cuDNN behind library_convolution, opened at the first convolution rather than linked: the plugin then
// starts where cuDNN is missing, and a run without convolutions does not pay for it. Each kind of
// convolution is described once; of the library's algorithms only those that sum in f32 in a fixed order are
// asked for (no Winograd, no Fourier, no TF32), in the order of its own heuristic, and the first that fits
// into the plan's workspace is kept.
#include <dlfcn.h>

#include <array>
#include <string>
#include <unordered_map>

#include "gpu/library/library_context.cuh"
#include "ops/kernel/gpu/launch.cuh"
#include "ops/kernel/plan/device_convolution.h"

#if __has_include(<cudnn.h>)
#include <cudnn.h>
#define RECKON_HAS_CUDNN 1
#endif

namespace reckon {
[[noreturn]] void raise_error(std::string message);
std::string_view name_of(DType t);
}  // namespace reckon

namespace reckon::ops::gpu {
namespace {

std::string list(std::initializer_list<int64_t> numbers) {
  std::string s;
  for (int64_t n : numbers) s += (s.empty() ? "[" : ", ") + std::to_string(n);
  return s + "]";
}

std::string text(const Convolution& c) {
  constexpr const char* passes[] = {"a convolution", "a convolution's input gradient",
                                    "a convolution's weight gradient"};
  return std::string(passes[static_cast<int>(c.pass)]) + " of x " + list({c.n, c.c, c.h, c.w}) + ", weight " +
         list({c.o, c.c / c.groups, c.kh, c.kw}) + " in " + std::string(name_of(c.dtype)) + " (" +
         std::to_string(c.groups) + " groups, strides " + list({c.stride[0], c.stride[1]}) + ", padding " +
         list({c.padding[0], c.padding[1]}) + ", dilation " + list({c.dilation[0], c.dilation[1]}) + ")";
}

// What the pass writes.
void* result_of(const Convolution& c) {
  return c.pass == ConvolutionPass::forward ? c.y
                                            : (c.pass == ConvolutionPass::input_gradient ? c.x : c.weight);
}
int64_t result_size(const Convolution& c) {
  return c.pass == ConvolutionPass::forward
             ? c.y_size()
             : (c.pass == ConvolutionPass::input_gradient ? c.x_size() : c.weight_size());
}

#if defined(RECKON_HAS_CUDNN)

// The library's functions by name.
class Cudnn {
 public:
  Cudnn() {
    const std::string file = "libcudnn.so." + std::to_string(CUDNN_MAJOR);
    library_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library_)
      raise_error(std::string("convolutions on a GPU need cuDNN, which cannot be loaded: ") + dlerror());
#define RECKON_CUDNN(name) find(name, "cudnn" #name)
    RECKON_CUDNN(Create), RECKON_CUDNN(Destroy), RECKON_CUDNN(SetStream), RECKON_CUDNN(GetErrorString);
    RECKON_CUDNN(CreateTensorDescriptor), RECKON_CUDNN(DestroyTensorDescriptor),
        RECKON_CUDNN(SetTensor4dDescriptor);
    RECKON_CUDNN(CreateFilterDescriptor), RECKON_CUDNN(DestroyFilterDescriptor),
        RECKON_CUDNN(SetFilter4dDescriptor);
    RECKON_CUDNN(CreateConvolutionDescriptor), RECKON_CUDNN(DestroyConvolutionDescriptor),
        RECKON_CUDNN(SetConvolution2dDescriptor);
    RECKON_CUDNN(SetConvolutionGroupCount), RECKON_CUDNN(SetConvolutionMathType);
    RECKON_CUDNN(GetConvolutionForwardAlgorithm_v7), RECKON_CUDNN(GetConvolutionForwardWorkspaceSize),
        RECKON_CUDNN(ConvolutionForward);
    RECKON_CUDNN(GetConvolutionBackwardDataAlgorithm_v7), RECKON_CUDNN(GetConvolutionBackwardDataWorkspaceSize),
        RECKON_CUDNN(ConvolutionBackwardData);
    RECKON_CUDNN(GetConvolutionBackwardFilterAlgorithm_v7),
        RECKON_CUDNN(GetConvolutionBackwardFilterWorkspaceSize);
    RECKON_CUDNN(ConvolutionBackwardFilter);
#undef RECKON_CUDNN
  }

  void check(cudnnStatus_t status, const std::string& what) const {
    if (status != CUDNN_STATUS_SUCCESS) raise_error(what + ": cuDNN says " + GetErrorString(status));
  }

#define RECKON_CUDNN(name) decltype(&cudnn##name) name = nullptr
  RECKON_CUDNN(Create);
  RECKON_CUDNN(Destroy);
  RECKON_CUDNN(SetStream);
  RECKON_CUDNN(GetErrorString);
  RECKON_CUDNN(CreateTensorDescriptor);
  RECKON_CUDNN(DestroyTensorDescriptor);
  RECKON_CUDNN(SetTensor4dDescriptor);
  RECKON_CUDNN(CreateFilterDescriptor);
  RECKON_CUDNN(DestroyFilterDescriptor);
  RECKON_CUDNN(SetFilter4dDescriptor);
  RECKON_CUDNN(CreateConvolutionDescriptor);
  RECKON_CUDNN(DestroyConvolutionDescriptor);
  RECKON_CUDNN(SetConvolution2dDescriptor);
  RECKON_CUDNN(SetConvolutionGroupCount);
  RECKON_CUDNN(SetConvolutionMathType);
  RECKON_CUDNN(GetConvolutionForwardAlgorithm_v7);
  RECKON_CUDNN(GetConvolutionForwardWorkspaceSize);
  RECKON_CUDNN(ConvolutionForward);
  RECKON_CUDNN(GetConvolutionBackwardDataAlgorithm_v7);
  RECKON_CUDNN(GetConvolutionBackwardDataWorkspaceSize);
  RECKON_CUDNN(ConvolutionBackwardData);
  RECKON_CUDNN(GetConvolutionBackwardFilterAlgorithm_v7);
  RECKON_CUDNN(GetConvolutionBackwardFilterWorkspaceSize);
  RECKON_CUDNN(ConvolutionBackwardFilter);
#undef RECKON_CUDNN

 private:
  template <class F>
  void find(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(library_, name));
    if (!function) raise_error(std::string("the cuDNN that was found lacks ") + name + "()");
  }

  void* library_ = nullptr;  // never closed: its device code and exit handlers stay registered
};

cudnnDataType_t cudnn_type(DType t) {
  switch (t) {
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DType::f16:
      return CUDNN_DATA_HALF;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

using Key = std::array<int64_t, 19>;

// One kind of convolution: descriptors, and the algorithm once chosen. Not copied.
class Described {
 public:
  Described(const Cudnn& library, const Convolution& c) : l_(library) {
    for (int64_t v : {c.n, c.c, c.h, c.w, c.o, c.kh, c.kw, c.ho, c.wo, c.groups, c.stride[0], c.stride[1],
                      c.padding[0], c.padding[1], c.dilation[0], c.dilation[1]})
      if (v > 0x7fffffff) raise_error(text(c) + ": cuDNN takes extents below 2^31");
    const auto number = [](int64_t v) { return static_cast<int>(v); };
    const auto check = [&](cudnnStatus_t s) { l_.check(s, text(c)); };
    const cudnnDataType_t t = cudnn_type(c.dtype);
    check(l_.CreateTensorDescriptor(&x_));
    check(l_.CreateTensorDescriptor(&y_));
    check(l_.CreateFilterDescriptor(&w_));
    check(l_.CreateConvolutionDescriptor(&conv_));
    check(
        l_.SetTensor4dDescriptor(x_, CUDNN_TENSOR_NCHW, t, number(c.n), number(c.c), number(c.h), number(c.w)));
    check(l_.SetTensor4dDescriptor(y_, CUDNN_TENSOR_NCHW, t, number(c.n), number(c.o), number(c.ho),
                                   number(c.wo)));
    check(l_.SetFilter4dDescriptor(w_, t, CUDNN_TENSOR_NCHW, number(c.o), number(c.c / c.groups), number(c.kh),
                                   number(c.kw)));
    check(l_.SetConvolution2dDescriptor(conv_, number(c.padding[0]), number(c.padding[1]), number(c.stride[0]),
                                        number(c.stride[1]), number(c.dilation[0]), number(c.dilation[1]),
                                        CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    check(l_.SetConvolutionGroupCount(conv_, number(c.groups)));
    // The default would turn f32 into TF32.
    check(l_.SetConvolutionMathType(conv_, c.dtype == DType::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }
  ~Described() {
    if (x_) l_.DestroyTensorDescriptor(x_);
    if (y_) l_.DestroyTensorDescriptor(y_);
    if (w_) l_.DestroyFilterDescriptor(w_);
    if (conv_) l_.DestroyConvolutionDescriptor(conv_);
  }
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;

  void choose(cudnnHandle_t handle, const Convolution& c, size_t workspace_bytes) {
    switch (c.pass) {
      case ConvolutionPass::forward: {
        constexpr cudnnConvolutionFwdAlgo_t known[] = {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
                                                       CUDNN_CONVOLUTION_FWD_ALGO_GEMM,
                                                       CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM};
        cudnnConvolutionFwdAlgoPerf_t results[kResults];
        int n = 0;
        const cudnnStatus_t status =
            l_.GetConvolutionForwardAlgorithm_v7(handle, x_, w_, conv_, y_, kResults, &n, results);
        return take(c, forward_, known, results, status == CUDNN_STATUS_SUCCESS ? n : 0, workspace_bytes,
                    [&](cudnnConvolutionFwdAlgo_t a, size_t* bytes) {
                      return l_.GetConvolutionForwardWorkspaceSize(handle, x_, w_, conv_, y_, a, bytes);
                    });
      }
      case ConvolutionPass::input_gradient: {
        constexpr cudnnConvolutionBwdDataAlgo_t known[] = {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1};
        cudnnConvolutionBwdDataAlgoPerf_t results[kResults];
        int n = 0;
        const cudnnStatus_t status =
            l_.GetConvolutionBackwardDataAlgorithm_v7(handle, w_, y_, conv_, x_, kResults, &n, results);
        return take(c, input_, known, results, status == CUDNN_STATUS_SUCCESS ? n : 0, workspace_bytes,
                    [&](cudnnConvolutionBwdDataAlgo_t a, size_t* bytes) {
                      return l_.GetConvolutionBackwardDataWorkspaceSize(handle, w_, y_, conv_, x_, a, bytes);
                    });
      }
      case ConvolutionPass::weight_gradient: {
        constexpr cudnnConvolutionBwdFilterAlgo_t known[] = {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1};
        cudnnConvolutionBwdFilterAlgoPerf_t results[kResults];
        int n = 0;
        const cudnnStatus_t status =
            l_.GetConvolutionBackwardFilterAlgorithm_v7(handle, x_, y_, conv_, w_, kResults, &n, results);
        return take(c, weight_, known, results, status == CUDNN_STATUS_SUCCESS ? n : 0, workspace_bytes,
                    [&](cudnnConvolutionBwdFilterAlgo_t a, size_t* bytes) {
                      return l_.GetConvolutionBackwardFilterWorkspaceSize(handle, x_, y_, conv_, w_, a, bytes);
                    });
      }
    }
  }

  void run(cudnnHandle_t handle, const Convolution& c, void* workspace, size_t bytes) const {
    const float one = 1.0f, zero = 0.0f;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    switch (c.pass) {
      case ConvolutionPass::forward:
        status = l_.ConvolutionForward(handle, &one, x_, c.x, w_, c.weight, conv_, forward_, workspace, bytes,
                                       &zero, y_, c.y);
        break;
      case ConvolutionPass::input_gradient:
        status = l_.ConvolutionBackwardData(handle, &one, w_, c.weight, y_, c.y, conv_, input_, workspace,
                                            bytes, &zero, x_, c.x);
        break;
      case ConvolutionPass::weight_gradient:
        status = l_.ConvolutionBackwardFilter(handle, &one, x_, c.x, y_, c.y, conv_, weight_, workspace, bytes,
                                              &zero, w_, c.weight);
        break;
    }
    if (status != CUDNN_STATUS_SUCCESS) l_.check(status, text(c));
  }

 private:
  static constexpr int kResults = 8;

  // The first result of the heuristic that is one of `known` and fits; else the
  // first of those that fits at all.
  template <class A, size_t N, class R, class Size>
  void take(const Convolution& c, A& chosen, const A (&known)[N], const R (&results)[kResults], int n,
            size_t workspace_bytes, Size&& size) {
    const auto fits = [&](A a) {
      size_t bytes = 0;
      return size(a, &bytes) == CUDNN_STATUS_SUCCESS && bytes <= workspace_bytes;
    };
    for (int i = 0; i < n; ++i) {
      if (results[i].status != CUDNN_STATUS_SUCCESS || results[i].determinism != CUDNN_DETERMINISTIC) continue;
      for (const A a : known) {
        if (results[i].algo != a) continue;
        // In 16 bits an algorithm may come with or without tensor cores; f32 stays f32.
        if (c.dtype != DType::f32) l_.check(l_.SetConvolutionMathType(conv_, results[i].mathType), text(c));
        if (!fits(a)) continue;
        chosen = a;
        return;
      }
    }
    if (c.dtype != DType::f32) l_.check(l_.SetConvolutionMathType(conv_, CUDNN_TENSOR_OP_MATH), text(c));
    for (const A a : known) {
      if (!fits(a)) continue;
      chosen = a;
      return;
    }
    raise_error(text(c) + ": cuDNN has no deterministic algorithm within a workspace of " +
                std::to_string(workspace_bytes) + " bytes (library_workspace_bytes of the device's spec)");
  }

  const Cudnn& l_;
  cudnnTensorDescriptor_t x_ = nullptr, y_ = nullptr;
  cudnnFilterDescriptor_t w_ = nullptr;
  cudnnConvolutionDescriptor_t conv_ = nullptr;
  cudnnConvolutionFwdAlgo_t forward_{};
  cudnnConvolutionBwdDataAlgo_t input_{};
  cudnnConvolutionBwdFilterAlgo_t weight_{};
};

struct Convolutions : LibraryState {
  Cudnn library;
  cudnnHandle_t handle = nullptr;
  std::unordered_map<Key, std::unique_ptr<Described>, KeyHash> described;

  Convolutions() { library.check(library.Create(&handle), "making a handle for convolutions"); }
  ~Convolutions() override {
    described.clear();
    library.Destroy(handle);
  }
};

Key key_of(const Convolution& c, size_t workspace_bytes) {
  return {static_cast<int64_t>(c.pass),
          static_cast<int64_t>(c.dtype),
          c.n,
          c.c,
          c.h,
          c.w,
          c.o,
          c.kh,
          c.kw,
          c.ho,
          c.wo,
          c.groups,
          c.stride[0],
          c.stride[1],
          c.padding[0],
          c.padding[1],
          c.dilation[0],
          c.dilation[1],
          static_cast<int64_t>(workspace_bytes)};
}

void run(const KernelArgs& args, const Convolution& c, void* workspace, size_t workspace_bytes) {
  auto& held = static_cast<LibraryContext*>(args.context)->convolutions;
  if (!held) held = std::make_unique<Convolutions>();
  auto& convolutions = static_cast<Convolutions&>(*held);
  convolutions.library.check(
      convolutions.library.SetStream(convolutions.handle, static_cast<cudaStream_t>(args.stream)),
      "handing cuDNN the stream");
  const Key key = key_of(c, workspace_bytes);
  auto it = convolutions.described.find(key);
  if (it == convolutions.described.end()) {
    auto made = std::make_unique<Described>(convolutions.library, c);
    made->choose(convolutions.handle, c, workspace_bytes);
    it = convolutions.described.emplace(key, std::move(made)).first;
  }
  it->second->run(convolutions.handle, c, workspace, workspace_bytes);
}

#else

void run(const KernelArgs&, const Convolution& c, void*, size_t) {
  raise_error(text(c) +
              ": this build has none, as cuDNN's headers (cudnn.h) were not found beside the CUDA toolkit's");
}

#endif

}  // namespace

void library_convolution(const KernelArgs& args, int launch_index, const Convolution& c, void* workspace,
                         size_t workspace_bytes) {
  args.launch(launch_index);
  if (!workspace || workspace_bytes == 0) raise_error("a library convolution needs its workspace");
  if (!args.context) raise_error("a library convolution needs the backend's library context");
  if (result_size(c) == 0) return;
  if (c.x_size() == 0 || c.weight_size() == 0 || c.y_size() == 0) {  // nothing to sum
    check(cudaMemsetAsync(result_of(c), 0, static_cast<size_t>(result_size(c)) * size_of(c.dtype),
                          static_cast<cudaStream_t>(args.stream)),
          "clearing the result of an empty convolution");
    return;
  }
  run(args, c, workspace, workspace_bytes);
}

}  // namespace reckon::ops::gpu
