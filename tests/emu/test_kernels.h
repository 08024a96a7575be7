/* Kernels for test_emu.c, right ones and ones with a planted fault: each is launched by its name on
 * memory of the emulated device. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* x, y: buffers of the device of n floats each, or what the fault needs. 0, or −1: no such kernel.
 */
int vlmp_emu_test(const char *name, float *x, float *y, int n);

#ifdef __cplusplus
}
#endif
