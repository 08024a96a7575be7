#include "src/quant/run/selection.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/base/rng.h"
#include "src/quant/run/holdout.h"

/* The most inputs of a site that is quantized by statistics, in the tower with its projector, or in
 * the text model with its head; 0: none is. */
static int widest_inputs(const vlmp_quantize_job *job, bool tower)
{
    int widest = 0;
    for (int i = 0; i < job->linear_count; i++) {
        const vlmp_linear_info *info = &job->linears[i];
        bool of_tower =
            info->component == VLMP_COMPONENT_VISION || info->component == VLMP_COMPONENT_PROJECTOR;
        /* a table that is no head has no inputs */
        bool counts = info->component != VLMP_COMPONENT_EMBED || job->sweep.model->config.text.tied;
        if (of_tower == tower && counts && info->k > widest &&
            vlmp_method_needs_calibration(job->plan->entries[i].method))
            widest = info->k;
    }
    return widest;
}

static int64_t default_tokens(const vlmp_quantize_job *job)
{
    int text = widest_inputs(job, false), tower = widest_inputs(job, true);
    int64_t wanted = VLMP_TOKENS_AN_INPUT * (int64_t)(text > tower ? text : tower);
    return wanted > VLMP_TOKENS_LEAST ? wanted : VLMP_TOKENS_LEAST;
}

/* Rows of the samples drawn. */
struct rows {
    int64_t tokens, pictures, tower;
};

/* Draws from the samples that are held out or not, and lists them behind what is listed. */
static int draw_half(vlmp_selection *s, const vlmp_quantize_job *job, const bool *held, bool half,
                     const vlmp_draw_budget *budget, struct rows *rows, vlmp_error *err)
{
    size_t all = job->calibration->count, count = 0;
    vlmp_draw_item *items = vlmp_alloc(all, sizeof *items);
    int *of = vlmp_alloc(all, sizeof *of);
    bool *drawn = vlmp_alloc(all, sizeof *drawn);
    int status = items != NULL && of != NULL && drawn != NULL
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "calibration samples");
    for (size_t i = 0; i < all && status == VLMP_OK; i++) {
        if (held[i] != half) continue;
        of[count] = (int)i;
        items[count++] = vlmp_calib_draw_item(&job->calibration->samples[i], job->sweep.model);
    }
    if (status == VLMP_OK && count > 0)
        status = vlmp_draw_samples(items, count, budget, s->seed, drawn, err);
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        s->tokens += items[i].tokens;
        if (!drawn[i]) continue;
        s->order[s->seen + s->held] = of[i];
        *(half ? &s->held : &s->seen) += 1;
        rows->tokens += items[i].tokens;
        rows->pictures += items[i].pictures;
        rows->tower += items[i].tower_rows;
    }
    free(items);
    free(of);
    free(drawn);
    return status;
}

static int stride_of(int64_t rows, int64_t wanted)
{
    int64_t stride = rows / (wanted > 1 ? wanted : 1);
    if (stride > VLMP_STRIDE_MOST) stride = VLMP_STRIDE_MOST;
    return stride > 1 ? (int)stride : 1;
}

static int draw(vlmp_selection *s, const vlmp_quantize_job *job, int64_t tokens, const bool *held,
                vlmp_error *err)
{
    bool all = tokens == 0, chosen = tokens == VLMP_TOKENS_AUTO;
    s->budget = chosen ? default_tokens(job) : tokens;
    vlmp_draw_budget budget = {.samples = all ? INT64_MAX : chosen ? VLMP_SAMPLES_LEAST : 1};
    if (widest_inputs(job, false) > 0) budget.tokens = s->budget;
    if (widest_inputs(job, true) > 0) budget.tower_rows = s->budget;
    struct rows seen = {0}, kept = {0};
    VLMP_TRY(draw_half(s, job, held, false, &budget, &seen, err));
    /* every VLMP_HOLD_OUT-th is held out, of what is drawn too */
    const int share = VLMP_HOLD_OUT - 1;
    budget.tokens = (budget.tokens + share - 1) / share;
    budget.tower_rows = (budget.tower_rows + share - 1) / share;
    if (!all) budget.samples = (budget.samples + share - 1) / share;
    VLMP_TRY(draw_half(s, job, held, true, &budget, &kept, err));
    s->seen_tokens = seen.tokens;
    s->held_tokens = kept.tokens;
    s->stride = s->tower_stride = 1;
    if (budget.tokens > 0)
        s->stride = stride_of(seen.pictures, s->budget - (seen.tokens - seen.pictures));
    if (budget.tower_rows > 0) s->tower_stride = stride_of(seen.tower, s->budget);
    if (s->seen + s->held == s->samples && s->stride == 1 && s->tower_stride == 1) s->budget = 0;
    return VLMP_OK;
}

