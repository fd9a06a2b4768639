#include "plan.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace dynnet {
namespace {

constexpr int64_t PIXELS_PER_TASK = 16384;

// Map rows that make a task worth a thread.
int64_t grain(int64_t width) {
  return std::max<int64_t>(1, PIXELS_PER_TASK / std::max<int64_t>(1, width));
}

// Turns counts per map row into offsets; returns the total.
int64_t to_offsets(std::vector<int64_t>& counts) {
  int64_t total = 0;
  for (auto& count : counts) {
    const int64_t here = count;
    count = total;
    total += here;
  }
  return total;
}

const uint8_t* coarse_row(const Mask& mask, int64_t image, int64_t y) {
  return mask.cells + (image * mask.size.h + mask.row_map[y]) * mask.size.w;
}

// Calls f(image, y, first row number) for each map row, in parallel for big maps.
template <typename F>
void each_row(int64_t batch, Size map, const F& f) {
  at::parallel_for(0, batch * map.h, grain(map.w), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i / map.h, i % map.h, i * map.w);
  });
}

// Input rows of the window of output (image, y, x): f(tap, row or -1).
template <typename F>
inline void each_tap(int64_t image, int64_t y, int64_t x, Size in, Window window,
                     const F& f) {
  int tap = 0;
  for (int64_t dy = -1; dy <= 1; ++dy) {
    const int64_t yy = y * window.stride + dy * window.dilation;
    const bool inside = yy >= 0 && yy < in.h;
    for (int64_t dx = -1; dx <= 1; ++dx, ++tap) {
      const int64_t xx = x * window.stride + dx * window.dilation;
      f(tap, inside && xx >= 0 && xx < in.w ? (image * in.h + yy) * in.w + xx : -1);
    }
  }
}

// Marks what row ym of the middle map is read at.
void mark_row(const Mask& mask, int64_t image, int64_t ym, Size out, Size mid,
              Window window, uint8_t* marks) {
  std::fill(marks, marks + mid.w, uint8_t(0));
  for (int64_t dy = -1; dy <= 1; ++dy) {
    const int64_t at = ym - dy * window.dilation;
    if (at < 0 || at % window.stride || at / window.stride >= out.h) continue;
    const uint8_t* cells = coarse_row(mask, image, at / window.stride);
    for (int64_t x = 0; x < out.w; ++x) {
      if (!cells[mask.col_map[x]]) continue;
      for (int64_t dx = -1; dx <= 1; ++dx) {
        const int64_t xx = x * window.stride + dx * window.dilation;
        if (xx >= 0 && xx < mid.w) marks[xx] = 1;
      }
    }
  }
}

}  // namespace

Plan make_row_plan(const Mask& mask, int64_t batch, Size out, bool want_inactive) {
  Plan plan;
  std::vector<int64_t> offsets(batch * out.h);
  each_row(batch, out, [&](int64_t image, int64_t y, int64_t first) {
    const uint8_t* cells = coarse_row(mask, image, y);
    int64_t count = 0;
    for (int64_t x = 0; x < out.w; ++x) count += cells[mask.col_map[x]] != 0;
    offsets[first / out.w] = count;
  });
  const int64_t total = to_offsets(offsets);
  plan.active.resize(total);
  if (want_inactive) plan.inactive.resize(batch * out.h * out.w - total);
  each_row(batch, out, [&](int64_t image, int64_t y, int64_t first) {
    const uint8_t* cells = coarse_row(mask, image, y);
    int32_t* active = plan.active.data() + offsets[first / out.w];
    int32_t* inactive = plan.inactive.data() + first - offsets[first / out.w];
    for (int64_t x = 0; x < out.w; ++x) {
      if (cells[mask.col_map[x]])
        *active++ = int32_t(first + x);
      else if (want_inactive)
        *inactive++ = int32_t(first + x);
    }
  });
  return plan;
}

Plan make_plan(const Mask& mask, int64_t batch, Size out, Size mid, Window window,
               bool want_inactive) {
  Plan plan = make_row_plan(mask, batch, out, want_inactive);
  const int64_t area = batch * mid.h * mid.w;
  std::vector<uint8_t> marks(area);
  std::vector<int64_t> offsets(batch * mid.h);
  each_row(batch, mid, [&](int64_t image, int64_t y, int64_t first) {
    mark_row(mask, image, y, out, mid, window, marks.data() + first);
    offsets[first / mid.w] =
        std::count(marks.data() + first, marks.data() + first + mid.w, uint8_t(1));
  });
  plan.needed.resize(to_offsets(offsets));
  std::vector<int32_t> place(area);  // read where marked only
  each_row(batch, mid, [&](int64_t, int64_t, int64_t first) {
    int64_t at = offsets[first / mid.w];
    for (int64_t i = first; i < first + mid.w; ++i) {
      if (!marks[i]) continue;
      plan.needed[at] = int32_t(i);
      place[i] = int32_t(at++);
    }
  });
  const int64_t count = plan.active.size();
  plan.taps.resize(count * 9);
  at::parallel_for(0, count, PIXELS_PER_TASK / 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = plan.active[i], y = row / out.w;
      int32_t* taps = plan.taps.data() + i * 9;
      each_tap(y / out.h, y % out.h, row % out.w, mid, window,
               [&](int tap, int64_t at) { taps[tap] = at < 0 ? -1 : place[at]; });
    }
  });
  return plan;
}

std::vector<int32_t> strided_rows(const std::vector<int32_t>& rows, Size out, Size in,
                                  int64_t stride) {
  std::vector<int32_t> result(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t y = rows[i] / out.w;
    result[i] = int32_t(((y / out.h) * in.h + y % out.h * stride) * in.w +
                        rows[i] % out.w * stride);
  }
  return result;
}

std::vector<int32_t> window_rows(const std::vector<int32_t>& rows, Size out, Size in,
                                 Window window) {
  std::vector<int32_t> result(rows.size() * 9);
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t y = rows[i] / out.w;
    int32_t* taps = result.data() + i * 9;
    each_tap(y / out.h, y % out.h, rows[i] % out.w, in, window,
             [&](int tap, int64_t at) { taps[tap] = int32_t(at); });
  }
  return result;
}

}  // namespace dynnet
