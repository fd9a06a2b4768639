// The register-tiled kernel, compiled once per instruction set: the file that includes
// this defines DYNNET_LANES (floats of a vector), DYNNET_ROWS, DYNNET_VECTORS and
// DYNNET_NAME. Everything has internal linkage, so that no object file's version of an
// inline function can stand in for another's.
#include "kernels.h"

namespace dynnet {
namespace {

constexpr int LANES = DYNNET_LANES;
constexpr int NV = DYNNET_VECTORS;
constexpr int NR = NV * LANES;
constexpr int MR = DYNNET_ROWS;
// Floats of weights that are fetched ahead of use. The processor's own prefetching stops
// at the end of each page, which in a network (cold weights) costs more than this.
constexpr int AHEAD = 2048;

constexpr int LINE = 16;  // floats of a cache line

typedef float vf __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#define DYNNET_INLINE __attribute__((always_inline)) inline
#ifdef __clang__
#define DYNNET_UNROLL _Pragma("unroll")
#else
#define DYNNET_UNROLL _Pragma("GCC unroll 16")
#endif

DYNNET_INLINE vf splat(float v) { return v - (vf){}; }
// A NaN is not less than zero: it stays.
DYNNET_INLINE vf rectify(vf a) { return a < (vf){} ? (vf){} : a; }
DYNNET_INLINE float rectify(float a) { return a < 0.f ? 0.f : a; }

template <int R>
DYNNET_INLINE void tile(const Job& job, int64_t m0, int64_t p) {
  if (job.oidx) {
    // Scattered rows: on their way while the products are computed.
    for (int r = 0; r < R; ++r) {
      const int64_t at = job.oidx[m0 + r] * job.ldo + p * NR;
      for (int c = 0; c < NR; c += LINE) {
        if (job.res) __builtin_prefetch(job.res + at + c, 0, 3);
        if (job.res != job.out) __builtin_prefetch(job.out + at + c, 1, 3);
      }
    }
  }
  vf acc[R][NV];
  DYNNET_UNROLL
  for (int v = 0; v < NV; ++v) {
    const vf bias = *(const vf*)(job.bias + p * NR + v * LANES);
    DYNNET_UNROLL
    for (int r = 0; r < R; ++r) acc[r][v] = bias;
  }
  for (int64_t s = 0; s < job.segments; ++s) {
    const Segment& seg = job.seg[s];
    const float* b = seg.w + p * NR * seg.taps * seg.k;
    for (int64_t t = 0; t < seg.taps; ++t) {
      const float* a[R];
      DYNNET_UNROLL
      for (int r = 0; r < R; ++r) {
        const int64_t i = seg.ind ? seg.ind[(m0 + r) * seg.taps + t] : m0 + r;
        a[r] = i < 0 ? job.zero : seg.x + i * seg.ldx;
      }
      for (int64_t k = 0; k < seg.k; ++k) {
        vf bk[NV];
        DYNNET_UNROLL
        for (int v = 0; v < NV; ++v) bk[v] = *(const vf*)(b + v * LANES);
        for (int i = 0; i < NR; i += LINE) __builtin_prefetch(b + AHEAD + i, 0, 3);
        b += NR;
        DYNNET_UNROLL
        for (int r = 0; r < R; ++r) {
          const vf ak = splat(a[r][k]);
          DYNNET_UNROLL
          for (int v = 0; v < NV; ++v) acc[r][v] += ak * bk[v];
        }
      }
    }
  }
  const int64_t columns = job.n - p * NR;
  for (int r = 0; r < R; ++r) {
    const int64_t row = job.oidx ? job.oidx[m0 + r] : m0 + r;
    float* out = job.out + row * job.ldo + p * NR;
    const float* res = job.res ? job.res + row * job.ldo + p * NR : nullptr;
    if (columns >= NR) {
      DYNNET_UNROLL
      for (int v = 0; v < NV; ++v) {
        vf y = acc[r][v];
        if (res) y += *(const vf*)(res + v * LANES);
        if (job.relu) y = rectify(y);
        *(vf*)(out + v * LANES) = y;
      }
    } else {
      float y[NR];
      for (int v = 0; v < NV; ++v) *(vf*)(y + v * LANES) = acc[r][v];
      for (int64_t c = 0; c < columns; ++c) {
        if (res) y[c] += res[c];
        out[c] = job.relu ? rectify(y[c]) : y[c];
      }
    }
  }
}

template <int R>
void tile_of(const Job& job, int64_t rows, int64_t m0, int64_t p) {
  if (rows == R)
    tile<R>(job, m0, p);
  else if constexpr (R > 1)
    tile_of<R - 1>(job, rows, m0, p);
}

void run(const Job& job, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
  const int64_t rows = m1 - m0;
  const int64_t tiles = (rows + MR - 1) / MR;
  for (int64_t p = p0; p < p1; ++p) {
    // Even tiles: a short one at the end would leave the units waiting.
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t from = m0 + rows * t / tiles, to = m0 + rows * (t + 1) / tiles;
      tile_of<MR>(job, to - from, from, p);
    }
  }
}

// Sum over a window of rows of their inner products with w.
float window_dot(const float* x, int64_t n_y, int64_t stride_y, int64_t n_x, int64_t k,
                 const float* w) {
  constexpr int ACC = 4;
  vf acc[ACC] = {};
  float rest = 0.f;
  for (int64_t y = 0; y < n_y; ++y) {
    const float* row = x + y * stride_y;
    for (int64_t i = 0; i < n_x; ++i, row += k) {
      int64_t c = 0;
      for (; c + ACC * LANES <= k; c += ACC * LANES)
        DYNNET_UNROLL
        for (int v = 0; v < ACC; ++v)
          acc[v] += *(const vf*)(row + c + v * LANES) * *(const vf*)(w + c + v * LANES);
      for (; c < k; ++c) rest += row[c] * w[c];
    }
  }
  const vf sum = (acc[0] + acc[1]) + (acc[2] + acc[3]);
  for (int v = 0; v < LANES; ++v) rest += sum[v];
  return rest;
}

const Kernels table = {MR, NR, run, window_dot};

}  // namespace

const Kernels& DYNNET_NAME() { return table; }

}  // namespace dynnet
