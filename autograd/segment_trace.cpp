#include "autograd/segment_trace.h"

namespace reckon::autograd {
namespace {

thread_local OutsideReads* current = nullptr;

// Stands for the nodes that a second run will record.
class UnrecordedNode : public Node {
 public:
  TensorList run(std::vector<Tensor>&) override {
    raise_error(
        "backward was called inside the first run of a checkpointed segment, which records nothing yet");
  }
  void check() const override {}
  void release() override {}
};

const std::shared_ptr<Node>& unrecorded() {
  static const std::shared_ptr<Node> node = std::make_shared<UnrecordedNode>();
  return node;
}

}  // namespace

void OutsideReads::note(const Tensor& t) {
  if (!t.defined() || t.storage()->birth() >= begin_) return;
  Read& read = reads_[t.storage().get()];
  // Another storage may have had this address.
  if (read.storage.lock() != t.storage()) read = {t.storage(), t.storage()->version(), t.shape(), t.dtype()};
}

void OutsideReads::check(NameId segment) const {
  for (const auto& [address, read] : reads_) {
    const std::shared_ptr<Storage> storage = read.storage.lock();
    RECKON_CHECK(
        !storage || storage->version() == read.version,
        "the checkpointed segment '{}' read a tensor ({}{}) that was overwritten before backward ran the "
        "segment again: an in-place update between forward and backward",
        name_of(segment), name_of(read.dtype), to_string(read.shape));
  }
}

SegmentTrace::SegmentTrace(OutsideReads& reads) { current = &reads; }
SegmentTrace::~SegmentTrace() { current = nullptr; }
bool SegmentTrace::active() { return current != nullptr; }

void SegmentTrace::note_reads(std::span<const Tensor> tensors) {
  if (!current) return;
  for (const Tensor& t : tensors) current->note(t);
}

void mark_traced(Tensor& t) {
  auto meta = std::make_shared<AutogradMeta>();
  meta->requires_grad = true;
  meta->node = unrecorded();
  meta->grad_dtype = t.dtype();
  t.set_grad_meta(std::move(meta));
}

bool is_traced(const AutogradMeta& meta) { return meta.node == unrecorded(); }

}  // namespace reckon::autograd
