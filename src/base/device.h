/* Small functions that CUDA kernels call too: nvcc has to be told, other compilers have not. */
#pragma once

#ifdef __CUDACC__
#    define VLMP_DEVICE __host__ __device__
#else
#    define VLMP_DEVICE
#endif
