/* The runtime's interface; for C++ also what device code is written with and what stands for PTX. */
#pragma once

#include "tests/emu/include/cuda_runtime_api.h"

#ifdef __cplusplus
#    include "tests/emu/device.cuh"
#    include "tests/emu/ptx.cuh"
#endif
