#include "driver.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "scratch.h"

namespace dynnet {
namespace {

// Rows of input that stay in the second-level cache while the panels pass by.
constexpr int64_t CACHED_BYTES = 384 << 10;
// From so many rows per thread on, two products in a row are run chunk by chunk.
constexpr int64_t CHAIN_ROWS = 96;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t depth(const Job& job) {
  int64_t k = 0;
  for (int64_t s = 0; s < job.segments; ++s) k += job.seg[s].taps * job.seg[s].k;
  return k;
}

// Rows per chunk: neighbouring windows share rows, so nine taps count as three.
int64_t chunk_rows(const Kernels& kernels, const Job& job) {
  int64_t floats = 0;
  for (int64_t s = 0; s < job.segments; ++s)
    floats += job.seg[s].k * (job.seg[s].taps > 1 ? 3 : 1);
  const int64_t rows = CACHED_BYTES / 4 / std::max<int64_t>(1, floats);
  return std::max<int64_t>(4, rows / kernels.rows) * kernels.rows;
}

void run_chunks(const Kernels& kernels, const Job& job, int64_t m0, int64_t m1,
                int64_t p0, int64_t p1) {
  const int64_t chunks = ceil_div(m1 - m0, chunk_rows(kernels, job));
  for (int64_t c = 0; c < chunks; ++c)
    kernels.run(job, m0 + (m1 - m0) * c / chunks, m0 + (m1 - m0) * (c + 1) / chunks,
                p0, p1);
}

// Splits the rows into `by` parts; the panels are split into threads / by.
int64_t row_parts(const Kernels& kernels, const Job& job, int64_t m, int64_t threads) {
  const int64_t n_panels = panels(kernels, job.n), k = depth(job);
  int64_t best = threads;
  double best_cost = -1;
  for (int64_t by = 1; by <= threads; ++by) {
    if (threads % by) continue;
    const int64_t rows = ceil_div(m, by), cols = ceil_div(n_panels, threads / by);
    // Multiplications of the slowest thread, and what it reads once (a value read
    // from beyond the second-level cache costs about eight multiplications).
    const double cost = double(k) * cols * kernels.panel * (rows + 8) + 8. * k * rows;
    if (best_cost < 0 || cost < best_cost) best = by, best_cost = cost;
  }
  return best;
}

}  // namespace

int64_t panels(const Kernels& kernels, int64_t columns) {
  return ceil_div(columns, kernels.panel);
}

void product(const Kernels& kernels, const Job& job, int64_t m) {
  if (m == 0) return;
  const int64_t n_panels = panels(kernels, job.n);
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t by = row_parts(kernels, job, m, threads), of = threads / by;
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = i / of, p = i % of;
      run_chunks(kernels, job, m * r / by, m * (r + 1) / by, n_panels * p / of,
                 n_panels * (p + 1) / of);
    }
  });
}

void chained(const Kernels& kernels, Job first, Job second, int64_t m) {
  if (m == 0) return;
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t ld = panels(kernels, first.n) * kernels.panel;
  first.n = first.ldo = second.seg[0].ldx = ld;
  first.oidx = nullptr;
  if (m < threads * CHAIN_ROWS) {
    Scratch middle(m * ld);
    first.out = middle.data;
    second.seg[0].x = middle.data;
    product(kernels, first, m);
    product(kernels, second, m);
    return;
  }
  const int64_t rows = chunk_rows(kernels, first);
  Scratch middle(threads * (rows + 1) * ld);
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t m0 = m * i / threads, m1 = m * (i + 1) / threads;
      const int64_t chunks = ceil_div(m1 - m0, rows);
      for (int64_t c = 0; c < chunks; ++c) {
        const int64_t from = m0 + (m1 - m0) * c / chunks;
        const int64_t to = m0 + (m1 - m0) * (c + 1) / chunks;
        // Rows keep their numbers: the scratch begins where row `from` would be.
        Job a = first, b = second;
        a.out = middle.data + (i * (rows + 1) - from) * ld;
        b.seg[0].x = a.out;
        kernels.run(a, from, to, 0, panels(kernels, a.n));
        kernels.run(b, from, to, 0, panels(kernels, b.n));
      }
    }
  });
}

}  // namespace dynnet
