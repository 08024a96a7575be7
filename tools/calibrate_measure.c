#include "tools/calibrate_measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "tools/block_costs.h"
#include "tools/interrupt.h"

/* The samples drawn, as sequences of their own and as what they are in the store. */
struct drawn {
    vlmp_sequence_store *store;
    vlmp_sequence *sequences; /* [count] borrowed */
    int *of;                  /* [count] index in the store */
    int count;
};

static int fetch_drawn(void *arg, int index, bool pixels, vlmp_sequence *out, vlmp_error *err)
{
    const struct drawn *drawn = arg;
    return vlmp_sequence_fetch(drawn->store, drawn->of[index], pixels, out, err);
}

static void list_drawn(struct drawn *drawn, const vlmp_calibration *c, const vlmp_draw_item *items,
                       const bool *taken, vlmp_measured *measured)
{
    for (size_t i = 0; i < c->count; i++) {
        if (!taken[i]) continue;
        drawn->of[drawn->count] = (int)i;
        drawn->sequences[drawn->count++] = c->samples[i].sequence;
        measured->samples++;
        measured->tokens += items[i].tokens;
        measured->picture_tokens += items[i].pictures;
    }
}

static int draw(struct drawn *drawn, const vlmp_measurement *m, const vlmp_calibration *c,
                vlmp_measured *measured, vlmp_error *err)
{
    vlmp_draw_item *items = vlmp_alloc(c->count, sizeof *items);
    bool *taken = vlmp_alloc(c->count, sizeof *taken);
    drawn->of = vlmp_alloc(c->count, sizeof *drawn->of);
    drawn->sequences = vlmp_alloc(c->count, sizeof *drawn->sequences);
    int status = items != NULL && taken != NULL && drawn->of != NULL && drawn->sequences != NULL
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "samples");
    for (size_t i = 0; i < c->count && status == VLMP_OK; i++)
        items[i] = vlmp_calib_draw_item(&c->samples[i], &m->engine->model);
    vlmp_draw_budget budget = {.tokens = measured->budget > 0 ? measured->budget : INT64_MAX};
    if (status == VLMP_OK)
        status = vlmp_draw_samples(items, c->count, &budget, (uint64_t)m->args->seed, taken, err);
    if (status == VLMP_OK) list_drawn(drawn, c, items, taken, measured);
    free(items);
    free(taken);
    return status;
}

struct shown {
    vlmp_progress *progress;
    int vision_layers;
};

static void on_progress(void *arg, const char *stage, int done, int total)
{
    const struct shown *shown = arg;
    char detail[64];
    int before = strcmp(stage, "text") == 0 ? shown->vision_layers : 0;
    snprintf(detail, sizeof detail, "%s block %d of %d", stage, done, total);
    vlmp_progress_update(shown->progress, before + done, detail);
}

static int run_drawn(const vlmp_measurement *m, struct drawn *drawn, vlmp_statistics *statistics,
                     vlmp_error *err)
{
    const vlmp_model *model = &m->engine->model;
    char folder[VLMP_PATH_MAX];
    vlmp_work_folder(folder, m->output);
    struct shown shown = {m->progress, model->vision.layers};
    vlmp_sweep sweep = {.ctx = m->engine->ctx,
                        .model = model,
                        .preprocess = m->preprocess,
                        .fetch = fetch_drawn,
                        .fetch_arg = drawn,
                        .data = m->data,
                        .work_folder = folder,
                        .memory_limit = VLMP_ACTIVATIONS_IN_MEMORY,
                        .progress = on_progress,
                        .progress_arg = &shown,
                        .interrupted = vlmp_interrupt_flag()};
    vlmp_collector collector = {0};
    vlmp_activations x = {.fd = -1};
    vlmp_batches batches = {0};
    vlmp_progress_begin(m->progress, m->args, "measuring activations",
                        model->vision.layers + model->text.layers);
    vlmp_block_rows rows = {0};
    for (int i = 0; i < drawn->count; i++)
        vlmp_block_rows_add(&rows, &drawn->sequences[i], &model->config);
    vlmp_block_costs(m->progress, model, &rows);
    int status = vlmp_statistics_create(statistics, model, err);
    if (status == VLMP_OK)
        status = vlmp_collector_create(&collector, m->engine->ctx, model, drawn->sequences,
                                       statistics, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_all(&sweep, drawn->sequences, drawn->count, vlmp_collect, &collector,
                                &x, &batches, err);
    int collected = vlmp_collector_finish(&collector);
    if (status == VLMP_OK) status = collected;
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
    vlmp_progress_end(m->progress);
    return status;
}

int vlmp_calibrate_measure(const vlmp_measurement *measurement, int64_t budget,
                           vlmp_calibration *calibration, vlmp_measured *measured, vlmp_error *err)
{
    struct drawn drawn = {.store = measurement->chosen};
    *measured = (vlmp_measured){.budget = budget};
    int status = draw(&drawn, measurement, calibration, measured, err);
    if (status == VLMP_OK) status = run_drawn(measurement, &drawn, &calibration->statistics, err);
    free(drawn.sequences);
    free(drawn.of);
    return status;
}
