#define DYNNET_LANES 8
#define DYNNET_VECTORS 8
#define DYNNET_NAME kernels_avx2
#include "kernel.inl"
