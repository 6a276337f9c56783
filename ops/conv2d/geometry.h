// Extents of one convolution, its tiling, and the copies between an image and its unfolded columns.
#pragma once

#include "ops/conv2d/conv2d_attrs.h"
#include "ops/op.h"

namespace reckon::ops {

struct ConvGeometry {
  int64_t n, c, h, w;      // input
  int64_t o, kh, kw;       // filters
  int64_t groups, cg, og;  // channels per group
  int64_t ho, wo;
  int64_t k, p;    // rows and columns of the unfolded input of a group: cg kh kw, ho wo
  int64_t tile;    // columns per tile
  bool pointwise;  // 1 x 1, stride 1, no padding: the image is its own unfolded form
  ConvAttrs attrs;

  int64_t tail() const { return p % tile == 0 ? tile : p % tile; }
  // Pairs (filter offset, output position) that fall inside the image, along axis 0 (rows) or 1.
  int64_t pairs_inside(int axis) const;
};

// Error when shapes and attributes do not fit.
ConvGeometry conv_geometry(const Shape& x, const Shape& weight, const ConvAttrs& attrs);

// columns [k, count] = the receptive fields of output positions [first, first + count) of one group's planes
// `image` [cg, h, w], zero outside. `element`: bytes per element.
void unfold(const ConvGeometry& g, const std::byte* image, int64_t first, int64_t count, std::byte* columns,
            size_t element, int threads);

// image += the sum of every column element at the place it was unfolded from.
template <class C>
void fold(const ConvGeometry& g, const C* columns, int64_t first, int64_t count, C* image, int threads);

}  // namespace reckon::ops
