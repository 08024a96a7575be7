/* quant: which part of a calibration a run takes, and which rows its moments take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/quant/run/holdout.h"
#include "src/quant/run/selection.h"

enum { COUNT = 500, IMAGE_TOKEN = 7, TILE_ROWS = 60, TEXT = 20 };

/* A model by its numbers: two linears of the text model, one of the tower. */
struct fixture {
    vlmp_model model;
    vlmp_linear_info linears[3];
    vlmp_plan_entry entries[3];
    vlmp_plan plan;
    vlmp_calibration calibration;
    vlmp_calib_sample samples[COUNT];
    vlmp_image_plan picture;
    vlmp_quantize_job job;
    vlmp_selection selection;
};

/* Every fifth sample is text alone, of TEXT tokens; the others have a picture before that. */
static struct fixture *make(int picture_tokens)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->model.config.image_token = IMAGE_TOKEN;
    f->model.config.vision.merge = 1;
    f->picture = (vlmp_image_plan){.tiles = 1, .rows = 6, .cols = TILE_ROWS / 6};
    f->linears[0] = (vlmp_linear_info){.component = VLMP_COMPONENT_TEXT, .k = 1000};
    f->linears[1] = (vlmp_linear_info){.component = VLMP_COMPONENT_TEXT, .k = 1100};
    f->linears[2] = (vlmp_linear_info){.component = VLMP_COMPONENT_VISION, .k = 1100};
    f->entries[0].method = VLMP_METHOD_GPTQ;
    f->plan = (vlmp_plan){.entries = f->entries, .count = 3};
    f->picture.tokens = picture_tokens;
    f->calibration = (vlmp_calibration){.count = COUNT, .samples = f->samples};
    for (int i = 0; i < COUNT; i++) {
        bool picture = i % 5 != 0;
        snprintf(f->samples[i].id, sizeof f->samples[i].id, "%016x", (unsigned)i * 2654435761u);
        f->samples[i].sequence = (vlmp_sequence){.length = TEXT + (picture ? picture_tokens : 0),
                                                 .image_count = picture,
                                                 .plans = &f->picture,
                                                 .tiles = picture};
    }
    f->job = (vlmp_quantize_job){.sweep = {.model = &f->model},
                                 .linears = f->linears,
                                 .linear_count = 3,
                                 .plan = &f->plan,
                                 .calibration = &f->calibration,
                                 .selection = &f->selection};
    return f;
}

static void choose(struct fixture *f, int64_t tokens, uint64_t seed)
{
    vlmp_error err = {0};
    vlmp_selection_free(&f->selection);
    assert_int_equal(vlmp_select(&f->selection, &f->job, tokens, seed, &err), 0);
}

static void finish(struct fixture *f)
{
    vlmp_selection_free(&f->selection);
    free(f);
}

static void is_chosen_from_what_is_quantized(void **state)
{
    (void)state;
    struct fixture *f = make(30);
    const vlmp_selection *s = &f->selection;
    choose(f, VLMP_TOKENS_AUTO, 0);
    assert_int_equal(s->budget, VLMP_TOKENS_LEAST); /* sixteen times 1000 are fewer */
    f->entries[1].method = VLMP_METHOD_RTN;         /* needs none */
    choose(f, VLMP_TOKENS_AUTO, 0);
    assert_int_equal(s->budget, VLMP_TOKENS_LEAST);
    f->entries[1].method = VLMP_METHOD_AWQ;
    choose(f, VLMP_TOKENS_AUTO, 0);
    assert_int_equal(s->budget, VLMP_TOKENS_AN_INPUT * 1100);
    assert_in_range(s->seen_tokens, 17600, 17600 + TEXT + 30);
    assert_in_range(s->held_tokens, 17600 / 7, 17600 / 7 + 2 * (TEXT + 30));
    assert_int_equal(s->samples, COUNT);
    assert_int_equal(s->tokens, COUNT / 5 * TEXT + COUNT / 5 * 4 * (TEXT + 30));
    /* the tower's rows count where it is quantized by statistics */
    f->entries[1].method = f->entries[0].method = VLMP_METHOD_KEEP;
    f->entries[2].method = VLMP_METHOD_GPTQ;
    choose(f, VLMP_TOKENS_AUTO, 0);
    int64_t rows = 0;
    for (int i = 0; i < s->seen; i++)
        rows += (int64_t)f->samples[s->order[i]].sequence.tiles * TILE_ROWS;
    assert_in_range(rows, 17600, 17600 + TILE_ROWS);
    finish(f);
}

