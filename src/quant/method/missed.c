#include "src/quant/method/missed.h"

#include <assert.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/quant/method/guard.h"

static const char what[] = "what a site's inputs miss";

int vlmp_missed_create(vlmp_missed *missed, vlmp_ctx *ctx, int linears, int k, int batch_rows,
                       vlmp_error *err)
{
    size_t n = (size_t)linears * VLMP_GUARD_ROWS, batch = (size_t)batch_rows;
    assert(linears <= VLMP_MISSED_LINEARS);
    *missed = (vlmp_missed){.ctx = ctx, .rows = {.k = k, .dtype = VLMP_F32}};
    missed->w = vlmp_alloc(n, (size_t)k * sizeof *missed->w);
    if (missed->w == NULL) return vlmp_fail_memory(err, what);
    VLMP_TRY(vlmp_ctx_alloc(ctx, &missed->out, batch, n * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &missed->sizes, n, sizeof(double), what, err));
    for (int held = 0; held < 2; held++)
        VLMP_TRY(vlmp_ctx_alloc(ctx, &missed->squares[held], n, sizeof(double), what, err));
    return vlmp_ctx_alloc(ctx, &missed->kinds, batch, sizeof(int32_t), what, err);
}

void vlmp_missed_free(vlmp_missed *missed)
{
    vlmp_ctx *ctx = missed->ctx;
    if (ctx == NULL) return;
    if (missed->rows.own != NULL) ctx->ops->release(ctx, missed->rows.own);
    vlmp_ctx_free_memory(ctx, missed->out.at);
    vlmp_ctx_free_memory(ctx, missed->sizes.at);
    for (int held = 0; held < 2; held++)
        vlmp_ctx_free_memory(ctx, missed->squares[held].at);
    vlmp_ctx_free_memory(ctx, missed->kinds.at);
    free(missed->w);
    *missed = (vlmp_missed){0};
}

void vlmp_missed_linear(vlmp_missed *missed, const float *w, int n)
{
    vlmp_linear *rows = &missed->rows;
    assert(missed->count < VLMP_MISSED_LINEARS);
    rows->n += vlmp_guard_sample(missed->w + (size_t)rows->n * (size_t)rows->k, w, n, rows->k);
    missed->first[++missed->count] = rows->n;
}

int vlmp_missed_begin(vlmp_missed *missed, vlmp_error *err)
{
    missed->rows.weight = missed->w;
    return missed->ctx->ops->prepare(missed->ctx, &missed->rows, err);
}

void vlmp_missed_add(vlmp_missed *missed, bool held, vlmp_act difference, int rows)
{
    vlmp_ctx *ctx = missed->ctx;
    ctx->ops->linear_f32(ctx, missed->out, difference, (vlmp_rows){.count = rows}, &missed->rows,
                         false);
    ctx->ops->column_sizes_f32(ctx, missed->sizes, missed->squares[held], (vlmp_f32){NULL},
                               missed->out, rows, missed->rows.n, missed->kinds);
}

int vlmp_missed_take(const vlmp_missed *missed, double (*out)[2], vlmp_error *err)
{
    size_t n = (size_t)missed->rows.n;
    double *squares = vlmp_alloc(n, sizeof *squares);
    int status = squares != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
    for (int held = 0; held < 2 && status == VLMP_OK; held++) {
        status =
            vlmp_ctx_read(missed->ctx, squares, missed->squares[held].at, n * sizeof *squares, err);
        for (int i = 0; i < missed->count && status == VLMP_OK; i++) {
            out[i][held] = 0;
            for (int row = missed->first[i]; row < missed->first[i + 1]; row++)
                out[i][held] += squares[row];
        }
    }
    free(squares);
    return status;
}
