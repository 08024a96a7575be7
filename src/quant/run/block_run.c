/* The two ways of gathering a block's statistics. */
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/awq.h"
#include "src/quant/run/block_job.h"
#include "src/quant/run/selection.h"
#include "src/quant/run/walk.h"

static bool site_needs_moments(const vlmp_block_job *b, vlmp_site site)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site &&
            vlmp_method_needs_calibration(b->linears[i].entry->method))
            return true;
    return false;
}

static bool site_needs_cross(const vlmp_block_job *b, vlmp_site site)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site && b->linears[i].entry->target == VLMP_TARGET_OUTPUTS)
            return true;
    return false;
}

struct walks {
    vlmp_walk quantized;
    vlmp_walk original; /* only with a flow of the original model */
    bool two;
    vlmp_act difference; /* [max rows][widest site] */
    vlmp_f32 scales;     /* [widest site] AWQ's of the site at work */
};

/* What original inputs x₀ are divided by, since x is by AWQ's scales already; at NULL: nothing. */
static vlmp_f32 set_scales(const vlmp_block_job *b, const struct walks *walks, vlmp_site site)
{
    const float *scales = b->fold.scales[site];
    if (scales == NULL || walks->scales.at == NULL) return (vlmp_f32){NULL};
    vlmp_ctx_write(b->job->sweep.ctx, walks->scales.at, scales,
                   (size_t)vlmp_site_dim(&b->stack->shape, site) * sizeof *scales);
    return walks->scales;
}

/* All batches to a site, or with `again` past it once more; a set of moments of the samples seen,
 * and that of the samples held out, gets their inputs. moments NULL: none are wanted. */
static int advance(vlmp_block_job *b, struct walks *walks, vlmp_site site, bool again,
                   vlmp_moments *moments, unsigned set, vlmp_error *err)
{
    vlmp_ctx *ctx = b->job->sweep.ctx;
    const vlmp_batches *batches = walks->quantized.batches;
    const volatile sig_atomic_t *interrupted = b->job->sweep.interrupted;
    bool tower = b->stack == &b->job->sweep.model->vision;
    vlmp_f32 scales = set_scales(b, walks, site);
    for (int i = 0; i < batches->count; i++) {
        vlmp_act input, original = {NULL}, difference = {NULL};
        int rows = batches->batches[i].rows;
        if (interrupted != NULL && *interrupted)
            return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        VLMP_TRY((again ? vlmp_walk_again : vlmp_walk_to)(&walks->quantized, i, site, &input, err));
        if (walks->two)
            VLMP_TRY((again ? vlmp_walk_again : vlmp_walk_to)(&walks->original, i, site, &original,
                                                              err));
        if (moments == NULL) continue;
        if ((set & ~(unsigned)VLMP_GRAM) != 0) {
            difference = walks->difference;
            ctx->ops->subtract(ctx, difference, original, input, rows, moments->k, scales);
        }
        unsigned now = i < batches->break_batch ? set : set << 1;
        VLMP_TRY(vlmp_moments_hold(moments, now, err));
        VLMP_TRY(vlmp_selection_add(b->job, moments, tower, &batches->batches[i], now, input,
                                    difference, err));
    }
    return VLMP_OK;
}

/* Brings all batches to the site. Where the moments are too large to be in memory together, each
 * matrix takes a look of its own. */
static int gather_moments(vlmp_block_job *b, struct walks *walks, vlmp_site site,
                          vlmp_moments *moments, vlmp_error *err)
{
    unsigned crosses = moments->original ? VLMP_CROSS : 0;
    if (moments->folder == NULL)
        return advance(b, walks, site, false, moments, VLMP_GRAM | crosses, err);
    VLMP_TRY(advance(b, walks, site, false, moments, VLMP_GRAM, err));
    return advance(b, walks, site, true, moments, VLMP_CROSS, err);
}

