// Sums of kernels' taps: what one instruction set offers. No torch in here.
#pragma once
#include <cstdint>

namespace dynnet_mixing {

// A sparse matrix, row by row: row r has the entries [start[r], start[r + 1]).
struct Rows {
  int64_t rows;
  const int64_t* start;
  const int32_t* column;
  const float* value;
};

struct Kernels {
  // out[r][i] = sum over the entries of row r of value * in[column][i]; i < inner.
  void (*combine)(const Rows&, const float* in, int64_t inner, float* out);
  // sums[r * columns + k] += inner product of a[r] and b[k], both of length inner.
  void (*dots)(const float* a, int64_t rows, const float* b, int64_t columns,
               int64_t inner, float* sums);
};

const Kernels& kernels_portable();
#ifdef DYNNET_X86
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
#endif

}  // namespace dynnet_mixing
