/* An emulated GPU: kernels of kernels/cuda/ run on the host, a fiber a thread, and what a real
 * device would hide is a fault (the list is in tests/emu/README.md). This header is for tests;
 * kernels and host code see include/cuda_runtime.h. One host thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The order of threads, warps and blocks from here on; also read from VLMP_EMU_SEED at the start.
 */
void vlmp_emu_seed(uint64_t seed);

/* true: faults are kept for vlmp_emu_take_fault, and calls return what CUDA returns after one;
 * false, the default: a fault is printed, and the process aborts. */
void vlmp_emu_keep_faults(int keep);

/* The first fault since the last call, or NULL; the device works again. Valid until the next. */
const char *vlmp_emu_take_fault(void);

/* What the next calls see of the device. The default: 4 multiprocessors, 8.0, 4 GiB, present. */
typedef struct {
    int present, multiprocessors, major, minor;
    size_t memory;
} vlmp_emu_device;

void vlmp_emu_set_device(const vlmp_emu_device *device);

/* From the n-th call of the runtime on (1: the next), calls fail with the error; 0: none does. */
void vlmp_emu_fail_after(int n, int error);

/* The n-th call alone. */
void vlmp_emu_fail_once(int n, int error);

/* Counts since the start, for tests of tests. */
typedef struct {
    uint64_t launches, blocks, switches, accesses, allocations, calls; /* calls: that can fail */
    uint64_t ranges;                                                   /* of NVTX that began */
    int64_t open_ranges;                                               /* and have not ended */
} vlmp_emu_counts;

vlmp_emu_counts vlmp_emu_read_counts(void);

#ifdef __cplusplus
}
#endif
