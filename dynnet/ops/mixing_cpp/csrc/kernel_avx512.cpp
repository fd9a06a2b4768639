#define DYNNET_LANES 16
#define DYNNET_VECTORS 8
#define DYNNET_NAME kernels_avx512
#include "kernel.inl"
