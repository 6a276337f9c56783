// Adds up the matrix-product FLOPs of a device's op calls while it lives.
#pragma once

#include "parity/cases.h"
#include "runtime/device.h"

namespace reckon::parity {

class FlopCounter : public EventSink {
 public:
  explicit FlopCounter(Device& device) : device_(device) { device_.add_sink(this); }
  ~FlopCounter() override { device_.remove_sink(this); }
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;

  void on(const Event& e) override {
    if (e.kind != EventKind::op_end) return;
    const bool after = e.phase == Phase::backward || e.phase == Phase::recompute;
    (after ? backward_ : forward_) += e.cost.matmul_flops;
    if (e.cost.matmul_flops > 0) ++(after ? backward_products_ : forward_products_);
  }
  void write_to(Books* books) const {
    if (!books) return;
    books->forward_flops = forward_;
    books->backward_flops = backward_;
    books->forward_products = forward_products_;
    books->backward_products = backward_products_;
  }

 private:
  Device& device_;
  int64_t forward_ = 0, backward_ = 0;
  int64_t forward_products_ = 0, backward_products_ = 0;
};

}  // namespace reckon::parity
