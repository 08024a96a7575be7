#include "kernels/blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#    include <cpuid.h>
#endif

#include "kernels/blas_internal.h"
#include "src/base/memory.h"

#if defined(__x86_64__)
static bool is_amd_zen_1_to_4(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx) return false;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    unsigned family = (a >> 8 & 15) + (a >> 20 & 255);
    return family == 0x17 || family == 0x19;
}
#endif

/* The name of OpenBLAS's fastest kernels for this processor; NULL leaves the choice to the library.
 * By features, because a library takes a processor newer than itself for a very old one. Zen 4 has
 * 256-bit units behind its AVX-512, where the AVX2 kernels measure 5 % faster than SkylakeX's. */
static const char *fastest_core(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && is_amd_zen_1_to_4()) return "Zen";
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (avx2) return "Haswell";
    if (__builtin_cpu_supports("avx")) return "Sandybridge";
#endif
    return NULL;
}

struct symbol {
    const char *name;
    size_t offset;
};

#define SYMBOL(field, symbol_name)                     \
    {                                                  \
        symbol_name, offsetof(struct vlmp_blas, field) \
    }

static const struct symbol symbols[] = {
    SYMBOL(sgemm, "cblas_sgemm"),
    SYMBOL(ssyrk, "cblas_ssyrk"),
    SYMBOL(set_num_threads, "openblas_set_num_threads"),
    SYMBOL(get_corename, "openblas_get_corename"),
    SYMBOL(get_config, "openblas_get_config"),
};

static int bind_symbols(vlmp_blas *blas, void *handle, vlmp_error *err)
{
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *address = dlsym(handle, symbols[i].name);
        if (address == NULL)
            return vlmp_fail(err, VLMP_ERR_SYSTEM,
                             "%s: the library has no function '%s'; install a complete OpenBLAS "
                             "(Debian: libopenblas0-pthread)",
                             blas->library, symbols[i].name);
        memcpy((char *)blas + symbols[i].offset, &address, sizeof address);
    }
    return VLMP_OK;
}

/* "OpenBLAS 0.3.21 NO_LAPACKE … Zen MAX_THREADS=64" and "Zen" → "OpenBLAS 0.3.21 Zen". */
static void describe(vlmp_blas *blas)
{
    const char *config = blas->get_config();
    const char *space = strchr(config, ' ');
    size_t length = space == NULL ? strlen(config) : strcspn(space + 1, " ");
    if (space != NULL) length += (size_t)(space + 1 - config);
    snprintf(blas->describe, sizeof blas->describe, "%.*s %s", (int)length, config,
             blas->get_corename());
}

static bool room_for(size_t bytes)
{
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room != MAP_FAILED) munmap(room, bytes);
    return room != MAP_FAILED;
}

/* What the dynamic linker says when it has no memory; it gives no number. */
static bool lacks_memory(const char *text)
{
    static const char *const signs[] = {"emory", "cannot create", "cannot map", "to map segment"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (strstr(text, signs[i]) != NULL) return true;
    return false;
}

/* OpenBLAS and what it brings take 40 MB; the start-up code of libgfortran and libquadmath does not
 * look whether it got its memory. */
#define LIBRARY_BYTES ((size_t)64 << 20)

static int open_library(vlmp_blas *blas, void **handle, vlmp_error *err)
{
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
    char reason[256] = "";
    if (!room_for(LIBRARY_BYTES)) return vlmp_fail_memory(err, names[0]);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        snprintf(blas->library, sizeof blas->library, "%s", names[i]);
        if (*handle != NULL) return VLMP_OK;
        const char *text = dlerror();
        if (text == NULL || lacks_memory(text)) return vlmp_fail_memory(err, blas->library);
        if (i == 0) snprintf(reason, sizeof reason, "%s", text);
    }
    return vlmp_fail(err, VLMP_ERR_SYSTEM,
                     "cannot open libopenblas.so.0 (%s); install OpenBLAS (Debian: "
                     "libopenblas0-pthread)",
                     reason);
}