/* The same, with what each linear's outputs miss of the original model's. */
static int gather_crosses(vlmp_block_job *b, struct walks *walks, vlmp_site site,
                          vlmp_moments *moments, vlmp_error *err)
{
    vlmp_missed missed;
    double sums[VLMP_BLOCK_LINEARS][2];
    int indices[VLMP_BLOCK_LINEARS], count = vlmp_block_list_site(b, site, indices);
    int status = vlmp_missed_create(&missed, b->job->sweep.ctx, count, moments->k,
                                    walks->quantized.batches->max_rows, err);
    for (int i = 0; i < count && status == VLMP_OK; i++)
        status = vlmp_block_add_missed(b, indices[i], &missed, err);
    if (status == VLMP_OK) status = vlmp_missed_begin(&missed, err);
    moments->missed = &missed;
    if (status == VLMP_OK) status = gather_moments(b, walks, site, moments, err);
    moments->missed = NULL;
    if (status == VLMP_OK) status = vlmp_missed_take(&missed, sums, err);
    for (int i = 0; i < count && status == VLMP_OK; i++)
        memcpy(b->missed[indices[i]], sums[i], sizeof sums[i]);
    vlmp_missed_free(&missed);
    return status;
}

static int create_moments(const vlmp_block_job *b, const struct walks *walks, vlmp_site site,
                          vlmp_moments *moments, vlmp_error *err)
{
    const vlmp_batches *batches = walks->quantized.batches;
    const vlmp_sweep *sweep = &b->job->sweep;
    size_t k = (size_t)vlmp_site_dim(&b->stack->shape, site);
    bool original = walks->two && site_needs_cross(b, site);
    bool large = original && k * k * sizeof(float) > sweep->memory_limit;
    return vlmp_moments_create(moments, sweep->ctx, (int)k, batches->break_batch < batches->count,
                               original, large ? sweep->work_folder : NULL, err);
}

static int walk_site(vlmp_block_job *b, struct walks *walks, vlmp_site site, vlmp_error *err)
{
    vlmp_moments moments = {.fd = -1};
    bool needed = site_needs_moments(b, site), again = false;
    int status = needed ? create_moments(b, walks, site, &moments, err) : VLMP_OK;
    if (status == VLMP_OK)
        status = !needed            ? advance(b, walks, site, false, NULL, 0, err)
                 : moments.original ? gather_crosses(b, walks, site, &moments, err)
                                    : gather_moments(b, walks, site, &moments, err);
    if (status == VLMP_OK && needed) status = vlmp_moments_finish(&moments, err);
    vlmp_walk_rest(&walks->quantized);
    if (status == VLMP_OK)
        status = vlmp_block_quantize_site(b, site, needed ? &moments : NULL, &again, err);
    vlmp_moments_free(&moments);
    if (status == VLMP_OK && again) status = advance(b, walks, site, false, NULL, 0, err);
    return status;
}

static int walk_sites(vlmp_block_job *b, struct walks *walks, vlmp_error *err)
{
    for (int site = 0; site < VLMP_SITES; site++)
        VLMP_TRY(walk_site(b, walks, (vlmp_site)site, err));
    for (int i = 0; i < walks->quantized.batches->count; i++) {
        VLMP_TRY(vlmp_walk_finish(&walks->quantized, i, err));
        if (walks->two) VLMP_TRY(vlmp_walk_finish(&walks->original, i, err));
    }
    return VLMP_OK;
}

