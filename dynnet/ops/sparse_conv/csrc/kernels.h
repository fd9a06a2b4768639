// Indirect matrix product: what one instruction set offers. No torch in here.
#pragma once
#include <cstdint>

namespace dynnet {

// One addend of a product: rows of X, found through an index table, times packed W.
struct Segment {
  const float* x;      // input rows
  int64_t ldx;         // floats from one input row to the next
  const int32_t* ind;  // [M][taps] input rows, -1 = a row of zeros; null: row m itself
  int64_t taps;        // input rows that make one operand row
  int64_t k;           // values taken of each input row
  const float* w;      // packed [panels][taps * k][panel width]
};

// out[oidx[m]] = relu(sum of segments + bias + res[oidx[m]])
struct Job {
  Segment seg[2];
  int64_t segments;
  const float* zero;    // as many zeros as the widest input row
  const float* bias;    // [panels * panel width]
  int64_t n;            // output columns; those of the last panel beyond n are not stored
  float* out;
  int64_t ldo;
  const int32_t* oidx;  // [M] output rows; null: row m itself
  const float* res;     // laid out as out, or null
  int64_t relu;
};

struct Kernels {
  int64_t rows;   // rows of a register tile
  int64_t panel;  // columns of a packed panel
  // Computes operand rows [m0, m1) of panels [p0, p1) in this thread.
  void (*run)(const Job&, int64_t m0, int64_t m1, int64_t p0, int64_t p1);
  // Sum of the inner products of w [k] with n_y times n_x rows of x; the rows of one y
  // are neighbours.
  float (*window_dot)(const float* x, int64_t n_y, int64_t stride_y, int64_t n_x,
                      int64_t k, const float* w);
};

const Kernels& kernels_portable();
#ifdef DYNNET_X86
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
#endif

}  // namespace dynnet
