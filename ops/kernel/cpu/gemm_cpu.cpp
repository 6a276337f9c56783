// Blocked product with sums in float or double, compiled once per level (v1, v3, v4). One task computes an mc x
// nc part of c: per block of k it packs b once, then runs over row panels of a, each held in the first-level
// cache while the panels of b stream past. Operands that already lie as the kernel reads them are not packed.
#include "ops/kernel/cpu/gemm_micro.h"
#include "ops/kernel/cpu/gemm_pack.h"

namespace reckon::ops::RECKON_ISA {
namespace {

template <class T>
struct BlockOfA {
  const T* data;
  int64_t row_stride, step_stride;
};

template <class T>
class TileProduct {
 public:
  TileProduct(const GemmJob& job, char* slice, GemmPackedB& packed)
      : job_(job),
        p_(job.problem),
        blocking_(job.blocking),
        packed_(packed),
        packed_b_(reinterpret_cast<T*>(slice)),
        packed_a_(reinterpret_cast<T*>(slice + job.blocking.a_offset)),
        partial_c_(reinterpret_cast<T*>(slice + job.blocking.c_offset)),
        bias_(reinterpret_cast<T*>(slice + job.blocking.bias_offset)) {}

  void run(const GemmTask& task) {
    task_ = task;
    Finish<T> finish{static_cast<T>(p_.alpha), nullptr, nullptr, p_.accumulate};
    if (p_.bias != nullptr) {
      const bool on_rows = job_.bias_on_rows;
      const int64_t count = on_rows ? task.rows : task.columns;
      load_bias(p_, on_rows ? task.row : task.column, count, round_up(count, columns_per_panel()), bias_);
      (on_rows ? finish.row_bias : finish.column_bias) = bias_;
    }
    for (int64_t block = 0; block < blocking_.k_blocks; ++block) {
      first_step_ = block * blocking_.kc;
      steps_ = smaller(blocking_.kc, p_.k - first_step_);
      choose_b();
      if (!c_takes_partial_sums() && blocking_.k_blocks > 1) {
        multiply_into_scratch(block, finish);
      } else {
        Finish<T> stage = finish;
        if (block > 0) stage = {finish.alpha, nullptr, nullptr, true};
        multiply(stage, [&](const T* sums, int64_t row, int64_t rows, int64_t column, int64_t columns) {
          Finish<T> tile = shifted(stage, row, column);
          finish_tile(tile, sums, kPanel, rows, columns, task_.c, p_.c_dtype, offset_in_c(row, column),
                      p_.c_row_stride, p_.c_col_stride);
        });
      }
    }
  }

 private:
  static constexpr int kPanel = kMicroVectors * kLanes<T>;

  static int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }
  int64_t columns_per_panel() const { return kPanel; }
  bool c_takes_partial_sums() const { return sizeof(T) == 8 || p_.c_dtype == DType::f32; }
  bool c_rows_are_vectors() const { return c_takes_partial_sums() && p_.c_col_stride == 1; }
  int64_t offset_in_c(int64_t row, int64_t column) const {
    return (task_.row + row) * p_.c_row_stride + (task_.column + column) * p_.c_col_stride;
  }
  static Finish<T> shifted(Finish<T> finish, int64_t row, int64_t column) {
    if (finish.row_bias != nullptr) finish.row_bias += row;
    if (finish.column_bias != nullptr) finish.column_bias += column;
    return finish;
  }
  static bool is_sum_type(DType t) { return t == (sizeof(T) == 8 ? DType::f64 : DType::f32); }

  const char* a_at(int64_t row) const {
    return task_.a +
           ((task_.row + row) * p_.a.row_stride + first_step_ * p_.a.col_stride) * element_bytes(p_.a.dtype);
  }
  const char* b_at(int64_t column) const {
    return task_.b + (first_step_ * p_.b.row_stride + (task_.column + column) * p_.b.col_stride) *
                         element_bytes(p_.b.dtype);
  }

  // Reading b in place pays when few row panels use it, or when it is small and dense.
  bool b_is_readable_in_place() const {
    if (!is_sum_type(p_.b.dtype) || p_.b.col_stride != 1) return false;
    constexpr int64_t dense_bytes = 32 * 1024;
    const bool dense = p_.b.row_stride <= 2 * task_.columns &&
                       steps_ * task_.columns * static_cast<int64_t>(sizeof(T)) <= dense_bytes;
    return dense || task_.rows <= 2 * kMicroRows;
  }

  void choose_b() {
    in_place_columns_ = b_is_readable_in_place() ? task_.columns / kPanel * kPanel : 0;
    if (in_place_columns_ == task_.columns) return;
    if (packed_.data == task_.b && packed_.column == task_.column && blocking_.k_blocks == 1) return;
    for (int64_t column = in_place_columns_; column < task_.columns; column += kPanel)
      pack_steps({b_at(column), p_.b.dtype, p_.b.col_stride, p_.b.row_stride,
                  smaller(kPanel, task_.columns - column), steps_},
                 packed_b_ + column * blocking_.kc, kPanel);
    // Where part is read in place, the packed part depends on the row count too,
    // so it is not offered for reuse.
    packed_ = in_place_columns_ == 0 ? GemmPackedB{task_.b, task_.column} : GemmPackedB{};
  }

