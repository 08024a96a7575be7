/* What kernels/cuda/ptx.cuh calls instead of PTX (tests/emu/tensor.cpp, copies.cpp). */
#pragma once

#include "tests/emu/device.cuh"

namespace emu {

void mma_f16(float *d, const unsigned *a, const unsigned *b);
void mma_bf16(float *d, const unsigned *a, const unsigned *b);
void mma_s8(int *d, const unsigned *a, const unsigned *b);
void ldmatrix(unsigned *r, int matrices, const void *row, bool trans);
/* bytes: 4, 8 or 16, of which `valid` are read. */
void copy_async(void *shared, const void *global, unsigned bytes, int valid);
void copies_close();
void copies_wait(int left);

} // namespace emu
