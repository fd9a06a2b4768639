// Shares a product between threads.
#pragma once
#include <cstdint>

#include "kernels.h"

namespace dynnet {

// Computes all columns of operand rows [0, m), in parallel.
void product(const Kernels& kernels, const Job& job, int64_t m);

// As product, for two jobs in a row: the second's operand rows are the first's output
// rows (job.out and its own input are set here, to scratch memory).
void chained(const Kernels& kernels, Job first, Job second, int64_t m);

int64_t panels(const Kernels& kernels, int64_t columns);

}  // namespace dynnet