  // Rows whose distance is a multiple of 2 KiB would share two sets of the first-level cache.
  BlockOfA<T> choose_a(int64_t row, int64_t rows) {
    const bool rows_collide = p_.a.row_stride * static_cast<int64_t>(sizeof(T)) % 2048 == 0 && rows > 4;
    if (is_sum_type(p_.a.dtype) && (p_.a.col_stride == 1 || task_.columns <= kPanel) && !rows_collide)
      return {reinterpret_cast<const T*>(a_at(row)), p_.a.row_stride, p_.a.col_stride};
    const PanelSource source{a_at(row), p_.a.dtype, p_.a.row_stride, p_.a.col_stride, rows, steps_};
    if (p_.a.col_stride == 1) {
      pack_lanes(source, packed_a_, blocking_.a_pitch);
      return {packed_a_, blocking_.a_pitch, 1};
    }
    pack_steps(source, packed_a_, blocking_.tile.steps_pitch);
    return {packed_a_, 1, blocking_.tile.steps_pitch};
  }

  // Calls `emit` for each tile that the kernel cannot write to c itself.
  template <class Emit>
  void multiply(const Finish<T>& stage, Emit emit) {
    constexpr Finish<T> plain{1, nullptr, nullptr, false};
    const bool direct = c_rows_are_vectors();
    const int64_t panels = (task_.rows + kMicroRows - 1) / kMicroRows;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t row = panel * task_.rows / panels;
      const int64_t rows = (panel + 1) * task_.rows / panels - row;
      const BlockOfA<T> a = choose_a(row, rows);
      MicroArguments<T> arguments{steps_, a.data, a.row_stride, a.step_stride, nullptr, 0, nullptr, 0,
                                  row,    0,      nullptr};
      const Micro<T> whole = micro_for<T>(rows, kPanel);
      for (int64_t column = 0; column < task_.columns; column += kPanel) {
        const int64_t columns = smaller(kPanel, task_.columns - column);
        if (column < in_place_columns_) {
          arguments.b = reinterpret_cast<const T*>(b_at(column));
          arguments.b_step_stride = p_.b.row_stride;
        } else {
          arguments.b = packed_b_ + column * blocking_.kc;
          arguments.b_step_stride = kPanel;
        }
        if (direct && columns == kPanel) {
          arguments.column = column;
          arguments.c = reinterpret_cast<T*>(task_.c) + offset_in_c(row, column);
          arguments.c_row_stride = p_.c_row_stride;
          arguments.finish = &stage;
          whole(arguments);
        } else {
          alignas(64) T sums[kMicroRows * kPanel];
          arguments.c = sums;
          arguments.c_row_stride = kPanel;
          arguments.finish = &plain;
          micro_for<T>(rows, columns)(arguments);
          emit(sums, row, rows, column, columns);
        }
      }
    }
  }

  // c is narrower than the sums and k has several blocks: collect them in the slice, convert once at the end.
  void multiply_into_scratch(int64_t block, const Finish<T>& finish) {
    const int64_t pitch = round_up(task_.columns, kPanel);
    const bool last = block + 1 == blocking_.k_blocks;
    multiply(finish, [&](T* sums, int64_t row, int64_t rows, int64_t column, int64_t columns) {
      const int64_t padded = round_up(columns, kLanes<T>);
      for (int64_t i = 0; i < rows; ++i) {
        T* partial = partial_c_ + (row + i) * pitch + column;
        for (int64_t j = 0; j < padded; j += kLanes<T>) {
          Vector<T> v = load(sums + i * kPanel + j);
          if (block > 0) v += load(partial + j);
          store((last ? sums + i * kPanel : partial) + j, v);
        }
      }
      if (last)
        finish_tile(shifted(finish, row, column), sums, kPanel, rows, columns, task_.c, p_.c_dtype,
                    offset_in_c(row, column), p_.c_row_stride, p_.c_col_stride);
    });
  }

  const GemmJob& job_;
  const GemmProblem& p_;
  const GemmBlocking& blocking_;
  GemmPackedB& packed_;
  T *packed_b_, *packed_a_, *partial_c_, *bias_;
  GemmTask task_{};
  int64_t first_step_ = 0, steps_ = 0, in_place_columns_ = 0;
};

template <class T>
void run_tasks(const GemmJob& job, int64_t begin, int64_t end, char* slice, GemmPackedB& packed) {
  TileProduct<T> product(job, slice, packed);
  for (int64_t i = begin; i < end; ++i) product.run(decode_task(job, i));
}

}  // namespace

void gemm_tasks(const GemmJob& job, int64_t begin, int64_t end, void* slice, GemmPackedB& packed) {
  if (job.problem.a.dtype == DType::f64)
    run_tasks<double>(job, begin, end, static_cast<char*>(slice), packed);
  else
    run_tasks<float>(job, begin, end, static_cast<char*>(slice), packed);
}

}  // namespace reckon::ops::RECKON_ISA
