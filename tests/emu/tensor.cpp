/* Tensor-core instructions: fragments of a warp's lanes become matrices, as the PTX ISA lays them
 * out (sections "Matrix Fragments for mma.m16n8k16" and "…m16n8k32", "ldmatrix"). Products of
 * halves are exact and summed in F64, then rounded once to F32: no device is more precise, and
 * bounds say how much less precise one may be. */
#include "src/base/half.h"
#include "tests/emu/internal.h"
#include "tests/emu/ptx.cuh"

namespace emu {

namespace {

constexpr unsigned ALL = 0xffffffffu;

struct mma_in {
    const unsigned *a, *b;
    const void *c;
};

template <float convert(uint16_t)> void mma_halves(const meeting &m)
{
    double a[16][16], b[16][8];
    for (unsigned lane = 0; lane < WARP; lane++) {
        const mma_in &in = *static_cast<const mma_in *>(m.in[lane]);
        const unsigned g = lane / 4, t = lane % 4;
        for (unsigned half = 0; half < 2; half++) {
            for (unsigned i = 0; i < 4; i++)
                a[g + i % 2 * 8][2 * t + i / 2 * 8 + half] =
                    convert(static_cast<uint16_t>(in.a[i] >> 16 * half));
            for (unsigned i = 0; i < 2; i++)
                b[2 * t + i * 8 + half][g] = convert(static_cast<uint16_t>(in.b[i] >> 16 * half));
        }
    }
    for (unsigned lane = 0; lane < WARP; lane++) {
        const mma_in &in = *static_cast<const mma_in *>(m.in[lane]);
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
            double sum = static_cast<const float *>(in.c)[i];
            for (unsigned k = 0; k < 16; k++)
                sum += a[row][k] * b[k][column];
            static_cast<float *>(m.out[lane])[i] = static_cast<float>(sum);
        }
    }
}

void mma_bytes(const meeting &m)
{
    int a[16][32], b[32][8];
    for (unsigned lane = 0; lane < WARP; lane++) {
        const mma_in &in = *static_cast<const mma_in *>(m.in[lane]);
        const unsigned g = lane / 4, t = lane % 4;
        for (unsigned byte = 0; byte < 4; byte++) {
            for (unsigned i = 0; i < 4; i++)
                a[g + i % 2 * 8][4 * t + i / 2 * 16 + byte] =
                    static_cast<int8_t>(in.a[i] >> 8 * byte);
            for (unsigned i = 0; i < 2; i++)
                b[4 * t + i * 16 + byte][g] = static_cast<int8_t>(in.b[i] >> 8 * byte);
        }
    }
    for (unsigned lane = 0; lane < WARP; lane++) {
        const mma_in &in = *static_cast<const mma_in *>(m.in[lane]);
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
            unsigned sum = static_cast<unsigned>(static_cast<const int *>(in.c)[i]);
            for (unsigned k = 0; k < 32; k++)
                sum += static_cast<unsigned>(a[row][k] * b[k][column]);
            static_cast<int *>(m.out[lane])[i] = static_cast<int>(sum);
        }
    }
}

void mma(rule *compute, void *d, const unsigned *a, const unsigned *b)
{
    unsigned char c[16];
    memcpy(c, d, sizeof c);
    const mma_in in = {a, b, c};
    meet(ALL, &in, d, compute, false);
}

struct tile_in {
    const unsigned char *row;
    unsigned matrices;
    bool trans;
};

void load_tiles(const meeting &m)
{
    const tile_in &any = *static_cast<const tile_in *>(m.in[0]);
    for (unsigned lane = 0; lane < WARP; lane++)
        for (unsigned matrix = 0; matrix < any.matrices; matrix++) {
            unsigned value = 0;
            for (unsigned half = 0; half < 2; half++) {
                const unsigned far = 2 * (lane % 4) + half, near = lane / 4;
                const unsigned row = any.trans ? far : near, column = any.trans ? near : far;
                const tile_in &of = *static_cast<const tile_in *>(m.in[8 * matrix + row]);
                uint16_t bits;
                memcpy(&bits, of.row + 2 * column, sizeof bits);
                value |= static_cast<unsigned>(bits) << 16 * half;
            }
            static_cast<unsigned *>(m.out[lane])[matrix] = value;
        }
}

} // namespace

void mma_f16(float *d, const unsigned *a, const unsigned *b)
{
    EMU_ENTER("mma f16");
    mma(mma_halves<vlmp_f16_to_f32>, d, a, b);
}

void mma_bf16(float *d, const unsigned *a, const unsigned *b)
{
    EMU_ENTER("mma bf16");
    mma(mma_halves<vlmp_bf16_to_f32>, d, a, b);
}

void mma_s8(int *d, const unsigned *a, const unsigned *b)
{
    EMU_ENTER("mma s8");
    mma(mma_bytes, d, a, b);
}

void ldmatrix(unsigned *r, int matrices, const void *row, bool trans)
{
    const unsigned count = static_cast<unsigned>(matrices);
    const char *names[] = {"ldmatrix x2", "ldmatrix x2 trans", "ldmatrix x4", "ldmatrix x4 trans"};
    EMU_ENTER(names[(count == 4 ? 2 : 0) + (trans ? 1 : 0)]);
    if (running->lane < 8 * count) {
        if (!in_shared(row)) fault("%p is not shared memory", row);
        if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
            fault("address %p is not a multiple of 16", row);
        check_access(row, 16, access::TILE_READ);
    }
    const tile_in in = {static_cast<const unsigned char *>(row), count, trans};
    meet(ALL, &in, r, load_tiles, false);
}

} // namespace emu
