/* BF16 of CUDA C++ for the emulator; as cuda_fp16.h. */
#pragma once

#ifdef __cplusplus
#    include "src/base/half.h"
#    include "tests/emu/arithmetic.cuh"

#    define EMU_SCALAR   __nv_bfloat16
#    define EMU_PAIR     __nv_bfloat162
#    define EMU_WORD     bfloat16
#    define EMU_FROM_F32 vlmp_f32_to_bf16
#    define EMU_TO_F32   vlmp_bf16_to_f32
#    include "tests/emu/halves.cuh"

typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;
#endif
