// Products of any operands on a GPU, as steps of a plan. What the library does not take as it lies is packed
// into a workspace first: operands of mixed types (into the type that holds both), operands without a unit
// stride along rows or columns, a bias of another type than c. A batch that does not step as one becomes a few
// library calls where a few do, else the operands that are in the way are packed. The choice follows from
// shapes, strides and types alone, by one function that the plan (ops/plan/product_plan.h) and the kernel
// (ops/kernel/gpu/run_product.h) both call.
#pragma once

#include "ops/kernel/plan/device_gemm.h"
#include "ops/kernel/plan/pack.h"

namespace reckon::ops::gpu {

// The order of launches: pack a, pack b, pack the bias (each only if `packs`), then the library calls. The
// workspaces: the library's, then those of the packed ones.
struct ProductSteps {
  struct Packed {
    bool packs = false;
    DType type = DType::f32;
    PackAxes axes;

    size_t bytes() const;
  };
  Packed a, b, bias;
  GemmCall call;   // the first library call; addresses are those of the problem, also of what gets packed
  GemmBatch loop;  // one library call each; rank 0: one in all

  int packs() const { return a.packs + b.packs + bias.packs; }
  int64_t calls() const { return loop.count(); }
};

// A batch is split into at most so many library calls: 8 of them cost what copying two 16 MiB operands
// does, and leave the bytes alone.
constexpr int64_t kMostProductCalls = 8;

// Addresses only matter in that a bias is there or not. `batch` may have any rank. c must have a unit stride.
ProductSteps product_steps(const GemmProblem& problem, const GemmBatch& batch);

}  // namespace reckon::ops::gpu