/* One forward pass, and one of the original block beside it where its outputs are the target. */
int vlmp_block_run_sequential(vlmp_block_job *b, const vlmp_block_flow *flow, vlmp_error *err)
{
    struct walks walks = {.two = flow->original != NULL};
    const vlmp_sweep *sweep = &b->job->sweep;
    int status = vlmp_fold_block(&b->fold, b->job, b->stack, &b->block, b->linears, b->count,
                                 flow->x, flow->batches, err);
    if (status == VLMP_OK)
        status = vlmp_walk_create(&walks.quantized, sweep, b->stack, b->layer, &b->block, flow->x,
                                  flow->batches, err);
    if (status == VLMP_OK && walks.two)
        status = vlmp_walk_create(&walks.original, sweep, b->stack, b->layer, &b->original,
                                  flow->original, flow->batches, err);
    if (status == VLMP_OK && walks.two) {
        size_t widest = (size_t)vlmp_widest_site(&b->stack->shape);
        status = vlmp_ctx_alloc(sweep->ctx, &walks.difference, (size_t)flow->batches->max_rows,
                                widest * sweep->ctx->ops->act_bytes, "a batch of activations", err);
        if (status == VLMP_OK)
            status = vlmp_ctx_alloc(sweep->ctx, &walks.scales, widest, sizeof(float),
                                    "a site's scales", err);
    }
    if (status == VLMP_OK) status = walk_sites(b, &walks, err);
    vlmp_ctx_free_memory(sweep->ctx, walks.difference.at);
    vlmp_ctx_free_memory(sweep->ctx, walks.scales.at);
    vlmp_walk_free(&walks.quantized);
    vlmp_walk_free(&walks.original);
    return status;
}

struct all_moments {
    const vlmp_quantize_job *job;
    const vlmp_batches *batches;
    vlmp_moments sites[VLMP_SITES];
    int status;
    vlmp_error *err;
};

static void collect_moments(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                            const vlmp_batch *batch, vlmp_act input, int dim)
{
    (void)layer;
    (void)dim;
    struct all_moments *all = arg;
    vlmp_moments *moments = &all->sites[site];
    if (moments->ctx == NULL || all->status != VLMP_OK) return;
    bool seen = batch < all->batches->batches + all->batches->break_batch;
    all->status =
        vlmp_selection_add(all->job, moments, stack == &all->job->sweep.model->vision, batch,
                           seen ? VLMP_GRAM : VLMP_HELD, input, (vlmp_act){NULL}, all->err);
}

/* Moments of inputs that AWQ's scales divide, from those of the inputs as they were. */
static int scale_moments(vlmp_moments *moments, const float *scales, vlmp_error *err)
{
    vlmp_ctx *ctx = moments->ctx;
    if (moments->gram == NULL || scales == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_awq_scale_gram(ctx, moments->gram, moments->k, scales, err));
    if (moments->held == NULL) return VLMP_OK;
    return vlmp_awq_scale_gram(ctx, moments->held, moments->k, scales, err);
}

/* x advances through the block as it was loaded. */
int vlmp_block_run_original(vlmp_block_job *b, const vlmp_block_flow *flow, vlmp_error *err)
{
    struct all_moments all = {.job = b->job, .batches = flow->batches, .err = err};
    bool held = flow->batches->break_batch < flow->batches->count;
    int status = vlmp_fold_block(&b->fold, b->job, b->stack, &b->block, b->linears, b->count,
                                 flow->x, flow->batches, err);
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++)
        if (site_needs_moments(b, (vlmp_site)site))
            status = vlmp_moments_create(&all.sites[site], b->job->sweep.ctx,
                                         vlmp_site_dim(&b->stack->shape, (vlmp_site)site), held,
                                         false, NULL, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_block(&b->job->sweep, b->stack, b->layer, &b->original, flow->x,
                                  flow->batches, collect_moments, &all, err);
    if (status == VLMP_OK) status = all.status;
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++) {
        bool again;
        if (all.sites[site].ctx != NULL) status = vlmp_moments_finish(&all.sites[site], err);
        if (status == VLMP_OK) status = scale_moments(&all.sites[site], b->fold.scales[site], err);
        if (status != VLMP_OK) break;
        status = vlmp_block_quantize_site(b, (vlmp_site)site,
                                          all.sites[site].gram != NULL ? &all.sites[site] : NULL,
                                          &again, err);
    }
    for (int site = 0; site < VLMP_SITES; site++)
        vlmp_moments_free(&all.sites[site]);
    return status;
}
