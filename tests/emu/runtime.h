/* The emulated runtime's state, and what its calls begin and end with. */
#ifndef TESTS_EMU_RUNTIME_H
#define TESTS_EMU_RUNTIME_H
#ifdef __cplusplus

#    include <mutex>

#    include "tests/emu/internal.h"

namespace emu {

extern std::recursive_mutex one;
extern vlmp_emu_device device;
extern cudaError_t broken; /* what a fault leaves: nothing works until it is taken */

struct locked {
    std::lock_guard<std::recursive_mutex> guard;
    locked() : guard(one) {}
};

/* Remembers it for cudaGetLastError. */
cudaError_t failed(cudaError_t error);

/* What each call begins with: an error that was planted, or the device's own. */
cudaError_t start();

/* The same of calls that no stream may be captured beside; that alone. */
cudaError_t start_outside_captures();
cudaError_t outside_captures();

/* A fault of the host's part. */
void wrong_use(const char *call, const std::string &why);

/* How much dynamic shared memory the kernel may have. */
size_t shared_limit(const void *kernel);

/* Does all that was asked for, in every stream. */
void run_all();

} // namespace emu

#endif
#endif
