// 12 x 2 vectors of 16: 24 accumulators of 32 registers, the multiplier from memory.
#define DYNNET_LANES 16
#define DYNNET_ROWS 12
#define DYNNET_VECTORS 2
#define DYNNET_NAME kernels_avx512
#include "kernel.inl"
