// Mixing kernels by small matrices, and the gradients of that. Shapes: bank
// [outer][columns][inner], matrix [rows][columns], mixed [outer][rows][inner].
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace dynnet_mixing {
namespace {

const Kernels& best(int64_t isa) {
#ifdef DYNNET_X86
  if (isa == 2) return kernels_avx512();
  if (isa == 1) return kernels_avx2();
#endif
  return kernels_portable();
}

// The entries of a dense matrix, or of its transpose, that are not zero.
struct Sparse {
  std::vector<int64_t> start;
  std::vector<int32_t> column;
  std::vector<float> value;

  Sparse(const float* matrix, int64_t rows, int64_t columns, int64_t row_step,
         int64_t column_step) {
    for (int64_t r = 0; r < rows; ++r) {
      start.push_back(value.size());
      for (int64_t k = 0; k < columns; ++k) {
        const float entry = matrix[r * row_step + k * column_step];
        if (entry == 0) continue;  // a NaN stays
        column.push_back(int32_t(k));
        value.push_back(entry);
      }
    }
    start.push_back(value.size());
  }
  Rows view() const {
    return {int64_t(start.size()) - 1, start.data(), column.data(), value.data()};
  }
};

// Calls f(begin, end) for parts of the outer axis, in parallel where it is worth it.
template <typename F>
void each(int64_t outer, int64_t work, const F& f) {
  const int64_t grain = 1 + 65536 / (1 + work);
  at::parallel_for(0, outer, grain, f);
}

void combine(int64_t isa, const Sparse& sparse, const float* in, int64_t outer,
             int64_t columns, int64_t inner, float* out) {
  const Rows rows = sparse.view();
  const auto run = best(isa).combine;
  each(outer, int64_t(sparse.value.size()) * inner, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      run(rows, in + o * columns * inner, inner, out + o * rows.rows * inner);
  });
}

}  // namespace
}  // namespace dynnet_mixing

#define DYNNET_API extern "C" __attribute__((visibility("default")))

using namespace dynnet_mixing;

// 2: AVX-512, 1: AVX2, 0: neither.
DYNNET_API int64_t dynnet_mixing_isa() {
#ifdef DYNNET_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return __builtin_cpu_supports("avx512f") ? 2 : 1;
#endif
  return 0;
}

DYNNET_API void dynnet_mixing_forward(int64_t isa, const float* bank,
                                      const float* matrix, int64_t outer, int64_t rows,
                                      int64_t columns, int64_t inner, float* mixed) {
  combine(isa, Sparse(matrix, rows, columns, columns, 1), bank, outer, columns, inner,
          mixed);
}

DYNNET_API void dynnet_mixing_grad_bank(int64_t isa, const float* grad,
                                        const float* matrix, int64_t outer,
                                        int64_t rows, int64_t columns, int64_t inner,
                                        float* grad_bank) {
  combine(isa, Sparse(matrix, columns, rows, 1, columns), grad, outer, rows, inner,
          grad_bank);
}

DYNNET_API void dynnet_mixing_grad_matrix(int64_t isa, const float* grad,
                                          const float* bank, int64_t outer,
                                          int64_t rows, int64_t columns, int64_t inner,
                                          float* grad_matrix) {
  const auto run = best(isa).dots;
  const int64_t size = rows * columns;
  std::vector<double> parts(at::get_num_threads() * size, 0.0);
  each(outer, size * inner, [&](int64_t begin, int64_t end) {
    double* mine = parts.data() + at::get_thread_num() * size;
    std::vector<float> sums(size);
    for (int64_t o = begin; o < end; ++o) {
      std::fill(sums.begin(), sums.end(), 0.f);
      run(grad + o * rows * inner, rows, bank + o * columns * inner, columns, inner,
          sums.data());
      for (int64_t e = 0; e < size; ++e) mine[e] += sums[e];
    }
  });
  for (int64_t e = 0; e < size; ++e) {
    double sum = 0;
    for (size_t t = e; t < parts.size(); t += size) sum += parts[t];
    grad_matrix[e] = float(sum);
  }
}
