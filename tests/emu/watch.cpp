/* What kernels do to memory. They are compiled with -fsanitize=thread,alignment, which makes the
 * compiler call a function before each access that another thread could see; those functions are
 * here instead of in the compiler's runtime, and know what is whose:
 *
 *  - global memory: inside a buffer that is allocated;
 *  - shared memory: inside what the block declared, written before it is read, not under way by
 *    cp.async, and no two threads touch a byte, one of them writing, without a barrier between;
 *  - the thread's own stack, constants and arguments; nothing else.
 *
 * A byte of shared memory remembers its last write and the reads since. Order between threads comes
 * from __syncthreads (a new epoch of the block) and __syncwarp (a new tick of the warp, of which
 * each lane knows how far it has seen every other). Shuffles and votes order nothing. */
#include "tests/emu/internal.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <link.h>
#include <map>
#include <sys/mman.h>

namespace emu {

namespace {

constexpr uint16_t MANY = 0xffff;

enum content : unsigned char { OUTSIDE, UNWRITTEN, WRITTEN, UNDER_WAY };

struct cell {
    unsigned write_epoch, write_tick, read_epoch, read_tick, read_lanes;
    int write_pc, read_pc; /* from origin() */
    uint16_t write_thread, read_thread, read_warp;
    content holds;
    bool write_atomic;
};

unsigned char *shared_base;
cell *cells;
unsigned epoch_now;
size_t used_before[MAX_BLOCKS];

const char *origin()
{
    return reinterpret_cast<const char *>(&vlmp_emu_switch);
}
int pack_pc(const void *pc)
{
    return static_cast<int>(static_cast<const char *>(pc) - origin());
}
const void *unpack_pc(int pc)
{
    return origin() + pc;
}

void *reserve(size_t bytes)
{
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        perror("emulated GPU: no address space");
        abort();
    }
    return at;
}

bool writes(access how)
{
    return how == access::WRITE || how == access::ATOMIC_WRITE || how == access::COPY_ISSUE ||
           how == access::COPY_FILL;
}

/* Which declaration of the block an address belongs to, for a message. */
std::string shared_name(const block &b, size_t offset)
{
    const block::piece *best = nullptr;
    for (const block::piece &p : b.pieces)
        if (p.offset <= offset && (best == nullptr || p.offset > best->offset)) best = &p;
    if (best == nullptr) return "before all shared memory";
    char text[160];
    snprintf(text, sizeof text, "offset %zu of %s (%zu bytes, shared)", offset - best->offset,
             best->name, best->bytes);
    return text;
}

[[noreturn]] void race(const block &b, size_t offset, unsigned other, const char *did, int other_pc)
{
    fault("%s: thread %u of the block %s it at %s, with no barrier between",
          shared_name(b, offset).c_str(), other, did, place_of(unpack_pc(other_pc)).c_str());
}

/* Whether what thread `other` did at a tick of this epoch happened before now. */
bool seen(const thread &t, unsigned other, unsigned tick)
{
    return other == t.index || (other / WARP == t.index / WARP && t.known[other % WARP] > tick);
}

void check_readers(const thread &t, const cell &c, size_t offset)
{
    if (c.read_warp == MANY) race(*t.in, offset, c.read_thread, "reads", c.read_pc);
    for (unsigned lane = 0; lane < WARP; lane++) {
        const unsigned reader = c.read_warp * WARP + lane;
        if ((c.read_lanes >> lane & 1) != 0 && !seen(t, reader, c.read_tick))
            race(*t.in, offset, reader, "reads", c.read_pc);
    }
}

void note_reader(const thread &t, cell &c)
{
    const unsigned mine = t.index / WARP, bit = 1u << t.lane;
    if (c.read_epoch != t.in->epoch) {
        c.read_epoch = t.in->epoch;
        c.read_warp = static_cast<uint16_t>(mine);
        c.read_lanes = 0;
    } else if (c.read_warp == MANY) {
        return;
    } else if (c.read_warp != mine) {
        c.read_warp = MANY; /* the one that is kept is the other warp's for each of the two */
        return;
    } else { /* who was seen reading needs no mention: seeing me is seeing it */
        for (unsigned lane = 0; lane < WARP; lane++)
            if (t.known[lane] > c.read_tick) c.read_lanes &= ~(1u << lane);
    }
    c.read_lanes |= bit;
    c.read_thread = static_cast<uint16_t>(t.index);
    c.read_tick = t.with->tick;
    c.read_pc = pack_pc(t.pc);
}

void check_shared(thread &t, size_t slot_offset, size_t bytes, access how)
{
    block &b = *t.in;
    const bool writing = writes(how),
               atomic = how == access::ATOMIC_READ || how == access::ATOMIC_WRITE;
    for (size_t i = 0; i < bytes; i++) {
        cell &c = cells[slot_offset + i];
        const size_t offset = slot_offset + i - static_cast<size_t>(b.shared - shared_base);
        if (offset >= SHARED_SLOT) fault("shared memory of another block");
        if (c.holds == OUTSIDE)
            fault("%zu bytes outside shared memory: %s", bytes, shared_name(b, offset).c_str());
        if (c.holds == UNDER_WAY && how != access::COPY_FILL)
            fault("%s: cp.async fills it, and nobody has waited", shared_name(b, offset).c_str());
        if (c.holds == UNWRITTEN && (how == access::READ || how == access::ATOMIC_READ))
            fault("%s: nobody wrote it", shared_name(b, offset).c_str());
        if (c.write_epoch == b.epoch && !(atomic && c.write_atomic) &&
            !seen(t, c.write_thread, c.write_tick))
            race(b, offset, c.write_thread, "writes", c.write_pc);
        if (writing && c.read_epoch == b.epoch) check_readers(t, c, offset);
        if (!writing) {
            if (!atomic) note_reader(t, c);
            continue;
        }
        c.write_epoch = b.epoch;
        c.write_tick = t.with->tick;
        c.write_thread = static_cast<uint16_t>(t.index);
        c.write_pc = pack_pc(t.pc);
        c.write_atomic = atomic;
        c.holds = how == access::COPY_ISSUE ? UNDER_WAY : WRITTEN;
    }
}

/* Constants: what the program's files hold and nothing can write. Reading there is no fault. */
bool in_constants(const void *at)
{
    struct range {
        uintptr_t from, to;
    };
    static std::vector<range> ranges;
    const auto note = [](dl_phdr_info *info, size_t, void *) {
        for (int i = 0; i < info->dlpi_phnum; i++) {
            const auto &part = info->dlpi_phdr[i];
            const uintptr_t from = info->dlpi_addr + part.p_vaddr;
            if ((part.p_type == PT_LOAD && (part.p_flags & PF_W) == 0) ||
                part.p_type == PT_GNU_RELRO)
                ranges.push_back({from, from + part.p_memsz});
        }
        return 0;
    };
    if (ranges.empty()) dl_iterate_phdr(note, nullptr);
    const uintptr_t address = reinterpret_cast<uintptr_t>(at);
    for (const range &r : ranges)
        if (address >= r.from && address < r.to) return true;
    return false;
}

/* A kernel's arguments, and the pointer to where the thread is. */
bool in_arguments(const void *at)
{
    return static_cast<size_t>(static_cast<const unsigned char *>(at) - argument_area) <
               ARGUMENT_BYTES ||
           at == static_cast<const void *>(&here);
}

void allow(block &b, size_t from, size_t bytes)
{
    const size_t slot = static_cast<size_t>(b.shared - shared_base);
    for (size_t i = 0; i < bytes; i++)
        cells[slot + from + i].holds = UNWRITTEN;
    memset(b.shared + from, POISON, bytes);
}

size_t take(block &b, const void *key, const char *name, size_t bytes)
{
    const size_t at = (b.shared_used + RED_ZONE + 127) / 128 * 128;
    b.pieces.push_back({key, name, at, bytes});
    b.shared_used = at + bytes;
    used_before[static_cast<size_t>(b.shared - shared_base) / SHARED_SLOT] = b.shared_used;
    allow(b, at, bytes);
    return at;
}

} // namespace

