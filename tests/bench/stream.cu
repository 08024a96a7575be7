/* Read bandwidth of a GPU's memory: a kernel that reads a buffer once and keeps nothing. Prints one
 * JSON line. What it read is checked, so that no load can have been left out.
 *
 *     bench-stream [MIB [RUNS]]
 *
 * MIB (1024) should be many times the L2 cache. The median of RUNS (20) reads, each timed by
 * events. */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/cuda/launch.cuh"

/* Loads of 16 bytes of a turn, none of which needs another. */
enum { AHEAD = 8 };

static void check(cudaError_t status, const char *what)
{
    if (status == cudaSuccess) return;
    fprintf(stderr, "bench-stream: %s: %s\n", what, cudaGetErrorString(status));
    exit(1);
}

static __host__ __device__ inline unsigned word_of(size_t i)
{
    return (unsigned)i * 2654435761u;
}

static __global__ void fill(uint4 *to, size_t count)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid())
        to[i] = {word_of(4 * i), word_of(4 * i + 1), word_of(4 * i + 2), word_of(4 * i + 3)};
}

/* sum += the sum of all words, modulo 2³²; count is a multiple of BLOCK · AHEAD. */
static __global__ void stream(unsigned *sum, const uint4 *from, size_t count)
{
    VLMP_SHARED(unsigned, room, WARPS);
    unsigned mine = 0;
    size_t step = (size_t)gridDim.x * BLOCK * AHEAD;
    for (size_t at = (size_t)blockIdx.x * BLOCK * AHEAD; at < count; at += step) {
        uint4 words[AHEAD];
        VLMP_UNROLL
        for (int i = 0; i < AHEAD; i++)
            words[i] = from[at + (size_t)i * BLOCK + threadIdx.x];
        VLMP_UNROLL
        for (int i = 0; i < AHEAD; i++)
            mine += words[i].x + words[i].y + words[i].z + words[i].w;
    }
    mine = block_sum(mine, room);
    if (threadIdx.x == 0) atomicAdd(sum, mine);
}

/* Seconds of one read. */
static double read_once(unsigned *sum, const uint4 *from, size_t count, int blocks)
{
    cudaEvent_t start, end;
    float milliseconds = 0;
    check(cudaEventCreate(&start), "an event");
    check(cudaEventCreate(&end), "an event");
    check(cudaMemset(sum, 0, sizeof *sum), "memset");
    check(cudaEventRecord(start, nullptr), "an event");
    VLMP_LAUNCH(stream, blocks, BLOCK, 0, nullptr, sum, from, count);
    check(cudaGetLastError(), "the kernel's start");
    check(cudaEventRecord(end, nullptr), "an event");
    check(cudaDeviceSynchronize(), "the kernel");
    check(cudaEventElapsedTime(&milliseconds, start, end), "an event");
    check(cudaEventDestroy(start), "an event");
    check(cudaEventDestroy(end), "an event");
    return milliseconds / 1e3;
}

int main(int argc, char **argv)
{
    int mib = argc > 1 ? atoi(argv[1]) : 1024, runs = argc > 2 ? atoi(argv[2]) : 20;
    if (mib < 1 || mib > 65536 || runs < 1 || argc > 3) {
        fprintf(stderr, "bench-stream [MIB [RUNS]]: up to 65536 MiB\n");
        return 2;
    }
    size_t count = ((size_t)mib << 20) / sizeof(uint4);
    uint4 *from = nullptr;
    unsigned *sum = nullptr, got = 0, want = 0;
    cudaDeviceProp device;
    check(cudaGetDeviceProperties(&device, 0), "the device");
    check(cudaMalloc((void **)&from, count * sizeof *from), "the buffer");
    check(cudaMalloc((void **)&sum, sizeof *sum), "the sum");
    VLMP_LAUNCH(fill, blocks_for(count), BLOCK, 0, nullptr, from, count);
    check(cudaGetLastError(), "the kernel's start");
    for (size_t i = 0; i < 4 * count; i++)
        want += word_of(i);
    int blocks =
        (int)std::min<size_t>(count / (BLOCK * AHEAD), (size_t)device.multiProcessorCount * 16);
    std::vector<double> times;
    for (int run = -1; run < runs; run++) { /* the first is a warm-up */
        double time = read_once(sum, from, count, blocks);
        if (run >= 0) times.push_back(time);
    }
    check(cudaMemcpy(&got, sum, sizeof got, cudaMemcpyDeviceToHost), "the sum");
    if (got != want) {
        fprintf(stderr, "bench-stream: the sum read is %u, not %u\n", got, want);
        return 1;
    }
    std::sort(times.begin(), times.end());
    double bytes = (double)count * sizeof *from;
    printf("{\"device\": \"%s\", \"mib\": %d, \"read_GBps\": %.6g}\n", device.name, mib,
           bytes / times[times.size() / 2] / 1e9);
    return 0;
}
