// Which rows a masked block computes.
#pragma once
#include <cstdint>
#include <vector>

namespace dynnet {

struct Size {
  int64_t h, w;
};

// A coarse mask and how the output map reads it.
struct Mask {
  const uint8_t* cells;    // [batch][h][w], 0 or 1
  Size size;               // of the coarse mask
  const int32_t* row_map;  // [H] coarse row of each output row
  const int32_t* col_map;  // [W]
};

// A 3x3 window; its padding equals its dilation.
struct Window {
  int64_t stride, dilation;
};

struct Plan {
  std::vector<int32_t> active;    // output rows, ascending
  std::vector<int32_t> inactive;  // the other output rows, when asked for
  std::vector<int32_t> needed;    // rows of the middle map that the active ones read
  std::vector<int32_t> taps;      // [active][9] indices into needed, -1 outside
};

Plan make_plan(const Mask& mask, int64_t batch, Size out, Size mid, Window window,
               bool want_inactive);

// The active output rows alone (a 1x1 convolution reads its own row).
Plan make_row_plan(const Mask& mask, int64_t batch, Size out, bool want_inactive);

// Input rows of a 1x1 convolution with a stride: one per output row.
std::vector<int32_t> strided_rows(const std::vector<int32_t>& rows, Size out, Size in,
                                  int64_t stride);

// Input rows [rows][9] of a 3x3 convolution, -1 outside.
std::vector<int32_t> window_rows(const std::vector<int32_t>& rows, Size out, Size in,
                                 Window window);

}  // namespace dynnet
