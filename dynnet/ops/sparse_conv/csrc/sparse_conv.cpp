// The C interface: a masked residual block, a masked 1x1 convolution, and their parts.
// Every function returns 0, or 1 after writing a message for dynnet_error().
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "driver.h"
#include "kernels.h"
#include "plan.h"
#include "scratch.h"

using namespace dynnet;

namespace {

thread_local std::string error;

template <typename F>
int guarded(const F& f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    error = e.what();
    return 1;
  }
}

bool supported(int64_t isa) {
  if (isa == 0) return true;
#ifdef DYNNET_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == 1) return avx2;
  if (isa == 2) return avx2 && __builtin_cpu_supports("avx512f");
#endif
  return false;
}

const Kernels& kernels_of(int64_t isa) {
  if (!supported(isa)) throw std::invalid_argument("instruction set not supported");
#ifdef DYNNET_X86
  if (isa == 2) return kernels_avx512();
  if (isa == 1) return kernels_avx2();
#endif
  return kernels_portable();
}

struct Conv {
  const float* w;     // packed
  const float* bias;  // padded to whole panels
  int64_t in, out, kernel, stride, dilation;

  Size out_size(Size s) const {  // the padding keeps the size
    return {(s.h - 1) / stride + 1, (s.w - 1) / stride + 1};
  }
  Window window() const { return {stride, dilation}; }
};

struct Block {
  int64_t convs;
  Conv conv[3];
  int64_t has_shortcut;
  Conv shortcut;
  const float* bias_sum;  // of the last convolution and the shortcut
};

Job job_of(const Conv& conv, const float* x, int64_t ldx, const int32_t* ind,
           const float* zero, float* out, int64_t ldo, const int32_t* oidx, bool relu) {
  Job job{};
  job.seg[0] = {x, ldx, ind, conv.kernel * conv.kernel, conv.in, conv.w};
  job.segments = 1;
  job.zero = zero;
  job.bias = conv.bias;
  job.n = conv.out;
  job.out = out;
  job.ldo = ldo;
  job.oidx = oidx;
  job.relu = relu;
  return job;
}

