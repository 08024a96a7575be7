/* What only PTX can say, each instruction twice: for the device as PTX, for tests/emu as a call
 * that does what the PTX ISA describes. No other file has assembly (scripts/check-style.py sees to
 * it).
 *
 * Functions that say "warp" are for all 32 lanes together. A 32-bit register of a fragment holds
 * two halves or four bytes, the lower index in the lower bits. In the drawings below g = lane / 4
 * and t = lane % 4. Everything here needs 8.0. */
#pragma once

#include "kernels/cuda/platform.cuh"

#ifdef __CUDACC__
#    define VLMP_PTX __device__ __forceinline__
static VLMP_PTX unsigned vlmp_ptx_shared(const void *at)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(at));
}
#else
#    define VLMP_PTX inline
#endif

/* ---- Products of tiles (warp): d += a · b, 16×8 += 16×16 · 16×8, sums in F32 ----
 *
 * a[0]: row g,     columns 2t, 2t + 1     b[0]: rows 2t, 2t + 1, column g
 * a[1]: row g + 8, the same columns       b[1]: rows 2t + 8, 2t + 9, column g
 * a[2]: row g,     columns 2t + 8, 2t + 9 d[0], d[1]: row g, columns 2t, 2t + 1
 * a[3]: row g + 8, the same columns       d[2], d[3]: row g + 8, the same columns */
static VLMP_PTX void vlmp_mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::mma_f16(d, a, b);
#endif
}

static VLMP_PTX void vlmp_mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::mma_bf16(d, a, b);
#endif
}

/* 16×8 += 16×32 · 32×8 of signed bytes, sums in 32 bits that wrap.
 *
 * a[0]: row g,     columns 4t … 4t + 3       b[0]: rows 4t … 4t + 3, column g
 * a[1]: row g + 8, the same columns          b[1]: rows 4t + 16 … 4t + 19, column g
 * a[2]: row g,     columns 4t + 16 … 4t + 19 d: as above
 * a[3]: row g + 8, the same columns */
static VLMP_PTX void vlmp_mma_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::mma_s8(d, a, b);
#endif
}

/* ---- Tiles from shared memory (warp) ----
 *
 * Matrices of 8×8 halves. row: the address, a multiple of 16, of row lane % 8 of matrix lane / 8;
 * of the two-matrix forms, lanes 16 to 31 give any address. r[m]: of matrix m, row g, columns 2t
 * and 2t + 1; trans: column g, rows 2t and 2t + 1. */
static VLMP_PTX void vlmp_ldmatrix_x4(unsigned (&r)[4], const void *row)
{
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(vlmp_ptx_shared(row))
                 : "memory");
#else
    emu::ldmatrix(r, 4, row, false);
#endif
}

static VLMP_PTX void vlmp_ldmatrix_x4_trans(unsigned (&r)[4], const void *row)
{
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(vlmp_ptx_shared(row))
                 : "memory");
#else
    emu::ldmatrix(r, 4, row, true);
#endif
}

static VLMP_PTX void vlmp_ldmatrix_x2(unsigned (&r)[2], const void *row)
{
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(vlmp_ptx_shared(row))
                 : "memory");
#else
    emu::ldmatrix(r, 2, row, false);
#endif
}

/* ---- Copies from global to shared memory that go on meanwhile ----
 *
 * A thread asks for copies, closes groups of them, and waits until at most LEFT of its groups are
 * under way; other threads see the bytes after a barrier that follows. Addresses are multiples of
 * 16; of the bytes only the first `valid` are read, the rest becomes zero. */
static VLMP_PTX void vlmp_copy_async(void *shared, const void *global, int valid = 16)
{
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(vlmp_ptx_shared(shared)),
                 "l"(__cvta_generic_to_global(global)), "r"(valid)
                 : "memory");
#else
    emu::copy_async(shared, global, 16, valid);
#endif
}

/* What is read once in a pass, weights: it leaves the L2 cache first. */
static VLMP_PTX unsigned long long vlmp_evict_first()
{
    unsigned long long policy = 0;
#ifdef __CUDACC__
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#endif
    return policy;
}

static VLMP_PTX void vlmp_copies_close()
{
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    emu::copies_close();
#endif
}

template <int LEFT> static VLMP_PTX void vlmp_copies_wait()
{
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#else
    emu::copies_wait(LEFT);
#endif
}

/* 16 bytes that no kernel writes meanwhile, past the L1 cache. */
static VLMP_PTX uint4 vlmp_load_once(const void *at, unsigned long long policy)
{
    uint4 value;
#ifdef __CUDACC__
    asm("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
        : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
        : "l"(__cvta_generic_to_global(at)), "l"(policy));
#else
    (void)policy;
    value = *static_cast<const uint4 *>(at);
#endif
    return value;
}

/* ---- Between blocks ---- */

/* What the thread that released wrote before is seen after. */
static VLMP_PTX unsigned vlmp_load_acquire(const unsigned *at)
{
    unsigned value;
#ifdef __CUDACC__
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                 : "=r"(value)
                 : "l"(__cvta_generic_to_global(at))
                 : "memory");
#else
    emu::pause();
    emu::atomic_read(at, &value, sizeof value);
#endif
    return value;
}

/* Gives the value before. */
static VLMP_PTX unsigned vlmp_add_release(unsigned *at, unsigned by)
{
    unsigned old;
#ifdef __CUDACC__
    asm volatile("atom.add.release.gpu.global.u32 %0, [%1], %2;"
                 : "=r"(old)
                 : "l"(__cvta_generic_to_global(at)), "r"(by)
                 : "memory");
#else
    old = atomicAdd(at, by);
#endif
    return old;
}

/* All threads of a cooperative launch; what they wrote before, all see after. *counter is zero
 * before the first launch and left as it is between launches: its top bit changes at each barrier,
 * when the first block's share and all others have come. */
static VLMP_PTX void vlmp_grid_barrier(unsigned *counter)
{
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
        const bool first = blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0;
        const unsigned others = gridDim.x * gridDim.y * gridDim.z - 1;
        const unsigned old = vlmp_add_release(counter, first ? 0x80000000u - others : 1u);
        while (((vlmp_load_acquire(counter) ^ old) & 0x80000000u) == 0) {
        }
    }
    __syncthreads();
}

/* ---- Bits ---- */

/* Any function of three bits: TABLE is what it gives for a = 0xf0, b = 0xcc, c = 0xaa. */
template <int TABLE> static VLMP_PTX unsigned vlmp_lop3(unsigned a, unsigned b, unsigned c)
{
    unsigned out;
#ifdef __CUDACC__
    asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(out) : "r"(a), "r"(b), "r"(c), "n"(TABLE));
#else
    out = 0;
    for (int i = 0; i < 8; i++)
        if ((TABLE >> i & 1) != 0)
            out |= ((i & 4) != 0 ? a : ~a) & ((i & 2) != 0 ? b : ~b) & ((i & 1) != 0 ? c : ~c);
#endif
    return out;
}
