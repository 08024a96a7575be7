/* Memory of the emulated device: one range of addresses that only kernels, copies and stand-ins of
 * libraries may touch. Between allocations lie red zones, and an address is never used twice. */
#include "tests/emu/internal.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace emu {

unsigned char *device_base, *device_grains;

namespace {

constexpr size_t HUGE_PAGE = 2 << 20;
constexpr size_t ALIGN = 256; /* cudaMalloc promises 256 */

struct piece {
    size_t bytes;
    bool freed;
};

size_t next = ALIGN, opened_to, used;
int opened;
std::map<const unsigned char *, piece> pieces;
std::map<unsigned char *, size_t> pinned;

void *reserve(size_t bytes, int protection)
{
    void *at = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        perror("emulated GPU: no address space");
        abort();
    }
    return at;
}

size_t page_up(size_t bytes)
{
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return (bytes + page - 1) / page * page;
}

void mark(size_t from, size_t bytes, bool good)
{
    for (size_t i = 0; i * DEVICE_GRAIN < bytes; i++) {
        const size_t left = bytes - i * DEVICE_GRAIN;
        device_grains[from / DEVICE_GRAIN + i] =
            good ? static_cast<unsigned char>(left < DEVICE_GRAIN ? left : DEVICE_GRAIN) : 0;
    }
}

} // namespace

/* Opens and closes by whole huge pages, which are opened at once where the system has them. */
static void open_to(size_t end)
{
    opened_to = (end + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    mprotect(device_base, opened_to, PROT_READ | PROT_WRITE);
}

void device_open()
{
    if (opened++ == 0 && device_base != nullptr) open_to(next);
}

void device_close()
{
    if (--opened == 0 && device_base != nullptr) mprotect(device_base, opened_to, PROT_NONE);
}

void *device_alloc(size_t bytes)
{
    if (device_base == nullptr) {
        const uintptr_t at =
            reinterpret_cast<uintptr_t>(reserve(DEVICE_RANGE + HUGE_PAGE, PROT_NONE));
        device_base =
            reinterpret_cast<unsigned char *>((at + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
        madvise(device_base, DEVICE_RANGE, MADV_HUGEPAGE);
        device_grains = static_cast<unsigned char *>(
            reserve(DEVICE_RANGE / DEVICE_GRAIN, PROT_READ | PROT_WRITE));
    }
    const size_t at = (next + RED_ZONE + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes > DEVICE_RANGE - at - ALIGN) return nullptr;
    next = at + bytes;
    used += bytes;
    counts.allocations++;
    mark(at, bytes, true);
    pieces[device_base + at] = {bytes, false};
    if (opened != 0) open_to(next); /* a stand-in of a library allocates for itself */
    device_open();
    memset(device_base + at, POISON, bytes);
    device_close();
    return device_base + at;
}

bool device_free(void *at)
{
    const auto found = pieces.find(static_cast<unsigned char *>(at));
    if (found == pieces.end() || found->second.freed) return false;
    found->second.freed = true;
    used -= found->second.bytes;
    const size_t from = static_cast<size_t>(found->first - device_base);
    mark(from, found->second.bytes, false);
    const size_t start = (from + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE,
                 end = (from + found->second.bytes) / HUGE_PAGE * HUGE_PAGE;
    if (end > start) madvise(device_base + start, end - start, MADV_DONTNEED);
    return true;
}

size_t device_used()
{
    return used;
}

std::string device_why_not(const void *at, size_t bytes)
{
    char text[256];
    if (!in_device(at)) {
        snprintf(text, sizeof text, "%p is no memory of the device", at);
        return text;
    }
    if (device_valid(at, bytes)) return "";
    const unsigned char *address = static_cast<const unsigned char *>(at);
    auto after = pieces.upper_bound(address);
    if (after == pieces.begin()) {
        snprintf(text, sizeof text, "%zu bytes at %p lie before all buffers", bytes, at);
        return text;
    }
    const auto &[start, it] = *--after;
    const size_t offset = static_cast<size_t>(address - start);
    if (it.freed && offset < it.bytes)
        snprintf(text, sizeof text,
                 "%zu bytes at offset %zu of a buffer of %zu bytes that was freed", bytes, offset,
                 it.bytes);
    else
        snprintf(text, sizeof text, "%zu bytes at offset %zu of a buffer of %zu bytes", bytes,
                 offset, it.bytes);
    return text;
}

void *host_alloc(size_t bytes)
{
    /* A page that cannot be touched follows; the end lies against it as close as 64 bytes allow. */
    const size_t whole = page_up(bytes + 64);
    unsigned char *at =
        static_cast<unsigned char *>(reserve(whole + page_up(1), PROT_READ | PROT_WRITE));
    mprotect(at + whole, page_up(1), PROT_NONE);
    unsigned char *start = at + (whole - bytes) / 64 * 64;
    memset(start, POISON, bytes);
    pinned[start] = bytes;
    return start;
}

bool host_free(void *at)
{
    const auto found = pinned.find(static_cast<unsigned char *>(at));
    if (found == pinned.end()) return false;
    const size_t whole = page_up(found->second + 64), page = page_up(1);
    unsigned char *start = found->first - (whole - found->second) / 64 * 64;
    munmap(start, whole + page);
    pinned.erase(found);
    return true;
}

bool host_pinned(const void *at)
{
    unsigned char *address = const_cast<unsigned char *>(static_cast<const unsigned char *>(at));
    auto after = pinned.upper_bound(address);
    if (after == pinned.begin()) return false;
    --after;
    return static_cast<size_t>(address - after->first) < after->second + 1;
}

} // namespace emu
