/* The functions of a warp: what each lane gives, and what it gets. */
#include "tests/emu/internal.h"

namespace emu {

namespace {

struct shuffle_in {
    unsigned source;
    size_t bytes;
    const void *value;
};

void shuffle_rule(const meeting &m)
{
    for (unsigned lane = 0; lane < WARP; lane++) {
        if ((m.mask >> lane & 1) == 0) continue;
        const shuffle_in &in = *static_cast<const shuffle_in *>(m.in[lane]);
        if ((m.mask >> in.source & 1) == 0)
            fault("lane %u reads lane %u, which takes no part (mask %08x)", lane, in.source,
                  m.mask);
        const shuffle_in &from = *static_cast<const shuffle_in *>(m.in[in.source]);
        if (from.bytes != in.bytes) fault("lanes differ in type");
        memcpy(m.out[lane], from.value, in.bytes);
    }
}

void ballot_rule(const meeting &m)
{
    unsigned votes = 0;
    for (unsigned lane = 0; lane < WARP; lane++)
        if ((m.mask >> lane & 1) != 0 && *static_cast<const bool *>(m.in[lane]))
            votes |= 1u << lane;
    for (unsigned lane = 0; lane < WARP; lane++)
        if ((m.mask >> lane & 1) != 0) *static_cast<unsigned *>(m.out[lane]) = votes;
}

void match_rule(const meeting &m)
{
    for (unsigned i = 0; i < WARP; i++) {
        if ((m.mask >> i & 1) == 0) continue;
        unsigned same = 0;
        for (unsigned j = 0; j < WARP; j++)
            if ((m.mask >> j & 1) != 0 &&
                *static_cast<const uint64_t *>(m.in[i]) == *static_cast<const uint64_t *>(m.in[j]))
                same |= 1u << j;
        *static_cast<unsigned *>(m.out[i]) = same;
    }
}

} // namespace

unsigned lane()
{
    return running->lane;
}

unsigned active_lanes()
{
    EMU_ENTER("__activemask");
    fault("it is what the scheduler happened to do: name the lanes");
}

void warp_barrier(unsigned mask)
{
    EMU_ENTER("__syncwarp");
    meet(mask, nullptr, nullptr, nullptr, true);
}

void shuffle(unsigned mask, unsigned source, const void *value, void *out, size_t bytes)
{
    EMU_ENTER("a shuffle");
    const shuffle_in in = {source, bytes, value};
    meet(mask, &in, out, shuffle_rule, false);
}

unsigned ballot(unsigned mask, bool vote)
{
    EMU_ENTER("a vote");
    unsigned votes;
    meet(mask, &vote, &votes, ballot_rule, false);
    return votes;
}

unsigned match_any(unsigned mask, uint64_t value)
{
    EMU_ENTER("__match_any_sync");
    unsigned same;
    meet(mask, &value, &same, match_rule, false);
    return same;
}

} // namespace emu
