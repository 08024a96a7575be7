#include "src/flow/sweep.h"

#include <stdio.h>

static int check_interrupt(const vlmp_sweep *sweep, vlmp_error *err)
{
    if (sweep->interrupted == NULL || !*sweep->interrupted) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
}

static void report(const vlmp_sweep *sweep, const char *stage, int done, int total)
{
    if (sweep->progress != NULL) sweep->progress(sweep->progress_arg, stage, done, total);
}

/* The sequence that row `row` of a batch belongs to; NULL: not known. */
static const vlmp_sequence *sequence_of(const vlmp_sweep *sweep, bool tiles,
                                        const vlmp_batch *batch, int row)
{
    int index = batch->first, sequence = 0;
    if (sweep->sequences == NULL) return NULL;
    for (int s = 1; s < batch->segment_count && batch->segments[s].first_row <= row; s++)
        index++;
    if (!tiles) return &sweep->sequences[index];
    while (index >= sweep->sequences[sequence].tiles)
        index -= sweep->sequences[sequence++].tiles;
    return &sweep->sequences[sequence];
}

static int fail(const vlmp_sweep *sweep, const char *place, bool tiles, const vlmp_batch *batch,
                size_t row, float value, vlmp_error *err)
{
    const vlmp_sequence *sequence = sequence_of(sweep, tiles, batch, (int)row);
    return vlmp_model_fail_not_finite(sweep->model, place, value, sweep->data,
                                      sequence != NULL ? sequence->line : 0, err);
}

int vlmp_sweep_check(const vlmp_sweep *sweep, const char *place, bool tiles,
                     const vlmp_batch *batch, vlmp_i32 found, vlmp_f32 x, int dim, vlmp_error *err)
{
    size_t count = (size_t)batch->rows * (size_t)dim, at;
    float value;
    VLMP_TRY(vlmp_first_bad(sweep->ctx, found, x, count, &at, &value, err));
    if (at == count) return VLMP_OK;
    return fail(sweep, place, tiles, batch, at / (size_t)dim, value, err);
}

int vlmp_sweep_check_act(const vlmp_sweep *sweep, const char *place, bool tiles,
                         const vlmp_batch *batch, vlmp_i32 found, vlmp_act x, int dim,
                         vlmp_error *err)
{
    size_t count = (size_t)batch->rows * (size_t)dim, at;
    float value;
    VLMP_TRY(vlmp_first_bad_act(sweep->ctx, found, x, count, &at, &value, err));
    if (at == count) return VLMP_OK;
    return fail(sweep, place, tiles, batch, at / (size_t)dim, value, err);
}

int vlmp_sweep_check_layer(const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                           const vlmp_batch *batch, const vlmp_pass *pass, vlmp_error *err)
{
    char place[VLMP_NAME_MAX];
    snprintf(place, sizeof place, "%s.layers.%d", stack->prefix, layer);
    return vlmp_sweep_check(sweep, place, stack == &sweep->model->vision, batch, pass->found,
                            pass->x, stack->shape.dim, err);
}

struct block_tap {
    vlmp_sweep_tap_fn *tap;
    void *arg;
    const vlmp_stack *stack;
    int layer;
    bool look; /* at the inputs only */
    const vlmp_batch *batch;
};

static void forward_tap(void *arg, vlmp_site site, vlmp_act input, int rows, int dim)
{
    (void)rows;
    struct block_tap *t = arg;
    t->tap(t->arg, t->stack, t->layer, site, t->batch, input, dim);
}

/* What the last product reads is finite only if all before it is. */
static int look_at_batch(const vlmp_sweep *sweep, struct block_tap *tap, const vlmp_block_run *run,
                         const vlmp_pass *pass, const vlmp_block *block, vlmp_error *err)
{
    char place[VLMP_NAME_MAX];
    snprintf(place, sizeof place, "%s.layers.%d", tap->stack->prefix, tap->layer);
    vlmp_block_look(run, block, pass->x, forward_tap, tap);
    return vlmp_sweep_check_act(sweep, place, tap->stack == &sweep->model->vision, tap->batch,
                                pass->found, pass->work.m, tap->stack->shape.intermediate, err);
}

