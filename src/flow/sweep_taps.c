/* Outputs of tower layers on their way behind layers of the text model. */
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/flow/sweep.h"

int vlmp_sweep_create_added(const vlmp_sweep *sweep, vlmp_batches *batches, vlmp_error *err)
{
    const vlmp_config *config = &sweep->model->config;
    vlmp_added_rows *added = &batches->added;
    if (config->vision.tap_count == 0) return VLMP_OK;
    added->rows = (vlmp_activations){.fd = -1};
    added->taps = config->vision.tap_count;
    return vlmp_activations_create(&added->rows, (size_t)added->taps * added->count,
                                   config->text.hidden, sweep->memory_limit, sweep->work_folder,
                                   err);
}

/* What adding works with, for a batch of rows. */
struct adding {
    vlmp_f32 x;
    vlmp_act rows;
    vlmp_i32 from, to;
    int32_t *list;
};

static int create(struct adding *a, vlmp_ctx *ctx, size_t rows, size_t dim, vlmp_error *err)
{
    static const char what[] = "rows of taps";
    a->list = vlmp_alloc(rows, sizeof *a->list);
    if (a->list == NULL) return vlmp_fail_memory(err, what);
    VLMP_TRY(vlmp_ctx_alloc(ctx, &a->x, rows, dim * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &a->rows, rows, dim * ctx->ops->act_bytes, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &a->from, rows, sizeof(int32_t), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &a->to, rows, sizeof(int32_t), what, err));
    for (size_t i = 0; i < rows; i++)
        a->list[i] = (int32_t)i;
    vlmp_ctx_write(ctx, a->from.at, a->list, rows * sizeof *a->list);
    return VLMP_OK;
}

static int add_to_batch(struct adding *a, vlmp_ctx *ctx, vlmp_activations *x,
                        const vlmp_batch *batch, vlmp_added_rows *added, int tap, vlmp_error *err)
{
    size_t first = batch->first_row, rows = (size_t)batch->rows, from;
    size_t count = vlmp_added_rows_in(added, first, first + rows, &from);
    if (count == 0) return VLMP_OK;
    VLMP_TRY(vlmp_activations_upload(x, first, rows, ctx, a->x, err));
    VLMP_TRY(vlmp_activations_upload_act(&added->rows, (size_t)tap * added->count + from, count,
                                         ctx, a->rows, err));
    for (size_t i = 0; i < count; i++)
        a->list[i] = added->places[from + i] - (int32_t)first;
    vlmp_ctx_write(ctx, a->to.at, a->list, count * sizeof *a->list);
    ctx->ops->scatter(ctx, a->x, a->to, a->rows, a->from, (vlmp_f32){NULL}, (int)count, x->dim,
                      true);
    return vlmp_activations_download(x, first, rows, ctx, a->x, err);
}

int vlmp_sweep_add_taps(const vlmp_sweep *sweep, vlmp_activations *x, const vlmp_batches *batches,
                        int done, vlmp_error *err)
{
    vlmp_added_rows added = batches->added;
    vlmp_ctx *ctx = sweep->ctx;
    struct adding a = {0};
    if (done < 1 || done > added.taps || added.count == 0) return VLMP_OK;
    int status = create(&a, ctx, (size_t)batches->max_rows, (size_t)x->dim, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++)
        status = add_to_batch(&a, ctx, x, &batches->batches[i], &added, done - 1, err);
    free(a.list);
    vlmp_ctx_free_memory(ctx, a.x.at);
    vlmp_ctx_free_memory(ctx, a.rows.at);
    vlmp_ctx_free_memory(ctx, a.from.at);
    vlmp_ctx_free_memory(ctx, a.to.at);
    return status;
}
