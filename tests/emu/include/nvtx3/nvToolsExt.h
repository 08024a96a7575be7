/* Ranges of NVTX; who watches here is a test (vlmp_emu_read_counts). */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* How deep it lies; negative: none is open. */
int nvtxRangePushA(const char *name);
int nvtxRangePop(void);

#ifdef __cplusplus
}
#endif