static int run_batches(const vlmp_sweep *sweep, struct block_tap *tap, vlmp_pass *pass,
                       const vlmp_block *block, vlmp_activations *x, const vlmp_batches *batches,
                       vlmp_error *err)
{
    for (int i = 0; i < batches->count; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        size_t rows = (size_t)batch->rows;
        VLMP_TRY(check_interrupt(sweep, err));
        VLMP_TRY(vlmp_activations_upload(x, batch->first_row, rows, pass->ctx, pass->x, err));
        vlmp_block_run run = vlmp_pass_set(pass, batch, block->windowed);
        tap->batch = batch;
        if (tap->look) {
            VLMP_TRY(look_at_batch(sweep, tap, &run, pass, block, err));
            continue;
        }
        vlmp_block_forward(&run, block, pass->x, tap->tap != NULL ? forward_tap : NULL, tap);
        VLMP_TRY(vlmp_sweep_check_layer(sweep, tap->stack, tap->layer, batch, pass, err));
        VLMP_TRY(vlmp_activations_download(x, batch->first_row, rows, pass->ctx, pass->x, err));
    }
    return VLMP_OK;
}

/* block: prepared. */
static int run_block(const vlmp_sweep *sweep, struct block_tap *tap, const vlmp_block *block,
                     vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err)
{
    vlmp_pass pass;
    int status = vlmp_pass_create(&pass, sweep->ctx, &tap->stack->shape, batches, err);
    if (status == VLMP_OK) status = run_batches(sweep, tap, &pass, block, x, batches, err);
    vlmp_pass_free(&pass);
    return status;
}

static int prepare_and_run(const vlmp_sweep *sweep, struct block_tap *tap, const vlmp_block *block,
                           vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err)
{
    vlmp_block prepared;
    int status = vlmp_block_prepare(&prepared, sweep->ctx, block, err);
    if (status == VLMP_OK) status = run_block(sweep, tap, &prepared, x, batches, err);
    vlmp_block_release(&prepared, sweep->ctx);
    return status;
}

int vlmp_sweep_block(const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                     const vlmp_block *block, vlmp_activations *x, const vlmp_batches *batches,
                     vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_error *err)
{
    struct block_tap t = {.tap = tap, .arg = tap_arg, .stack = stack, .layer = layer};
    return prepare_and_run(sweep, &t, block, x, batches, err);
}

int vlmp_sweep_look(const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                    const vlmp_block *block, vlmp_activations *x, const vlmp_batches *batches,
                    vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_error *err)
{
    struct block_tap t = {.tap = tap, .arg = tap_arg, .stack = stack, .layer = layer, .look = true};
    return prepare_and_run(sweep, &t, block, x, batches, err);
}

int vlmp_sweep_stack(const vlmp_stack *stack, int first, const vlmp_stack_walk *walk,
                     vlmp_error *err)
{
    for (int done = first; done <= stack->layers; done++) {
        if (done > first) VLMP_TRY(walk->block(walk->arg, done - 1, err));
        if (walk->border != NULL && (done > first || first == 0))
            VLMP_TRY(walk->border(walk->arg, done, err));
    }
    return VLMP_OK;
}

/* A stack with the model's own weights, over one store. */
struct own_walk {
    const vlmp_sweep *sweep;
    const vlmp_stack *stack;
    vlmp_activations *x;
    const vlmp_batches *batches;
    vlmp_sweep_tap_fn *tap;
    void *tap_arg;
    vlmp_activations *features; /* of the tower */
};

