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
        if (b->linears[i].info->site == site && b->linears[i].entry->method == VLMP_METHOD_AWQ_GPTQ)
            return true;
    return false;
}

/* out [rows][k] = x₀/s − x: x is divided by AWQ's scales s already, x₀ is the original model's and
 * not. scales NULL: 1. */
static void form_difference(float *out, const float *original, const float *input,
                            const float *scales, int rows, int k)
{
    for (size_t i = 0; i < (size_t)rows * (size_t)k; i++)
        out[i] = original[i] / (scales != NULL ? scales[i % (size_t)k] : 1.0f) - input[i];
}

struct walks {
    vlmp_walk quantized;
    vlmp_walk original; /* only with a flow of the original model */
    bool two;
    float *difference; /* [max rows][widest site] */
};

/* All batches to a site, or with `again` past it once more; a set of moments of the samples seen,
 * and that of the samples held out, gets their inputs. */
static int advance(vlmp_block_job *b, struct walks *walks, vlmp_site site, bool again,
                   vlmp_moments *moments, unsigned set, vlmp_error *err)
{
    const vlmp_batches *batches = walks->quantized.batches;
    const volatile sig_atomic_t *interrupted = b->job->sweep.interrupted;
    bool tower = b->stack == &b->job->sweep.model->vision;
    for (int i = 0; i < batches->count; i++) {
        const float *input, *original = NULL, *difference = NULL;
        if (interrupted != NULL && *interrupted)
            return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        VLMP_TRY((again ? vlmp_walk_again : vlmp_walk_to)(&walks->quantized, i, site, &input, err));
        if (walks->two)
            VLMP_TRY((again ? vlmp_walk_again : vlmp_walk_to)(&walks->original, i, site, &original,
                                                              err));
        if (moments == NULL) continue;
        if ((set & ~(unsigned)VLMP_GRAM) != 0) {
            form_difference(walks->difference, original, input, b->fold.scales[site],
                            batches->batches[i].rows, moments->k);
            difference = walks->difference;
        }
        unsigned now = i < batches->break_batch ? set : set << 1;
        VLMP_TRY(vlmp_moments_hold(moments, now, err));
        VLMP_TRY(vlmp_selection_add(b->job, moments, tower, &batches->batches[i], now, input,
                                    difference, err));
    }
    return moments != NULL ? vlmp_moments_hold(moments, 0, err) : VLMP_OK;
}

/* Brings all batches to the site. Where the moments are too large to be in memory together, each
 * matrix takes a look of its own. */
static int gather_moments(vlmp_block_job *b, struct walks *walks, vlmp_site site,
                          vlmp_moments *moments, vlmp_error *err)
{
    unsigned crosses = moments->original ? VLMP_CROSS | VLMP_SHIFT : 0;
    if (moments->folder == NULL)
        return advance(b, walks, site, false, moments, VLMP_GRAM | crosses, err);
    VLMP_TRY(advance(b, walks, site, false, moments, VLMP_GRAM, err));
    VLMP_TRY(advance(b, walks, site, true, moments, VLMP_CROSS, err));
    return advance(b, walks, site, true, moments, VLMP_SHIFT, err);
}

static int create_moments(const vlmp_block_job *b, const struct walks *walks, vlmp_site site,
                          vlmp_moments *moments, vlmp_error *err)
{
    const vlmp_batches *batches = walks->quantized.batches;
    const vlmp_sweep *sweep = &b->job->sweep;
    size_t k = (size_t)vlmp_site_dim(&b->stack->shape, site);
    bool original = walks->two && site_needs_cross(b, site);
    bool large = original && k * k * sizeof(float) > sweep->memory_limit;
    return vlmp_moments_create(moments, (int)k, batches->break_batch < batches->count, original,
                               large ? sweep->work_folder : NULL, err);
}

static int walk_site(vlmp_block_job *b, struct walks *walks, vlmp_site site, vlmp_error *err)
{
    vlmp_moments moments = {.fd = -1};
    bool needed = site_needs_moments(b, site), again = false;
    int status = needed ? create_moments(b, walks, site, &moments, err) : VLMP_OK;
    if (status == VLMP_OK)
        status = needed ? gather_moments(b, walks, site, &moments, err)
                        : advance(b, walks, site, false, NULL, 0, err);
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
        const vlmp_block_shape *shape = &b->stack->shape;
        int attention = shape->heads * shape->head_dim,
            widest = shape->intermediate > shape->dim ? shape->intermediate : shape->dim;
        walks.difference = vlmp_alloc((size_t)flow->batches->max_rows *
                                          (size_t)(attention > widest ? attention : widest),
                                      sizeof(float));
        if (walks.difference == NULL) status = vlmp_fail_memory(err, "a batch of activations");
    }
    if (status == VLMP_OK) status = walk_sites(b, &walks, err);
    free(walks.difference);
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
                            const vlmp_batch *batch, const float *input, int dim)
{
    (void)layer;
    (void)dim;
    struct all_moments *all = arg;
    vlmp_moments *moments = &all->sites[site];
    bool seen = batch < all->batches->batches + all->batches->break_batch;
    if (moments->gram == NULL || all->status != VLMP_OK) return;
    all->status = vlmp_selection_add(all->job, moments, stack == &all->job->sweep.model->vision,
                                     batch, seen ? VLMP_GRAM : VLMP_HELD, input, NULL, all->err);
}

/* Moments of inputs that AWQ's scales divide, from those of the inputs as they were. */
static void scale_moments(vlmp_moments *moments, const float *scales)
{
    if (moments->gram == NULL || scales == NULL) return;
    vlmp_awq_scale_gram(moments->gram, moments->k, scales);
    if (moments->held != NULL) vlmp_awq_scale_gram(moments->held, moments->k, scales);
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
            status = vlmp_moments_create(&all.sites[site],
                                         vlmp_site_dim(&b->stack->shape, (vlmp_site)site), held,
                                         false, NULL, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_block(&b->job->sweep, b->stack, b->layer, &b->original, flow->x,
                                  flow->batches, collect_moments, &all, err);
    if (status == VLMP_OK) status = all.status;
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++) {
        bool again;
        scale_moments(&all.sites[site], b->fold.scales[site]);
        status = vlmp_block_quantize_site(b, (vlmp_site)site,
                                          all.sites[site].gram != NULL ? &all.sites[site] : NULL,
                                          &again, err);
    }
    for (int site = 0; site < VLMP_SITES; site++)
        vlmp_moments_free(&all.sites[site]);
    return status;
}