static std::string look_up(const void *pc)
{
    const char *before = static_cast<const char *>(pc) - 1; /* pc is where the call returns to */
    Dl_info info;
    char text[512];
    if (dladdr(before, &info) == 0 || info.dli_fname == nullptr) return "?";
    const size_t offset = static_cast<size_t>(before - static_cast<const char *>(info.dli_fbase));
    snprintf(text, sizeof text, "addr2line -i -e '%s' 0x%zx 2>/dev/null", info.dli_fname, offset);
    std::string places;
    FILE *out = popen(text, "r");
    while (out != nullptr && fgets(text, sizeof text, out) != nullptr) {
        text[strcspn(text, " \n")] = '\0'; /* behind the blank: a discriminator */
        const char *up = strstr(text, "/../"), *from = up != nullptr ? up + 4 : text;
        if (text[0] != '?') places += (places.empty() ? "" : " in ") + std::string(from);
    }
    if (out != nullptr) pclose(out);
    if (!places.empty()) return places;
    snprintf(text, sizeof text, "%s+0x%zx", info.dli_fname, offset); /* no debug information */
    return text;
}

std::string place_of(const void *pc)
{
    static std::map<const void *, std::string> known;
    std::string &place = known[pc];
    if (place.empty()) place = look_up(pc);
    return place;
}

