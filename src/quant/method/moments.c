#include "src/quant/method/moments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"

static void list(vlmp_moments *m, float **out[VLMP_MOMENTS])
{
    float **const all[VLMP_MOMENTS] = {&m->gram,       &m->held,  &m->cross,
                                       &m->held_cross, &m->shift, &m->held_shift};
    memcpy(out, all, sizeof all);
}

static size_t matrix_bytes(const vlmp_moments *m)
{
    return (size_t)m->k * (size_t)m->k * sizeof(float);
}

/* The set of matrices that there are. */
static unsigned existing(const vlmp_moments *m)
{
    unsigned seen = m->original ? VLMP_GRAM | VLMP_CROSS | VLMP_SHIFT : VLMP_GRAM;
    return m->held_out ? seen | seen << 1 : seen;
}

int vlmp_moments_create(vlmp_moments *moments, int k, bool held, bool original, const char *folder,
                        vlmp_error *err)
{
    float **all[VLMP_MOMENTS];
    size_t square;
    *moments = (vlmp_moments){.k = k, .held_out = held, .original = original, .fd = -1};
    list(moments, all);
    if (folder != NULL) moments->folder = strdup(folder);
    bool ok =
        vlmp_mul_size((size_t)k, (size_t)k, &square) && (folder == NULL || moments->folder != NULL);
    unsigned wanted = existing(moments) & (folder != NULL ? VLMP_GRAM : ~0u);
    for (int i = 0; i < VLMP_MOMENTS && ok; i++) {
        if ((wanted >> i & 1) == 0) continue;
        *all[i] = vlmp_calloc(square, sizeof(float));
        ok = *all[i] != NULL;
    }
    if (ok) return VLMP_OK;
    vlmp_moments_free(moments);
    return vlmp_fail_memory(err, "second moments of a site's inputs");
}

void vlmp_moments_free(vlmp_moments *moments)
{
    float **all[VLMP_MOMENTS];
    list(moments, all);
    for (int i = 0; i < VLMP_MOMENTS; i++)
        free(*all[i]);
    if (moments->folder != NULL && moments->fd >= 0) close(moments->fd);
    free(moments->folder);
    *moments = (vlmp_moments){.fd = -1};
}

static int open_file(vlmp_moments *m, vlmp_error *err)
{
    char path[4200];
    if (m->fd >= 0) return VLMP_OK;
    snprintf(path, sizeof path, "%s/moments-XXXXXX", m->folder);
    m->fd = mkstemp(path);
    if (m->fd < 0) return vlmp_fail_errno(err, "%s: cannot create the work file", path);
    unlink(path);
    return VLMP_OK;
}

static int put_away(vlmp_moments *m, int i, float **matrix, vlmp_error *err)
{
    size_t bytes = matrix_bytes(m);
    if ((m->changed >> i & 1) != 0) {
        VLMP_TRY(open_file(m, err));
        if (lseek(m->fd, (off_t)(bytes * (size_t)i), SEEK_SET) < 0)
            return vlmp_fail_errno(err, "cannot seek in the work file of moments");
        VLMP_TRY(vlmp_write_all(m->fd, *matrix, bytes, m->folder, err));
        m->there |= 1u << i;
        m->changed &= ~(1u << i);
    }
    free(*matrix);
    *matrix = NULL;
    return VLMP_OK;
}

static void unscale(float *matrix, int k, const float *scales)
{
    size_t width = (size_t)k;
    for (size_t at = 0; at < width * width; at++)
        matrix[at] *= scales[at / width] * scales[at % width];
}

static int bring(vlmp_moments *m, int i, float **matrix, vlmp_error *err)
{
    size_t bytes = matrix_bytes(m);
    bool there = (m->there >> i & 1) != 0;
    *matrix = there ? vlmp_alloc(bytes, 1) : vlmp_calloc(bytes, 1);
    if (*matrix == NULL) return vlmp_fail_memory(err, "second moments of a site's inputs");
    if (there)
        VLMP_TRY(vlmp_file_read_at(m->fd, *matrix, bytes, (uint64_t)bytes * (unsigned)i, m->folder,
                                   err));
    if (m->scales != NULL) unscale(*matrix, m->k, m->scales);
    return VLMP_OK;
}

int vlmp_moments_hold(vlmp_moments *moments, unsigned set, vlmp_error *err)
{
    float **all[VLMP_MOMENTS];
    if (moments->folder == NULL) return VLMP_OK;
    list(moments, all);
    for (int i = 1; i < VLMP_MOMENTS; i++)
        if (*all[i] != NULL && (set >> i & 1) == 0) VLMP_TRY(put_away(moments, i, all[i], err));
    for (int i = 1; i < VLMP_MOMENTS; i++)
        if (*all[i] == NULL && ((set & existing(moments)) >> i & 1) != 0)
            VLMP_TRY(bring(moments, i, all[i], err));
    return VLMP_OK;
}

void vlmp_moments_add(vlmp_moments *moments, vlmp_ctx *ctx, unsigned set, const float *x,
                      const float *difference, int rows)
{
    float **all[VLMP_MOMENTS];
    int k = moments->k;
    list(moments, all);
    moments->changed |= set;
    for (int i = 0; i < VLMP_MOMENTS; i++) {
        unsigned which = set & 1u << i;
        if (which & (VLMP_GRAM | VLMP_HELD)) ctx->ops->gram(ctx, *all[i], x, rows, k);
        if (which & (VLMP_CROSS | VLMP_HELD_CROSS))
            ctx->ops->gemm(ctx, true, false, k, k, rows, 1.0f, difference, k, x, k, 1.0f, *all[i],
                           k);
        if (which & (VLMP_SHIFT | VLMP_HELD_SHIFT))
            ctx->ops->gram(ctx, *all[i], difference, rows, k);
    }
}

int vlmp_moments_unscale(vlmp_moments *moments, const float *scales, vlmp_error *err)
{
    float **all[VLMP_MOMENTS];
    VLMP_TRY(vlmp_moments_hold(moments, 0, err));
    list(moments, all);
    for (int i = 0; i < VLMP_MOMENTS; i++)
        if (*all[i] != NULL) unscale(*all[i], moments->k, scales);
    if (moments->folder != NULL) moments->scales = scales;
    return VLMP_OK;
}
