#include "src/quant/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/record.h"
#include "src/quant/walk.h"

#define BLOCK_LINEARS 7

/* The linears of one block, in the order of vlmp_model_linears. */
struct block_job {
    const vlmp_quantize_job *job;
    const vlmp_stack *stack;
    int layer;
    vlmp_block block;
    int count;
    struct {
        const vlmp_linear_info *info;
        const vlmp_plan_entry *entry;
        vlmp_linear *linear; /* in block */
        vlmp_packed_arrays packed;
    } linears[BLOCK_LINEARS];
    vlmp_linear_result results[BLOCK_LINEARS];
    int result_count;
};

int vlmp_commit_results(const vlmp_quantize_job *job, const char *step,
                        const vlmp_linear_result *results, int count, const char *const *replaced,
                        vlmp_error *err)
{
    vlmp_json_writer w = {0};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "linears");
    vlmp_json_open(&w, '[');
    for (int i = 0; i < count; i++) {
        vlmp_record_write(&w, &results[i]);
        if (job->on_linear != NULL) job->on_linear(job->on_linear_arg, &results[i]);
    }
    vlmp_json_close(&w, ']');
    vlmp_json_key(&w, "replaced");
    vlmp_json_open(&w, '[');
    for (; replaced != NULL && *replaced != NULL; replaced++)
        vlmp_json_put_string(&w, *replaced);
    vlmp_json_close(&w, ']');
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "record of a step")
                              : job->sink->commit(job->sink, step, w.out.data, err);
    vlmp_buffer_free(&w.out);
    return status;
}

static void list_linears(struct block_job *b)
{
    vlmp_block *block = &b->block;
    vlmp_linear *const all[] = {&block->q,    &block->k,  &block->v,   &block->o,
                                &block->gate, &block->up, &block->down};
    const vlmp_component component =
        b->stack == &b->job->sweep.model->vision ? VLMP_COMPONENT_VISION : VLMP_COMPONENT_TEXT;
    int next = 0;
    for (int i = 0; i < b->job->linear_count; i++) {
        const vlmp_linear_info *info = &b->job->linears[i];
        if (info->component != component || info->layer != b->layer) continue;
        while (all[next]->n == 0)
            next++; /* no gate */
        b->linears[b->count].info = info;
        b->linears[b->count].entry = &b->job->plan->entries[i];
        b->linears[b->count].linear = all[next++];
        b->count++;
    }
}

static int quantize_one(struct block_job *b, int index, const vlmp_moments *moments,
                        vlmp_error *err)
{
    const vlmp_linear_info *info = b->linears[index].info;
    const vlmp_plan_entry *entry = b->linears[index].entry;
    vlmp_linear *linear = b->linears[index].linear;
    if (entry->method == VLMP_METHOD_KEEP) return VLMP_OK;
    size_t count = (size_t)info->n * (size_t)info->k;
    float *w = vlmp_alloc(count, sizeof *w);
    if (w == NULL) return vlmp_fail_memory(err, info->name);
    vlmp_to_f32(w, linear->weight, linear->dtype, count);
    vlmp_target target = {.info = info, .entry = entry, .w = w};
    int status = vlmp_quantize_linear(b->job, &target, moments, &b->linears[index].packed,
                                      &b->results[b->result_count], err);
    free(w);
    if (status != VLMP_OK) return status;
    b->result_count++;
    vlmp_linear_use_packed(linear, &entry->scheme, &b->linears[index].packed);
    return vlmp_put_packed(b->job->sink, info->name, info->n, info->k, &entry->scheme,
                           &b->linears[index].packed, err);
}

static int quantize_site(struct block_job *b, vlmp_site site, const vlmp_moments *moments,
                         vlmp_error *err)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site) VLMP_TRY(quantize_one(b, i, moments, err));
    return VLMP_OK;
}

static bool site_needs_moments(const struct block_job *b, vlmp_site site)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site &&
            vlmp_method_needs_calibration(b->linears[i].entry->method))
            return true;
    return false;
}

static int advance(struct block_job *b, vlmp_walk *walk, vlmp_site site, vlmp_moments *moments,
                   vlmp_error *err)
{
    vlmp_ctx *ctx = b->job->sweep.ctx;
    const volatile sig_atomic_t *interrupted = b->job->sweep.interrupted;
    for (int i = 0; i < walk->batches->count; i++) {
        const float *input;
        if (interrupted != NULL && *interrupted)
            return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        VLMP_TRY(vlmp_walk_to(walk, i, site, &input, err));
        if (moments == NULL) continue;
        float *gram = i < walk->batches->break_batch ? moments->gram : moments->held;
        ctx->ops->gram(ctx, gram, input, walk->batches->batches[i].rows, moments->k);
    }
    return VLMP_OK;
}