void run_block(const Kernels& kernels, const Block& block, const float* x, Size in,
               const float* shortcut_x, Size shortcut_in, const float* res, float* out,
               const Mask& mask, int64_t batch, int64_t* counts) {
  const Conv &first = block.conv[0], &second = block.conv[1];
  const Conv& last = block.conv[block.convs - 1];
  const Size mid = first.out_size(in), size = second.out_size(mid);
  const Plan plan =
      make_plan(mask, batch, size, mid, second.window(), block.has_shortcut);
  const int64_t active = plan.active.size(), needed = plan.needed.size();
  if (counts) counts[0] = active, counts[1] = needed;

  int64_t widest = first.in;
  for (int64_t i = 0; i < block.convs; ++i)
    widest = std::max(widest, block.conv[i].in);
  Scratch zero(widest);
  std::memset(zero.data, 0, widest * 4);

  // First convolution, at the needed rows.
  const int64_t ld = panels(kernels, first.out) * kernels.panel;
  Scratch hidden(needed * ld);
  std::vector<int32_t> rows;
  if (first.kernel == 3)
    rows = window_rows(plan.needed, mid, in, first.window());
  else if (first.stride != 1)
    rows = strided_rows(plan.needed, mid, in, first.stride);
  Job job = job_of(first, x, first.in, rows.empty() ? plan.needed.data() : rows.data(),
                   zero.data, hidden.data, ld, nullptr, true);
  job.n = ld;  // padding columns too: zeros, so the buffer holds no rubbish
  product(kernels, job, needed);

  // The last one adds into the identity and writes the active rows. With a shortcut its
  // sum is one longer product; the other rows are the shortcut alone.
  Job end = job_of(last, hidden.data, ld, plan.taps.data(), zero.data, out, last.out,
                   plan.active.data(), true);
  end.res = res;
  std::vector<int32_t> at;
  if (block.has_shortcut) {
    const Conv& shortcut = block.shortcut;
    at = strided_rows(plan.inactive, size, shortcut_in, shortcut.stride);
    product(kernels,
            job_of(shortcut, shortcut_x, shortcut.in, at.data(), zero.data, out,
                   shortcut.out, plan.inactive.data(), true),
            plan.inactive.size());
    at = strided_rows(plan.active, size, shortcut_in, shortcut.stride);
    end.seg[1] = {shortcut_x, shortcut.in, at.data(), 1, shortcut.in, shortcut.w};
    end.segments = 2;
    end.bias = block.bias_sum;
  }
  if (block.convs == 2) {
    product(kernels, end, active);
    return;
  }
  end.seg[0].ind = nullptr;
  const Job middle = job_of(second, hidden.data, ld, plan.taps.data(), zero.data, nullptr,
                            0, nullptr, true);
  chained(kernels, middle, end, active);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

const char* dynnet_error() { return error.c_str(); }

// 0 portable, 1 AVX2 with FMA, 2 AVX-512.
int dynnet_supported(int64_t isa) { return supported(isa); }

int64_t dynnet_panel(int64_t isa) { return kernels_of(isa).panel; }

// w [n][k] -> out [panels][k][panel width], zeros beyond n.
int dynnet_pack(int64_t isa, const float* w, int64_t n, int64_t k, float* out) {
  return guarded([&] {
    const int64_t width = kernels_of(isa).panel, count = panels(kernels_of(isa), n);
    for (int64_t p = 0; p < count; ++p)
      for (int64_t i = 0; i < k; ++i)
        for (int64_t c = 0; c < width; ++c)
          *out++ = p * width + c < n ? w[(p * width + c) * k + i] : 0.f;
  });
}

// Row lists of a mask. `active`, `needed` and `taps` (9 per active row) have room for
// all rows; counts: active, needed.
int dynnet_plan(const uint8_t* cells, int64_t h, int64_t w, const int32_t* row_map,
                const int32_t* col_map, int64_t batch, int64_t out_h, int64_t out_w,
                int64_t mid_h, int64_t mid_w, int64_t stride, int64_t dilation,
                int32_t* active, int32_t* needed, int32_t* taps, int64_t* counts) {
  return guarded([&] {
    const Plan plan = make_plan({cells, {h, w}, row_map, col_map}, batch, {out_h, out_w},
                                {mid_h, mid_w}, {stride, dilation}, false);
    std::copy(plan.active.begin(), plan.active.end(), active);
    std::copy(plan.needed.begin(), plan.needed.end(), needed);
    std::copy(plan.taps.begin(), plan.taps.end(), taps);
    counts[0] = plan.active.size();
    counts[1] = plan.needed.size();
  });
}

// out[oidx[m]] = relu(bias + res[oidx[m]] + sum over taps of x[ind[m][tap]] * w)
int dynnet_product(int64_t isa, const float* x, int64_t k, const int32_t* ind,
                   int64_t taps, const float* w, const float* bias, int64_t n, float* out,
                   const int32_t* oidx, const float* res, int64_t relu, int64_t m) {
  return guarded([&] {
    Scratch zero(k);
    std::memset(zero.data, 0, k * 4);
    Job job{};
    job.seg[0] = {x, k, ind, taps, k, w};
    job.segments = 1;
    job.zero = zero.data;
    job.bias = bias;
    job.n = job.ldo = n;
    job.out = out;
    job.oidx = oidx;
    job.res = res;
    job.relu = relu;
    product(kernels_of(isa), job, m);
  });
}

// A whole block. Without a shortcut `res` is the identity and `out` holds its ReLU (or
// is the same memory, not negative); with one, `out` is not read.
int dynnet_block(int64_t isa, const Block* block, const float* x, int64_t h, int64_t w,
                 const float* shortcut_x, int64_t shortcut_h, int64_t shortcut_w,
                 const float* res, float* out, const uint8_t* cells, int64_t mask_h,
                 int64_t mask_w, const int32_t* row_map, const int32_t* col_map,
                 int64_t batch, int64_t* counts) {
  return guarded([&] {
    run_block(kernels_of(isa), *block, x, {h, w}, shortcut_x, {shortcut_h, shortcut_w},
              res, out, {cells, {mask_h, mask_w}, row_map, col_map}, batch, counts);
  });
}

// out (rows of the identity) becomes relu(out + mask * conv(x)).
int dynnet_pointwise(int64_t isa, const Conv* conv, const float* x, float* out,
                     const uint8_t* cells, int64_t mask_h, int64_t mask_w,
                     const int32_t* row_map, const int32_t* col_map, int64_t batch,
                     int64_t h, int64_t w) {
  return guarded([&] {
    const Plan plan = make_row_plan({cells, {mask_h, mask_w}, row_map, col_map}, batch,
                                    {h, w}, true);
    Job job = job_of(*conv, x, conv->in, plan.active.data(), nullptr, out, conv->out,
                     plan.active.data(), true);
    job.res = out;
    product(kernels_of(isa), job, plan.active.size());
    const int64_t n = conv->out;
    at::parallel_for(0, plan.inactive.size(), 1 + 32768 / n, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        float* row = out + plan.inactive[i] * n;
        for (int64_t c = 0; c < n; ++c) row[c] = row[c] < 0.f ? 0.f : row[c];
      }
    });
  });
}

// Decisions of a two-logit gate: mean of x over each cell's (adaptive) window, times w
// (keep minus skip), plus bias, is at least 0. out [batch][grid_h][grid_w].
int dynnet_gate(int64_t isa, const float* x, const float* w, float bias, int64_t batch,
                int64_t h, int64_t width, int64_t k, int64_t grid_h, int64_t grid_w,
                uint8_t* out) {
  return guarded([&] {
    const Kernels& kernels = kernels_of(isa);
    const int64_t grain = 1 + 65536 * grid_h / (h * width * k);
    at::parallel_for(0, batch * grid_h, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t y = i % grid_h, y0 = y * h / grid_h;
        const int64_t n_y = ((y + 1) * h + grid_h - 1) / grid_h - y0;
        const float* rows = x + (i / grid_h * h + y0) * width * k;
        for (int64_t c = 0; c < grid_w; ++c) {
          const int64_t x0 = c * width / grid_w;
          const int64_t n_x = ((c + 1) * width + grid_w - 1) / grid_w - x0;
          const float sum =
              kernels.window_dot(rows + x0 * k, n_y, width * k, n_x, k, w);
          out[i * grid_w + c] = sum / float(n_y * n_x) + bias >= 0.f;
        }
      }
    });
  });
}

}  // extern "C"
#pragma GCC visibility pop
