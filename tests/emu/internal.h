/* The parts of the emulator among themselves. */
#ifndef TESTS_EMU_INTERNAL_H
#define TESTS_EMU_INTERNAL_H
#ifdef __cplusplus

#    include <string>
#    include <vector>

#    include "tests/emu/emu.h"
#    include "tests/emu/include/cuda_runtime.h"

namespace emu {

constexpr unsigned WARP = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned MAX_BLOCKS = 64, MAX_RESIDENT = 8192; /* blocks, threads at a time */
constexpr size_t STACK_BYTES = 64 << 10;
constexpr size_t MAX_SHARED = 163 << 10;  /* of a block, as on 8.0 */
constexpr size_t MAX_STATIC = 48 << 10;   /* without cudaFuncSetAttribute */
constexpr size_t SHARED_SLOT = 256 << 10; /* room for a block's shared memory and its red zones */
constexpr size_t RED_ZONE = 256;          /* bytes between what was allocated */
constexpr size_t ARGUMENT_BYTES = 4096;   /* of a launch */
constexpr unsigned char POISON = 0xff;    /* a NaN in each float type, −1 in integers */

/* ---- Fibers (fiber.cpp) ---- */

/* Will run entry(arg), which never returns, on this stack; what vlmp_emu_switch takes as `to`. */
void *fiber_make(void *stack, size_t bytes, void (*entry)(void *), void *arg);
extern "C" void vlmp_emu_switch(void **save, void *to);

/* ---- Threads and blocks (block.cpp) ---- */

enum class state { READY, BARRIER, WARP_WAIT, DONE };

struct block;
struct warp;

/* A copy that cp.async has asked for and nobody has waited for yet. */
struct pending_copy {
    unsigned char *to;
    const unsigned char *from;
    unsigned bytes, valid; /* valid ≤ bytes come from memory, the rest is zero */
    unsigned group;
    const void *pc;
};

struct thread {
    position *where; /* on its stack: device code reads it */
    unsigned index, lane;
    block *in;
    warp *with;
    unsigned char *stack; /* STACK_BYTES */
    void *stack_pointer;
    state doing;
    const char *call; /* what it last called, from where: for messages */
    const void *pc;
    unsigned known[WARP]; /* [lane]: its accesses of ticks below happened before now */
    std::vector<pending_copy> copies;
    unsigned copy_group;
};

/* Lanes that wait for each other. */
struct meeting {
    const char *what;
    unsigned mask, arrived;
    const void *pc;
    const void *in[WARP];
    void *out[WARP];
};

struct warp {
    unsigned lanes, exited; /* masks */
    unsigned tick;          /* barriers of (parts of) the warp so far */
    std::vector<meeting> open;
    thread *thread_of[WARP];
};

struct block {
    uint3 at;
    unsigned count, at_barrier, exited;
    unsigned epoch; /* of the race detector: changes at a barrier */
    site barrier_at;
    int sum, all, any, last_sum, last_all, last_any;
    std::vector<warp> warps;
    unsigned char *shared; /* its slot */
    size_t shared_used;
    struct piece {
        const void *key;
        const char *name;
        size_t offset, bytes;
    };
    std::vector<piece> pieces; /* what is allocated in it */
};

extern unsigned char argument_area[]; /* of the launch that runs */
extern thread *running;               /* null outside kernels */
extern vlmp_emu_counts counts;

/* What functions that device code calls begin with: where they were called from. */
#    define EMU_ENTER(what) (running->call = (what), running->pc = __builtin_return_address(0))

using rule = void(const meeting &);
/* Waits until all lanes of mask are here; the last one to come runs the rule, which reads what
 * each lane gave and fills what each wants. orders: what was written before is seen after. */
void meet(unsigned mask, const void *in, void *out, rule *compute, bool orders);

/* Something changed that others may wait for. */
void progress();

/* Runs a grid; false: a fault. `call(arguments)` is a thread. */
bool run_grid(const launch_config &config, void (*call)(const void *), const void *arguments);
const launch_config *current_launch();

/* ---- Memory (memory.cpp) ---- */

void *device_alloc(size_t bytes); /* filled with POISON */
bool device_free(void *at);
size_t device_used();
/* What is wrong with [at, at + bytes) as memory of the device, or empty. */
std::string device_why_not(const void *at, size_t bytes);

/* Addresses, not memory: pages that nobody touches do not exist. */
constexpr size_t DEVICE_RANGE = static_cast<size_t>(256) << 30, DEVICE_GRAIN = 16;
extern unsigned char *device_base;
extern unsigned char *device_grains; /* [grain]: how many of its first bytes are allocated */

inline bool in_device(const void *at)
{
    return static_cast<size_t>(static_cast<const unsigned char *>(at) - device_base) <
               DEVICE_RANGE &&
           device_base != nullptr;
}

/* Whether all of it, and there is some, is allocated; at: in_device. */
inline bool device_valid(const void *at, size_t bytes)
{
    const size_t from = static_cast<size_t>(static_cast<const unsigned char *>(at) - device_base);
    const size_t last = from + bytes - 1;
    if (last % DEVICE_GRAIN >= device_grains[last / DEVICE_GRAIN]) return false;
    for (size_t grain = from / DEVICE_GRAIN; grain < last / DEVICE_GRAIN; grain++)
        if (device_grains[grain] != DEVICE_GRAIN) return false;
    return true;
}

/* Between these the host may touch the device's memory; they nest. */
void device_open();
void device_close();
void *host_alloc(size_t bytes);
bool host_free(void *at);
bool host_pinned(const void *at);

/* ---- Shared memory and accesses (watch.cpp) ---- */

enum class access { READ, WRITE, ATOMIC_READ, ATOMIC_WRITE, COPY_ISSUE, COPY_FILL, TILE_READ };

unsigned char *shared_slot(unsigned index);
void shared_reset(block &b, size_t dynamic_bytes);
unsigned next_epoch();
/* The checks of one access of the running thread. */
void check_access(const void *at, size_t bytes, access how);
bool in_shared(const void *at);

/* ---- Faults (block.cpp) ---- */
void report_fault(const std::string &text);
std::string place_of(const void *pc);
/* The first since the last call, or false. */
bool take_fault(std::string &text);

} // namespace emu

#endif
#endif