unsigned next_epoch()
{
    return ++epoch_now;
}

unsigned char *shared_slot(unsigned index)
{
    if (shared_base == nullptr) {
        shared_base = static_cast<unsigned char *>(reserve(MAX_BLOCKS * SHARED_SLOT));
        cells = static_cast<cell *>(reserve(MAX_BLOCKS * SHARED_SLOT * sizeof(cell)));
    }
    return shared_base + index * SHARED_SLOT;
}

bool in_shared(const void *at)
{
    return static_cast<size_t>(static_cast<const unsigned char *>(at) - shared_base) <
           MAX_BLOCKS * SHARED_SLOT;
}

void shared_reset(block &b, size_t dynamic_bytes)
{
    /* All that the block before in this slot had: outside again. */
    const size_t slot = static_cast<size_t>(b.shared - shared_base) / SHARED_SLOT;
    for (size_t i = 0; i < used_before[slot]; i++)
        cells[slot * SHARED_SLOT + i].holds = OUTSIDE;
    used_before[slot] = 0;
    b.epoch = next_epoch();
    if (dynamic_bytes != 0) take(b, nullptr, "dynamic memory", dynamic_bytes);
}

void *dynamic_shared()
{
    block &b = *running->in;
    if (b.pieces.empty() || b.pieces[0].key != nullptr)
        fault("uses dynamic shared memory, and was launched without");
    return b.shared + b.pieces[0].offset;
}

void *static_shared(const void *key, size_t bytes, const char *name)
{
    block &b = *running->in;
    for (const block::piece &p : b.pieces)
        if (p.key == key) return b.shared + p.offset;
    size_t sum = bytes;
    for (const block::piece &p : b.pieces)
        sum += p.key != nullptr ? p.bytes : 0;
    if (sum > MAX_STATIC)
        fault("%zu bytes of static shared memory, the limit is %zu", sum, MAX_STATIC);
    return b.shared + take(b, key, name, bytes);
}

void check_access(const void *at, size_t bytes, access how)
{
    thread &t = *running;
    const unsigned char *byte = static_cast<const unsigned char *>(at);
    counts.accesses++;
    if (in_shared(at)) {
        check_shared(t, static_cast<size_t>(byte - shared_base), bytes, how);
        return;
    }
    if (static_cast<size_t>(byte - t.stack) < STACK_BYTES) return;
    if (in_device(at)) {
        if (!device_valid(at, bytes))
            fault("outside global memory: %s", device_why_not(at, bytes).c_str());
        return;
    }
    if (!writes(how) && (in_arguments(at) || in_constants(at))) return;
    fault("%zu bytes at %p, which is memory of the host or of another thread", bytes, at);
}

