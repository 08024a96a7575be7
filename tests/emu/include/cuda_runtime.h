/* The interface of the runtime; for C++ also what device code is written with, PTX included. */
#pragma once

#include "tests/emu/include/cuda_runtime_api.h"

#ifdef __cplusplus
#    include "tests/emu/device.cuh"
#    include "tests/emu/ptx.cuh"
#endif