/* Samples stand in the data's order, those held out behind the others and by the same rule. */
static void takes_all_in_order(void **state)
{
    (void)state;
    struct fixture *f = make(30);
    const vlmp_selection *s = &f->selection;
    bool held[COUNT];
    int count = vlmp_hold_out(&f->calibration, held);
    choose(f, 0, 0);
    assert_int_equal(s->held, count);
    assert_int_equal(s->seen + s->held, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(held[s->order[i]], i >= s->seen);
    for (int i = 1; i < COUNT; i++)
        assert_true(i == s->seen || s->order[i] > s->order[i - 1]);
    assert_int_equal(s->budget, 0);
    choose(f, 1 << 20, 3);
    assert_int_equal(s->budget, 0); /* more than there are */
    choose(f, 2000, 3);
    assert_int_equal(s->budget, 2000);
    for (int i = 0; i < s->seen + s->held; i++)
        assert_int_equal(held[s->order[i]], i >= s->seen);
    finish(f);
}

static void thins_pictures_where_samples_are_long(void **state)
{
    (void)state;
    struct fixture *f = make(2000);
    const vlmp_selection *s = &f->selection;
    choose(f, VLMP_TOKENS_AUTO, 0);
    assert_int_equal(s->seen, VLMP_SAMPLES_LEAST);
    int64_t text = (int64_t)TEXT * s->seen, pictures = s->seen_tokens - text;
    assert_int_equal(s->stride, pictures / (s->budget - text));
    assert_true(s->stride > 1);
    choose(f, 40000, 0);
    assert_int_equal(s->stride, 1);
    choose(f, 1, 0);
    assert_int_equal(s->stride, VLMP_STRIDE_MOST);
    finish(f);
}

/* Σ x² over seeds is that of all rows; text counts once and always. */
static void weights_keep_sums_unbiased(void **state)
{
    (void)state;
    enum { ROWS = 300, SEEDS = 400, STRIDE = 4 };
    struct fixture *f = make(0);
    vlmp_error err = {0};
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    int32_t ids[2][ROWS / 2];
    float x[ROWS], whole = 0;
    for (int r = 0; r < ROWS; r++) {
        ids[r / (ROWS / 2)][r % (ROWS / 2)] = r % 10 < 8 ? IMAGE_TOKEN : 1;
        x[r] = sqrtf(1 + (float)(r % 7));
        whole += x[r] * x[r];
    }
    assert_int_equal(vlmp_pool_create(&pool, 1, &err), 0);
    assert_int_equal(vlmp_ctx_create(&ctx, VLMP_BACKEND_REF, NULL, pool, &err), 0);
    const vlmp_sequence sequences[] = {{.length = ROWS / 2, .ids = ids[0]},
                                       {.length = ROWS / 2, .ids = ids[1]}};
    f->job.sweep.ctx = ctx;
    f->job.sweep.sequences = sequences;
    const vlmp_batch batch = {.rows = ROWS};
    for (int tower = 0; tower < 2; tower++) {
        double mean = 0, squares = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            vlmp_moments m;
            f->selection = (vlmp_selection){.seed = seed, .stride = STRIDE, .tower_stride = STRIDE};
            assert_int_equal(vlmp_moments_create(&m, ctx, 1, false, false, NULL, &err), 0);
            int status = vlmp_selection_add(&f->job, &m, tower == 1, &batch, VLMP_GRAM,
                                            (vlmp_act){x}, (vlmp_act){NULL}, &err);
            assert_int_equal(status, VLMP_OK);
            assert_int_equal(vlmp_moments_finish(&m, &err), 0);
            mean += (double)m.gram[0] / SEEDS;
            squares += (double)m.gram[0] * (double)m.gram[0] / SEEDS;
            vlmp_moments_free(&m);
        }
        double deviation = sqrt((squares - mean * mean) / SEEDS);
        assert_true(deviation > 0 && fabs(mean - (double)whole) < 4 * deviation);
        assert_true(deviation < 0.01 * mean);
    }
    f->selection = (vlmp_selection){0};
    finish(f);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_chosen_from_what_is_quantized),
        cmocka_unit_test(takes_all_in_order),
        cmocka_unit_test(thins_pictures_where_samples_are_long),
        cmocka_unit_test(weights_keep_sums_unbiased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
