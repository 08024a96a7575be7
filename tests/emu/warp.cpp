/* The functions of a warp: what each lane gives, and what it gets. */
#include "tests/emu/internal.h"

namespace emu {

namespace {

struct shuffle_in {
    unsigned source;
    size_t bytes;
    const void *value;
    site at;
};

void shuffle_rule(const meeting &m)
{
    for (unsigned lane = 0; lane < WARP; lane++) {
        if ((m.mask >> lane & 1) == 0) continue;
        const shuffle_in &in = *static_cast<const shuffle_in *>(m.in[lane]);
        if ((m.mask >> in.source & 1) == 0)
            fault("shuffle at %s:%d: lane %u reads lane %u, which takes no part (mask %08x)",
                  in.at.file, in.at.line, lane, in.source, m.mask);
        const shuffle_in &from = *static_cast<const shuffle_in *>(m.in[in.source]);
        if (from.bytes != in.bytes)
            fault("shuffle at %s:%d: lanes differ in type", in.at.file, in.at.line);
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
    fault("__activemask is what the scheduler happened to do: name the lanes");
}

void warp_barrier(unsigned mask, site at)
{
    meet("__syncwarp", mask, at, nullptr, nullptr, nullptr, true);
}

void shuffle(unsigned mask, unsigned source, const void *value, void *out, size_t bytes, site at)
{
    const shuffle_in in = {source, bytes, value, at};
    meet("shuffle", mask, at, &in, out, shuffle_rule, false);
}

unsigned ballot(unsigned mask, bool vote, site at)
{
    unsigned votes;
    meet("vote", mask, at, &vote, &votes, ballot_rule, false);
    return votes;
}

unsigned match_any(unsigned mask, uint64_t value, site at)
{
    unsigned same;
    meet("match", mask, at, &value, &same, match_rule, false);
    return same;
}

} // namespace emu