/* What a call of OpenBLAS may map for its work, 32 << 22 bytes in every build that we know. */
#define WORK_BYTES ((size_t)128 << 20)

/* A caller that finds no work memory makes OpenBLAS map it and, where that fails, try again for
 * ever. So it is taken here, after a look whether there is room, and given back: the library keeps
 * what it has mapped. */
static int reserve_work(const vlmp_blas *blas, int callers, vlmp_error *err)
{
    void **taken = vlmp_calloc((size_t)callers, sizeof *taken);
    int count = 0, status = VLMP_OK;
    if (taken == NULL) return vlmp_fail_memory(err, "BLAS table");
    for (int i = 0; i < callers && status == VLMP_OK; i++) {
        if (!room_for(WORK_BYTES))
            status = vlmp_fail(err, VLMP_ERR_SYSTEM,
                               "out of memory: OpenBLAS needs %zu MB of address space for each of "
                               "%d threads; raise the limit (ulimit -v) or give fewer --threads",
                               WORK_BYTES >> 20, callers);
        else if (blas->memory_alloc != NULL)
            taken[count++] = blas->memory_alloc(0);
    }
    while (count > 0)
        blas->memory_free(taken[--count]);
    free(taken);
    return status;
}

/* Symbols that not every build shows. */
static void bind_memory(vlmp_blas *blas, void *handle)
{
    void *alloc = dlsym(handle, "blas_memory_alloc"), *release = dlsym(handle, "blas_memory_free");
    if (alloc == NULL || release == NULL) return;
    memcpy(&blas->memory_alloc, &alloc, sizeof alloc);
    memcpy(&blas->memory_free, &release, sizeof release);
}

static int open_with(vlmp_blas *blas, int callers, vlmp_error *err)
{
    const char *core = fastest_core();
    /* Without them the library would choose other kernels, and so other bits. */
    if ((core != NULL && setenv("OPENBLAS_CORETYPE", core, 0) != 0) ||
        setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0)
        return vlmp_fail_memory(err, "environment of BLAS");
    /* The handle is never closed: unloading OpenBLAS under live threads is not safe, and opening
     * it again gives the same one. */
    void *handle;
    VLMP_TRY(open_library(blas, &handle, err));
    VLMP_TRY(bind_symbols(blas, handle, err));
    bind_memory(blas, handle);
    blas->set_num_threads(1);
    describe(blas);
    VLMP_TRY(reserve_work(blas, callers, err));
    return vlmp_blas_check(blas, err);
}

int vlmp_blas_open(vlmp_blas **out, int callers, vlmp_error *err)
{
    *out = NULL;
    vlmp_blas *blas = vlmp_calloc(1, sizeof *blas);
    if (blas == NULL) return vlmp_fail_memory(err, "BLAS table");
    int status = open_with(blas, callers, err);
    if (status != VLMP_OK) {
        vlmp_blas_close(blas);
        return status;
    }
    *out = blas;
    return VLMP_OK;
}

void vlmp_blas_close(vlmp_blas *blas)
{
    free(blas);
}

const char *vlmp_blas_describe(const vlmp_blas *blas)
{
    return blas->describe;
}

void vlmp_sgemm(const vlmp_blas *blas, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    if (m <= 0 || n <= 0) return;
    blas->sgemm(BLAS_ROW_MAJOR, trans_a ? BLAS_TRANS : BLAS_NO_TRANS,
                trans_b ? BLAS_TRANS : BLAS_NO_TRANS, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void vlmp_ssyrk(const vlmp_blas *blas, int n, int k, const float *x, int ldx, float beta, float *c,
                int ldc)
{
    if (n <= 0) return;
    blas->ssyrk(BLAS_ROW_MAJOR, BLAS_LOWER, BLAS_TRANS, n, k, 1, x, ldx, beta, c, ldc);
}
