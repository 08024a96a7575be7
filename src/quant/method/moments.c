#include "src/quant/method/moments.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"
#include "src/quant/method/lend.h"

static const char what[] = "second moments of a site's inputs";

enum {
    PIECE = 4 << 20
}; /* bytes that pass through the host at a time, to the work file and back */

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
    float **all[VLMP_MOMENTS];
    list(moments, all);
    for (int i = 0; i < VLMP_MOMENTS; i++)
        if ((wanted >> i & 1) != 0)
            VLMP_TRY(vlmp_ctx_alloc(ctx, all[i], (size_t)k, (size_t)k * sizeof(float), what, err));
    return VLMP_OK;
}

static void drop(vlmp_moments *m, float **matrix)
{
    vlmp_ctx_free_memory(m->ctx, *matrix);
    *matrix = NULL;
}

void vlmp_moments_free(vlmp_moments *moments)
{
    float **all[VLMP_MOMENTS];
    list(moments, all);
    for (int i = 0; i < VLMP_MOMENTS && moments->ctx != NULL; i++)
        drop(moments, all[i]);
    if (moments->folder != NULL && moments->fd >= 0) close(moments->fd);
    free(moments->folder);
    *moments = (vlmp_moments){.fd = -1};
}

/* Of a sum that is of a triangle, the other one. */
static void complete(vlmp_moments *m, int i, float *matrix)
{
    if ((1u << i & (VLMP_CROSS | VLMP_HELD_CROSS)) == 0)
        m->ctx->ops->quant->mirror(m->ctx, matrix, m->k);
}

static int open_file(vlmp_moments *m, vlmp_error *err)
{
    char path[4200];
    if (m->fd >= 0) return VLMP_OK;
    snprintf(path, sizeof path, "%s/moments-XXXXXX", m->folder);
    return vlmp_workfile_create(&m->fd, path, err);
}

/* A matrix to its place in the work file, or back from there. */
static int move_pieces(vlmp_moments *m, int i, float *matrix, bool back, vlmp_error *err)
{
    size_t bytes = matrix_bytes(m), now;
    unsigned char *at = (unsigned char *)matrix, *piece = vlmp_alloc(PIECE, 1);
    int status = piece != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
    if (status == VLMP_OK && !back && lseek(m->fd, (off_t)(bytes * (size_t)i), SEEK_SET) < 0)
        status = vlmp_fail_errno(err, "cannot seek in the work file of moments");
    for (size_t done = 0; done < bytes && status == VLMP_OK; done += now) {
        now = bytes - done < PIECE ? bytes - done : PIECE;
        if (back) {
            status = vlmp_file_read_at(m->fd, piece, now, (uint64_t)bytes * (unsigned)i + done,
                                       m->folder, err);
            if (status == VLMP_OK) vlmp_ctx_write(m->ctx, at + done, piece, now);
        } else {
            status = vlmp_ctx_read(m->ctx, piece, at + done, now, err);
            if (status == VLMP_OK) status = vlmp_write_all(m->fd, piece, now, m->folder, err);
        }
    }
    free(piece);
    return status;
}

static int put_away(vlmp_moments *m, int i, float **matrix, vlmp_error *err)
{
    if (!m->finished) complete(m, i, *matrix);
    if ((m->changed >> i & 1) != 0) {
        VLMP_TRY(open_file(m, err));
        VLMP_TRY(move_pieces(m, i, *matrix, false, err));
        m->there |= 1u << i;
        m->changed &= ~(1u << i);
    }
    drop(m, matrix);
    return VLMP_OK;
}

static int unscale(vlmp_moments *m, float *const *matrices, int count, vlmp_error *err)
{
    const float *scales;
    size_t bytes = (size_t)m->k * sizeof *scales;
    VLMP_TRY(vlmp_lend(m->ctx, &scales, m->scales, bytes, what, err));
    for (int i = 0; i < count; i++)
        if (matrices[i] != NULL)
            m->ctx->ops->quant->scale_both(m->ctx, matrices[i], m->k, scales, false);
    vlmp_lend_end(m->ctx, scales, m->scales);
    return VLMP_OK;
}

static int bring(vlmp_moments *m, int i, float **matrix, vlmp_error *err)
{
    bool there = (m->there >> i & 1) != 0;
    VLMP_TRY(vlmp_ctx_alloc(m->ctx, matrix, matrix_bytes(m), 1, what, err));
    assert(m->finished || !there);
    if (there) VLMP_TRY(move_pieces(m, i, *matrix, true, err));
    return m->scales != NULL ? unscale(m, matrix, 1, err) : VLMP_OK;
}

int vlmp_moments_hold(vlmp_moments *moments, unsigned set, vlmp_error *err)
{
    float **all[VLMP_MOMENTS];
    if (moments->folder == NULL) return VLMP_OK;
    list(moments, all);
    bool here[VLMP_MOMENTS];
    for (int i = 1; i < VLMP_MOMENTS; i++) {
        here[i] = *all[i] != NULL;
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
    float **all[VLMP_MOMENTS];
    list(moments, all);
    moments->changed |= set;
    for (int i = 0; i < VLMP_MOMENTS; i++) {
        unsigned which = set & 1u << i;
        vlmp_f32 sum = {*all[i]};
        if ((which & (VLMP_GRAM | VLMP_HELD)) != 0) ops->gram(ctx, sum, x, rows, moments->k);
        if ((which & (VLMP_CROSS | VLMP_HELD_CROSS)) != 0)
            ops->cross(ctx, sum, difference, x, rows, moments->k);
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
        if (*all[i] != NULL) complete(moments, i, *all[i]);
    return vlmp_ctx_sync(moments->ctx, err);
}

int vlmp_moments_unscale(vlmp_moments *moments, const float *scales, vlmp_error *err)
{
    float **all[VLMP_MOMENTS], *matrices[VLMP_MOMENTS];
    VLMP_TRY(vlmp_moments_hold(moments, 0, err));
    list(moments, all);
    for (int i = 0; i < VLMP_MOMENTS; i++)
        matrices[i] = *all[i];
    moments->scales = scales;
    int status = unscale(moments, matrices, VLMP_MOMENTS, err);
    if (moments->folder == NULL) moments->scales = NULL;
    return status;
}