/* Site by site on inputs that the quantized linears before it produce: one forward pass. */
static int run_sequential(struct block_job *b, vlmp_activations *x, const vlmp_batches *batches,
                          vlmp_error *err)
{
    vlmp_walk walk = {0};
    bool held = batches->break_batch < batches->count;
    int status = vlmp_walk_create(&walk, &b->job->sweep, b->stack, &b->block, x, batches, err);
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++) {
        vlmp_moments moments = {0};
        bool needed = site_needs_moments(b, (vlmp_site)site);
        if (needed)
            status = vlmp_moments_create(&moments, vlmp_site_dim(&b->stack->shape, (vlmp_site)site),
                                         held, false, err);
        if (status == VLMP_OK)
            status = advance(b, &walk, (vlmp_site)site, needed ? &moments : NULL, err);
        if (status == VLMP_OK)
            status = quantize_site(b, (vlmp_site)site, needed ? &moments : NULL, err);
        vlmp_moments_free(&moments);
    }
    for (int i = 0; i < batches->count && status == VLMP_OK; i++)
        status = vlmp_walk_finish(&walk, i, err);
    vlmp_walk_free(&walk);
    return status;
}

struct all_moments {
    vlmp_ctx *ctx;
    int break_batch;
    const vlmp_batches *batches;
    vlmp_moments sites[VLMP_SITES];
};

static void collect_moments(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                            const vlmp_batch *batch, const float *input, int dim)
{
    (void)stack;
    (void)layer;
    struct all_moments *all = arg;
    vlmp_moments *moments = &all->sites[site];
    if (moments->gram == NULL) return;
    bool seen = batch < all->batches->batches + all->break_batch;
    all->ctx->ops->gram(all->ctx, seen ? moments->gram : moments->held, input, batch->rows, dim);
}

/* All sites on the original model's inputs; x advances with the original weights. */
static int run_original(struct block_job *b, vlmp_activations *x, const vlmp_batches *batches,
                        vlmp_error *err)
{
    struct all_moments all = {
        .ctx = b->job->sweep.ctx, .break_batch = batches->break_batch, .batches = batches};
    bool held = batches->break_batch < batches->count;
    int status = VLMP_OK;
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++)
        if (site_needs_moments(b, (vlmp_site)site))
            status = vlmp_moments_create(&all.sites[site],
                                         vlmp_site_dim(&b->stack->shape, (vlmp_site)site), held,
                                         false, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_block(&b->job->sweep, b->stack, b->layer, &b->block, x, batches,
                                  collect_moments, &all, err);
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++)
        status = quantize_site(b, (vlmp_site)site,
                               all.sites[site].gram != NULL ? &all.sites[site] : NULL, err);
    for (int site = 0; site < VLMP_SITES; site++)
        vlmp_moments_free(&all.sites[site]);
    return status;
}

/* A finished block's linears come back from the sink. */
static int restore(struct block_job *b, vlmp_error *err)
{
    for (int i = 0; i < b->count; i++) {
        const vlmp_scheme *scheme = &b->linears[i].entry->scheme;
        if (b->linears[i].entry->method == VLMP_METHOD_KEEP) continue;
        static const char *const parts[] = {"codes", "scales", "zeros"};
        void *memory[3] = {0};
        for (int p = 0; p < (scheme->symmetric ? 2 : 3); p++) {
            char name[VLMP_NAME_MAX + 16];
            vlmp_tensor tensor;
            snprintf(name, sizeof name, "%s.%s", b->linears[i].info->name, parts[p]);
            VLMP_TRY(b->job->sink->get(b->job->sink, name, &tensor, &memory[p], err));
        }
        b->linears[i].packed =
            (vlmp_packed_arrays){.codes = memory[0], .scales = memory[1], .zeros = memory[2]};
        vlmp_linear_use_packed(b->linears[i].linear, scheme, &b->linears[i].packed);
    }
    return VLMP_OK;
}

static int run_block(struct block_job *b, vlmp_activations *x, const vlmp_batches *batches,
                     vlmp_error *err)
{
    char step[VLMP_NAME_MAX];
    vlmp_step_name(step, b->stack->prefix, b->layer);
    bool sequential = b->job->sequential;
    bool done = b->job->sink->record(b->job->sink, step) != NULL;
    if (done && x == NULL) return VLMP_OK;
    if (done) {
        if (sequential) VLMP_TRY(restore(b, err));
        return vlmp_sweep_block(&b->job->sweep, b->stack, b->layer, &b->block, x, batches, NULL,
                                NULL, err);
    }
    if (x == NULL) {
        for (int site = 0; site < VLMP_SITES; site++)
            VLMP_TRY(quantize_site(b, (vlmp_site)site, NULL, err));
    } else if (sequential) {
        VLMP_TRY(run_sequential(b, x, batches, err));
    } else {
        VLMP_TRY(run_original(b, x, batches, err));
    }
    return vlmp_commit_results(b->job, step, b->results, b->result_count, NULL, err);
}

int vlmp_quantize_block(const vlmp_quantize_job *job, const vlmp_stack *stack, int layer,
                        vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err)
{
    struct block_job *b = vlmp_calloc(1, sizeof *b);
    if (b == NULL) return vlmp_fail_memory(err, "a block");
    b->job = job;
    b->stack = stack;
    b->layer = layer;
    vlmp_loaded loaded = {0};
    int status = vlmp_load_block(&loaded, job->sweep.model, stack, layer, &b->block, err);
    if (status == VLMP_OK) {
        list_linears(b);
        status = run_block(b, x, batches, err);
    }
    for (int i = 0; i < b->count; i++)
        vlmp_packed_arrays_free(&b->linears[i].packed);
    vlmp_unload(&loaded);
    free(b);
    if (job->sweep.progress != NULL)
        job->sweep.progress(job->sweep.progress_arg, stack->prefix, layer + 1, stack->layers);
    return status;
}