int vlmp_select(vlmp_selection *selection, const vlmp_quantize_job *job, int64_t tokens,
                uint64_t seed, vlmp_error *err)
{
    size_t count = job->calibration->count;
    bool *held = vlmp_alloc(count, sizeof *held);
    *selection = (vlmp_selection){
        .seed = seed, .samples = (int)count, .order = vlmp_alloc(count, sizeof *selection->order)};
    int status = VLMP_OK;
    if (held != NULL && selection->order != NULL) {
        vlmp_hold_out(job->calibration, held);
        status = draw(selection, job, tokens, held, err);
    } else {
        status = vlmp_fail_memory(err, "calibration samples");
    }
    free(held);
    if (status != VLMP_OK) vlmp_selection_free(selection);
    return status;
}

void vlmp_selection_free(vlmp_selection *selection)
{
    free(selection->order);
    *selection = (vlmp_selection){0};
}

/* Of each run of `stride` rows one counts, by lot: a fixed one would keep to columns of a picture.
 */
static bool counts(uint64_t seed, size_t row, int stride)
{
    size_t step = (size_t)stride;
    vlmp_rng rng = {seed ^ (uint64_t)(row / step)};
    return vlmp_rng_below(&rng, step) == row % step;
}

/* out: the rows of x that count, those of pictures times √stride. Returns how many. */
static int gather(const vlmp_quantize_job *job, bool tower, const vlmp_batch *batch, int stride,
                  const float *x, size_t k, float *out)
{
    const vlmp_sequence *sequence = tower ? NULL : &job->sweep.sequences[batch->first];
    const float root = sqrtf((float)stride);
    int taken = 0, token = 0;
    for (int r = 0; r < batch->rows; r++, token++) {
        while (!tower && token == sequence->length)
            sequence++, token = 0;
        bool picture = tower || sequence->ids[token] == job->sweep.model->config.image_token;
        if (picture && !counts(job->selection->seed, batch->first_row + (size_t)r, stride))
            continue;
        const float *from = x + (size_t)r * k;
        float *to = out + (size_t)taken++ * k;
        for (size_t j = 0; j < k; j++)
            to[j] = picture ? from[j] * root : from[j];
    }
    return taken;
}

/* *out: the rows that count, in the context's memory; the caller's to free, after a failure too. */
static int thin(const vlmp_quantize_job *job, bool tower, const vlmp_batch *batch, int stride,
                vlmp_act x, size_t k, vlmp_act *out, int *rows, vlmp_error *err)
{
    static const char what[] = "a batch of activations";
    vlmp_ctx *ctx = job->sweep.ctx;
    size_t values = (size_t)batch->rows * k;
    float *all = vlmp_alloc(values, sizeof *all), *taken = vlmp_alloc(values, sizeof *taken);
    int status = all != NULL && taken != NULL ? ctx->ops->read_act(ctx, all, x, values, err)
                                              : vlmp_fail_memory(err, what);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, out, values, ctx->ops->act_bytes, what, err);
    if (status == VLMP_OK) {
        *rows = gather(job, tower, batch, stride, all, k, taken);
        ctx->ops->write_act(ctx, *out, taken, (size_t)*rows * k);
    }
    free(all);
    free(taken);
    return status;
}

int vlmp_selection_add(const vlmp_quantize_job *job, vlmp_moments *moments, bool tower,
                       const vlmp_batch *batch, unsigned set, vlmp_act x, vlmp_act difference,
                       vlmp_error *err)
{
    int stride = tower ? job->selection->tower_stride : job->selection->stride, rows = batch->rows;
    vlmp_act some = {NULL}, missed = {NULL};
    int status = VLMP_OK;
    if (stride > 1) {
        size_t k = (size_t)moments->k;
        status = thin(job, tower, batch, stride, x, k, &some, &rows, err);
        if (status == VLMP_OK && difference.at != NULL)
            status = thin(job, tower, batch, stride, difference, k, &missed, &rows, err);
        x = some;
        difference = missed;
    }
    if (status == VLMP_OK && rows > 0) vlmp_moments_add(moments, set, x, difference, rows);
    vlmp_ctx_free_memory(job->sweep.ctx, some.at);
    vlmp_ctx_free_memory(job->sweep.ctx, missed.at);
    return status;
}