static int own_block(void *arg, int layer, vlmp_error *err)
{
    const struct own_walk *w = arg;
    const vlmp_sweep *sweep = w->sweep;
    struct block_tap t = {.tap = w->tap, .arg = w->tap_arg, .stack = w->stack, .layer = layer};
    vlmp_loaded loaded = {.ctx = sweep->ctx};
    vlmp_block block;
    int status = VLMP_OK;
    if (sweep->resident == NULL)
        status = vlmp_load_block(&loaded, sweep->model, w->stack, layer, &block, err);
    else if (w->stack == &sweep->model->vision)
        block = sweep->resident->vision[layer];
    else
        block = sweep->resident->text[layer];
    if (status == VLMP_OK) status = run_block(sweep, &t, &block, w->x, w->batches, err);
    vlmp_unload(&loaded);
    report(sweep, w->stack->prefix, layer + 1, w->stack->layers);
    return status;
}

static int own_features(void *arg, int done, vlmp_error *err)
{
    const struct own_walk *w = arg;
    return vlmp_sweep_take_features(w->sweep, w->x, w->batches, done, w->features, err);
}

static int own_taps(void *arg, int done, vlmp_error *err)
{
    const struct own_walk *w = arg;
    return vlmp_sweep_add_taps(w->sweep, w->x, w->batches, done, err);
}

int vlmp_sweep_text(const vlmp_sweep *sweep, vlmp_activations *x, const vlmp_batches *batches,
                    vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_error *err)
{
    const vlmp_stack *stack = &sweep->model->text;
    struct own_walk w = {sweep, stack, x, batches, tap, tap_arg, NULL};
    return vlmp_sweep_stack(stack, 0, &(vlmp_stack_walk){&w, own_block, own_taps}, err);
}

int vlmp_sweep_vision(const vlmp_sweep *sweep, vlmp_activations *x, const vlmp_batches *batches,
                      vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_activations *features,
                      vlmp_error *err)
{
    const vlmp_stack *stack = &sweep->model->vision;
    struct own_walk w = {sweep, stack, x, batches, tap, tap_arg, features};
    VLMP_TRY(vlmp_sweep_create_features(sweep, batches, features, err));
    return vlmp_sweep_stack(stack, 0, &(vlmp_stack_walk){&w, own_block, own_features}, err);
}

int vlmp_sweep_vision_part(const vlmp_sweep *sweep, int first, int end, vlmp_activations *x,
                           const vlmp_batches *batches, vlmp_activations *features, vlmp_error *err)
{
    vlmp_stack part = sweep->model->vision;
    part.layers = end;
    struct own_walk w = {sweep, &sweep->model->vision, x, batches, NULL, NULL, features};
    return vlmp_sweep_stack(&part, first, &(vlmp_stack_walk){&w, own_block, own_features}, err);
}

int vlmp_sweep_text_part(const vlmp_sweep *sweep, int first, int end, vlmp_activations *x,
                         const vlmp_batches *batches, vlmp_error *err)
{
    vlmp_stack part = sweep->model->text;
    part.layers = end;
    struct own_walk w = {sweep, &sweep->model->text, x, batches, NULL, NULL, NULL};
    return vlmp_sweep_stack(&part, first, &(vlmp_stack_walk){&w, own_block, own_taps}, err);
}

int vlmp_sweep_all(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                   vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_activations *x,
                   vlmp_batches *batches, vlmp_error *err)
{
    vlmp_activations pixels = {.fd = -1}, features = {.fd = -1};
    vlmp_batches tiles = {0};
    vlmp_sweep named = *sweep;
    named.sequences = sequences;
    sweep = &named;
    *x = (vlmp_activations){.fd = -1};
    *batches = (vlmp_batches){0};
    int status = vlmp_sweep_vision_input(sweep, sequences, count, &pixels, &tiles, err);
    if (status == VLMP_OK && tiles.count > 0)
        status = vlmp_sweep_vision(sweep, &pixels, &tiles, tap, tap_arg, &features, err);
    vlmp_activations_free(&pixels);
    if (status == VLMP_OK)
        status = vlmp_sweep_text_input(sweep, sequences, count, &features, x, batches, err);
    vlmp_activations_free(&features);
    vlmp_batches_free(&tiles);
    if (status == VLMP_OK) status = vlmp_sweep_text(sweep, x, batches, tap, tap_arg, err);
    return status;
}