void atomic_read(const void *at, void *value, size_t bytes)
{
    EMU_ENTER("an atomic");
    check_access(at, bytes, access::ATOMIC_READ);
    memcpy(value, at, bytes);
}

void atomic_write(void *at, const void *value, size_t bytes)
{
    EMU_ENTER("an atomic");
    check_access(at, bytes, access::ATOMIC_WRITE);
    if (memcmp(at, value, bytes) != 0) progress();
    memcpy(at, value, bytes);
}

void fence() {}

uint64_t clock()
{
    return counts.accesses;
}

} // namespace emu

/* ---- What the compiler calls ---- */

using namespace emu;

static inline void compiled(const void *at, size_t bytes, access how, const void *pc)
{
    if (running == nullptr) return; /* host functions of the same file are instrumented too */
    running->call = how == access::READ ? "a read" : "a write";
    running->pc = pc;
    check_access(at, bytes, how);
}

#define HOOK(bytes)                                                      \
    extern "C" void __tsan_read##bytes(void *at);                        \
    extern "C" void __tsan_read##bytes(void *at)                         \
    {                                                                    \
        compiled(at, bytes, access::READ, __builtin_return_address(0));  \
    }                                                                    \
    extern "C" void __tsan_write##bytes(void *at);                       \
    extern "C" void __tsan_write##bytes(void *at)                        \
    {                                                                    \
        compiled(at, bytes, access::WRITE, __builtin_return_address(0)); \
    }                                                                    \
    extern "C" void __tsan_unaligned_read##bytes(void *at);              \
    extern "C" void __tsan_unaligned_read##bytes(void *at)               \
    {                                                                    \
        compiled(at, bytes, access::READ, __builtin_return_address(0));  \
    }                                                                    \
    extern "C" void __tsan_unaligned_write##bytes(void *at);             \
    extern "C" void __tsan_unaligned_write##bytes(void *at)              \
    {                                                                    \
        compiled(at, bytes, access::WRITE, __builtin_return_address(0)); \
    }

HOOK(1)
HOOK(2)
HOOK(4)
HOOK(8)
HOOK(16)

extern "C" {
void __tsan_init(void);
void __tsan_func_entry(void *);
void __tsan_func_exit(void);
void __tsan_read_range(void *at, size_t bytes);
void __tsan_write_range(void *at, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memmove(void *to, const void *from, size_t bytes);
void *__tsan_memset(void *at, int value, size_t bytes);

void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}

void __tsan_read_range(void *at, size_t bytes)
{
    compiled(at, bytes, access::READ, __builtin_return_address(0));
}

void __tsan_write_range(void *at, size_t bytes)
{
    compiled(at, bytes, access::WRITE, __builtin_return_address(0));
}

void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    compiled(from, bytes, access::READ, __builtin_return_address(0));
    compiled(to, bytes, access::WRITE, __builtin_return_address(0));
    return memcpy(to, from, bytes);
}

void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    compiled(from, bytes, access::READ, __builtin_return_address(0));
    compiled(to, bytes, access::WRITE, __builtin_return_address(0));
    return memmove(to, from, bytes);
}

void *__tsan_memset(void *at, int value, size_t bytes)
{
    compiled(at, bytes, access::WRITE, __builtin_return_address(0));
    return memset(at, value, bytes);
}

/* -fsanitize=alignment: an access whose address its type does not allow. */
struct ubsan_place {
    const char *file;
    unsigned line, column;
};
struct ubsan_mismatch {
    ubsan_place at;
    const void *type;
    unsigned char log_alignment, kind;
};
/* Hidden: a sanitized program brings one, which host code goes on to the other form of. */
__attribute__((visibility("hidden"))) void
__ubsan_handle_type_mismatch_v1_abort(ubsan_mismatch *what, uintptr_t address);

void __ubsan_handle_type_mismatch_v1_abort(ubsan_mismatch *what, uintptr_t address)
{
    if (running != nullptr) running->pc = nullptr; /* the place is known without */
    fault("address %#zx is not a multiple of %u, at %s:%u", static_cast<size_t>(address),
          1u << what->log_alignment, what->at.file, what->at.line);
}
}
