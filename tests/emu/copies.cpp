/* cp.async: bytes arrive when their thread waits for them, not before; until then to read or write
 * their place is a fault. That is as late as the PTX ISA allows, and later than any device. */
#include "tests/emu/internal.h"
#include "tests/emu/ptx.cuh"

#include <algorithm>

namespace emu {

void copy_async(void *shared, const void *global, unsigned bytes, int valid)
{
    EMU_ENTER("cp.async");
    const unsigned read = static_cast<unsigned>(valid);
    if (valid < 0 || read > bytes) fault("%d of %u bytes", valid, bytes);
    if (!in_shared(shared)) fault("%p is not shared memory", shared);
    if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 ||
        reinterpret_cast<uintptr_t>(global) % bytes != 0)
        fault("from %p to %p, not both multiples of %u", global, shared, bytes);
    if (read != 0 && !in_device(global)) fault("%p is not global memory", global);
    if (read != 0) check_access(global, read, access::READ);
    check_access(shared, bytes, access::COPY_ISSUE);
    running->copies.push_back({static_cast<unsigned char *>(shared),
                               static_cast<const unsigned char *>(global), bytes, read,
                               running->copy_group, running->pc});
}

void copies_close()
{
    running->copy_group++;
}

void copies_wait(int left)
{
    std::vector<pending_copy> &copies = running->copies;
    const auto arrives = [=](const pending_copy &c) {
        return c.group + static_cast<unsigned>(left) < running->copy_group;
    };
    EMU_ENTER("the wait for cp.async");
    for (const pending_copy &c : copies) {
        if (!arrives(c)) continue;
        running->pc = c.pc;
        check_access(c.to, c.bytes, access::COPY_FILL);
        memcpy(c.to, c.from, c.valid);
        memset(c.to + c.valid, 0, c.bytes - c.valid);
    }
    copies.erase(std::remove_if(copies.begin(), copies.end(), arrives), copies.end());
}

} // namespace emu
