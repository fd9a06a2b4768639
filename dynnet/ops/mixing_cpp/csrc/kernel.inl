// Compiled once per instruction set: the file that includes this defines DYNNET_LANES
// (floats of a vector), DYNNET_VECTORS (accumulators of a row) and DYNNET_NAME.
// Everything has internal linkage.
#include "kernels.h"

namespace dynnet_mixing {
namespace {

constexpr int LANES = DYNNET_LANES;

typedef float vf __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#define DYNNET_INLINE __attribute__((always_inline)) inline
#ifdef __clang__
#define DYNNET_UNROLL _Pragma("unroll")
#else
#define DYNNET_UNROLL _Pragma("GCC unroll 16")
#endif

DYNNET_INLINE const vf& at(const float* p) { return *reinterpret_cast<const vf*>(p); }
DYNNET_INLINE vf& at(float* p) { return *reinterpret_cast<vf*>(p); }

// N vectors of every row, from position i on. What the rows read stays in the
// first-level cache between them.
template <int N>
DYNNET_INLINE void strip(const Rows& rows, const float* in, int64_t inner, int64_t i,
                         float* out) {
  for (int64_t r = 0; r < rows.rows; ++r) {
    vf sum[N] = {};
    for (int64_t e = rows.start[r]; e < rows.start[r + 1]; ++e) {
      const float* p = in + rows.column[e] * inner + i;
      const vf value = rows.value[e] - (vf){};
      DYNNET_UNROLL
      for (int v = 0; v < N; ++v) sum[v] += value * at(p + v * LANES);
    }
    DYNNET_UNROLL
    for (int v = 0; v < N; ++v) at(out + r * inner + i + v * LANES) = sum[v];
  }
}

void combine(const Rows& rows, const float* in, int64_t inner, float* out) {
  int64_t i = 0;
  for (; i + DYNNET_VECTORS * LANES <= inner; i += DYNNET_VECTORS * LANES)
    strip<DYNNET_VECTORS>(rows, in, inner, i, out);
  for (; i + LANES <= inner; i += LANES) strip<1>(rows, in, inner, i, out);
  if (i == inner) return;
  for (int64_t r = 0; r < rows.rows; ++r)
    for (int64_t j = i; j < inner; ++j) {
      float sum = 0;
      for (int64_t e = rows.start[r]; e < rows.start[r + 1]; ++e)
        sum += rows.value[e] * in[rows.column[e] * inner + j];
      out[r * inner + j] = sum;
    }
}

DYNNET_INLINE float total(const vf& v) {
  float sum = 0;
  DYNNET_UNROLL
  for (int l = 0; l < LANES; ++l) sum += v[l];
  return sum;
}

// R rows of a with C rows of b.
template <int R, int C>
DYNNET_INLINE void tile(const float* a, const float* b, int64_t inner, float* sums,
                        int64_t columns) {
  vf sum[R][C] = {};
  int64_t i = 0;
  for (; i + LANES <= inner; i += LANES) {
    vf other[C];
    DYNNET_UNROLL
    for (int c = 0; c < C; ++c) other[c] = at(b + c * inner + i);
    DYNNET_UNROLL
    for (int r = 0; r < R; ++r) {
      const vf own = at(a + r * inner + i);
      DYNNET_UNROLL
      for (int c = 0; c < C; ++c) sum[r][c] += own * other[c];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) {
      float rest = total(sum[r][c]);
      for (int64_t j = i; j < inner; ++j) rest += a[r * inner + j] * b[c * inner + j];
      sums[r * columns + c] += rest;
    }
}

void dots(const float* a, int64_t rows, const float* b, int64_t columns, int64_t inner,
          float* sums) {
  for (int64_t r = 0; r < rows; r += 3) {
    const int64_t left = rows - r;
    for (int64_t k = 0; k < columns; k += 3) {
      const float *x = a + r * inner, *y = b + k * inner;
      float* s = sums + r * columns + k;
      if (left >= 3 && columns - k >= 3) {
        tile<3, 3>(x, y, inner, s, columns);
        continue;
      }
      for (int64_t u = 0; u < (left < 3 ? left : 3); ++u)
        for (int64_t v = 0; v < (columns - k < 3 ? columns - k : 3); ++v)
          tile<1, 1>(x + u * inner, y + v * inner, inner, s + u * columns + v, columns);
    }
  }
}

const Kernels KERNELS = {combine, dots};

}  // namespace

const Kernels& DYNNET_NAME() { return KERNELS; }

}  // namespace dynnet_mixing
