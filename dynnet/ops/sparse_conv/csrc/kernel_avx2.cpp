// 6 x 2 vectors of 8: 12 accumulators of 16 registers.
#define DYNNET_LANES 8
#define DYNNET_ROWS 6
#define DYNNET_VECTORS 2
#define DYNNET_NAME kernels_avx2
#include "kernel.inl"
