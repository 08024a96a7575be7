#include "src/quant/method/moments.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"
#include "src/quant/method/linalg.h"

static const char what[] = "second moments of a site's inputs";

static void list(vlmp_moments *m, float **out[VLMP_MOMENTS])
{
    float **const all[VLMP_MOMENTS] = {&m->gram, &m->held, &m->cross, &m->held_cross};
    memcpy(out, all, sizeof all);
}

static size_t matrix_bytes(const vlmp_moments *m)
{
    return (size_t)m->k * (size_t)m->k * sizeof(float);
}

/* The set of matrices that there are. */
static unsigned existing(const vlmp_moments *m)
{
    unsigned seen = m->original ? VLMP_GRAM | VLMP_CROSS : VLMP_GRAM;
    return m->held_out ? seen | seen << 1 : seen;
}

int vlmp_moments_create(vlmp_moments *moments, vlmp_ctx *ctx, int k, bool held, bool original,
                        const char *folder, vlmp_error *err)
{
    *moments = (vlmp_moments){.ctx = ctx, .k = k, .held_out = held, .original = original, .fd = -1};
    if (folder != NULL) moments->folder = strdup(folder);
    if (folder != NULL && moments->folder == NULL) return vlmp_fail_memory(err, what);
    unsigned wanted = existing(moments) & (folder != NULL ? VLMP_GRAM : ~0u);
    for (int i = 0; i < VLMP_MOMENTS; i++)
        if ((wanted >> i & 1) != 0)
            VLMP_TRY(vlmp_ctx_alloc(ctx, &moments->sums[i], (size_t)k, (size_t)k * sizeof(float),
                                    what, err));
    return VLMP_OK;
}

static void drop(vlmp_moments *m, int i, float **matrix)
{
    if (*matrix != m->sums[i].at) free(*matrix);
    vlmp_ctx_free_memory(m->ctx, m->sums[i].at);
    *matrix = m->sums[i].at = NULL;
}

void vlmp_moments_free(vlmp_moments *moments)
{
    float **all[VLMP_MOMENTS];
    list(moments, all);
    for (int i = 0; i < VLMP_MOMENTS && moments->ctx != NULL; i++)
        drop(moments, i, all[i]);
    if (moments->folder != NULL && moments->fd >= 0) close(moments->fd);
    free(moments->folder);
    *moments = (vlmp_moments){.fd = -1};
}

/* From the context's memory to where the host reads it: the same place, or a copy; whole where the
 * sum is of a triangle. */
static int to_host(vlmp_moments *m, int i, float **matrix, vlmp_error *err)
{
    *matrix = m->ctx->ops->map(m->ctx, m->sums[i].at);
    if (*matrix == NULL) {
        *matrix = vlmp_alloc(matrix_bytes(m), 1);
        if (*matrix == NULL) return vlmp_fail_memory(err, what);
        VLMP_TRY(vlmp_ctx_read(m->ctx, *matrix, m->sums[i].at, matrix_bytes(m), err));
        vlmp_ctx_free_memory(m->ctx, m->sums[i].at);
        m->sums[i].at = NULL;
    }
    if ((1u << i & (VLMP_CROSS | VLMP_HELD_CROSS)) == 0) vlmp_mirror(m->ctx, *matrix, m->k);
    return VLMP_OK;
}

static int open_file(vlmp_moments *m, vlmp_error *err)
{
    char path[4200];
    if (m->fd >= 0) return VLMP_OK;
    snprintf(path, sizeof path, "%s/moments-XXXXXX", m->folder);
    return vlmp_workfile_create(&m->fd, path, err);
}

static int put_away(vlmp_moments *m, int i, float **matrix, vlmp_error *err)
{
    size_t bytes = matrix_bytes(m);
    if (*matrix == NULL) VLMP_TRY(to_host(m, i, matrix, err));
    if ((m->changed >> i & 1) != 0) {
        VLMP_TRY(open_file(m, err));
        if (lseek(m->fd, (off_t)(bytes * (size_t)i), SEEK_SET) < 0)
            return vlmp_fail_errno(err, "cannot seek in the work file of moments");
        VLMP_TRY(vlmp_write_all(m->fd, *matrix, bytes, m->folder, err));
        m->there |= 1u << i;
        m->changed &= ~(1u << i);
    }
    drop(m, i, matrix);
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
    if (!m->finished) {
        assert(!there);
        return vlmp_ctx_alloc(m->ctx, &m->sums[i], bytes, 1, what, err);
    }
    *matrix = there ? vlmp_alloc(bytes, 1) : vlmp_calloc(bytes, 1);
    if (*matrix == NULL) return vlmp_fail_memory(err, what);
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
    bool here[VLMP_MOMENTS];
    for (int i = 1; i < VLMP_MOMENTS; i++) {
        here[i] = *all[i] != NULL || moments->sums[i].at != NULL;
        if (!here[i] || (set >> i & 1) != 0) continue;
        VLMP_TRY(put_away(moments, i, all[i], err));
        here[i] = false;
    }
    for (int i = 1; i < VLMP_MOMENTS; i++)
        if (!here[i] && ((set & existing(moments)) >> i & 1) != 0)
            VLMP_TRY(bring(moments, i, all[i], err));
    return VLMP_OK;
}

void vlmp_moments_add(vlmp_moments *moments, unsigned set, vlmp_act x, vlmp_act difference,
                      int rows)
{
    vlmp_ctx *ctx = moments->ctx;
    const vlmp_ops *ops = ctx->ops;
    moments->changed |= set;
    for (int i = 0; i < VLMP_MOMENTS; i++) {
        unsigned which = set & 1u << i;
        if ((which & (VLMP_GRAM | VLMP_HELD)) != 0)
            ops->gram(ctx, moments->sums[i], x, rows, moments->k);
        if ((which & (VLMP_CROSS | VLMP_HELD_CROSS)) != 0)
            ops->cross(ctx, moments->sums[i], difference, x, rows, moments->k);
        if ((which & (VLMP_CROSS | VLMP_HELD_CROSS)) != 0 && moments->missed != NULL)
            vlmp_missed_add(moments->missed, which == VLMP_HELD_CROSS, difference, rows);
    }
}

int vlmp_moments_finish(vlmp_moments *moments, vlmp_error *err)
{
    float **all[VLMP_MOMENTS];
    VLMP_TRY(vlmp_moments_hold(moments, 0, err));
    moments->finished = true;
    list(moments, all);
    for (int i = 0; i < VLMP_MOMENTS; i++)
        if (moments->sums[i].at != NULL) VLMP_TRY(to_host(moments, i, all[i], err));
    return VLMP_OK;
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
