// Vectors of 4, which every 64-bit target has.
#define DYNNET_LANES 4
#define DYNNET_VECTORS 4
#define DYNNET_NAME kernels_portable
#include "kernel.inl"
