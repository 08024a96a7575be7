/* The forward pass against the reference implementation's outputs (scripts/golden-stages.py), stage
 * by stage, for the reference kernels and the fast ones.
 *
 * Bound. Both sides compute in F32 with unit roundoff u = 2⁻²⁴. A product of K terms differs
 * between two summation orders by at most about 2·√K·u times the norm of its terms (Higham and Mary
 * 2019: the probabilistic bound; λ = 1 each), a block makes four such products in a row on the
 * residual path and two in attention, and rounding errors of earlier stages pass through norms
 * whose Jacobian is at most 1 relative to the row's size. So after d blocks the relative error of a
 * row, measured against the largest row norm of the stage, stays below 2·6·√K·u·(d + 1). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/hf_folder.h"
#include "formats/safetensors.h"
#include "src/base/memory.h"
#include "src/flow/sweep.h"
#include "src/model/ends.h"

/* test_stages [MODEL GOLDEN]: another model and its stages, which are too large for the tree. */
static const char *model_folder = VLMP_SOURCE_ROOT "/demo/model";
static const char *golden_folder = VLMP_SOURCE_ROOT "/tests/golden/emoji-llava";

struct golden {
    vlmp_safetensors file;
    int depth;    /* blocks behind the stage */
    double worst; /* error over bound */
};

static void compare(struct golden *g, const char *stage, const float *got, size_t rows, size_t dim,
                    int widest)
{
    const vlmp_st_tensor *want = vlmp_safetensors_find(&g->file, stage);
    if (want == NULL) fail_msg("no golden tensor %s", stage);
    assert_int_equal(want->end - want->begin, rows * dim * sizeof(float));
    const unsigned char *data = vlmp_safetensors_data(&g->file, want);
    double norm = 0, worst = 0;
    for (size_t r = 0; r < rows; r++) {
        double row = 0, error = 0;
        for (size_t i = 0; i < dim; i++) {
            float expected;
            memcpy(&expected, data + (r * dim + i) * sizeof expected, sizeof expected);
            row += (double)expected * (double)expected;
            error += pow((double)got[r * dim + i] - (double)expected, 2);
        }
        if (row > norm) norm = row;
        if (error > worst) worst = error;
    }
    double bound = 12 * sqrt(widest) * 0x1p-24 * (g->depth + 1);
    double relative = sqrt(worst / norm);
    if (relative / bound > g->worst) g->worst = relative / bound;
    if (relative > bound) fail_msg("%s: relative error %.3g, bound %.3g", stage, relative, bound);
}

static void *golden_copy(const struct golden *g, const char *name, size_t *bytes)
{
    const vlmp_st_tensor *tensor = vlmp_safetensors_find(&g->file, name);
    if (tensor == NULL) fail_msg("no golden tensor %s", name);
    *bytes = (size_t)(tensor->end - tensor->begin);
    void *copy = vlmp_alloc(*bytes, 1);
    assert_non_null(copy);
    memcpy(copy, vlmp_safetensors_data(&g->file, tensor), *bytes);
    return copy;
}

/* x [rows][dim] of the context, for comparing. */
static float *read_rows(vlmp_ctx *ctx, vlmp_f32 x, size_t count)
{
    vlmp_error err = {0};
    float *out = vlmp_alloc(count, sizeof *out);
    assert_non_null(out);
    assert_int_equal(vlmp_ctx_read(ctx, out, x.at, count * sizeof *out, &err), 0);
    return out;
}

static float *read_act(vlmp_ctx *ctx, vlmp_act x, size_t count)
{
    vlmp_error err = {0};
    float *out = vlmp_alloc(count, sizeof *out);
    assert_non_null(out);
    assert_int_equal(ctx->ops->read_act(ctx, out, x, count, &err), 0);
    return out;
}

static void *room(vlmp_ctx *ctx, size_t count, size_t size)
{
    vlmp_error err = {0};
    vlmp_u8 at;
    if (vlmp_ctx_alloc(ctx, &at, count, size, "a test", &err) != 0) fail_msg("%s", err.message);
    return at.at;
}

/* One stack over x, compared after each block. */
static void run_stack(struct golden *g, vlmp_ctx *ctx, const vlmp_stack *stack,
                      const vlmp_block *blocks, const char *stage, vlmp_f32 x, int rows)
{
    vlmp_error err = {0};
    vlmp_batches batches;
    vlmp_pass pass;
    const vlmp_block_shape *shape = &stack->shape;
    size_t count = (size_t)rows * (size_t)shape->dim;
    assert_int_equal(vlmp_batches_create(&batches, &rows, 1, 1, &err), 0);
    assert_int_equal(vlmp_pass_create(&pass, ctx, shape, &batches, &err), 0);
    vlmp_block_run run = vlmp_pass_set(&pass, &batches.batches[0], false);
    for (int i = 0; i < stack->layers; i++) {
        char name[256];
        vlmp_block_forward(&run, &blocks[i], x, NULL, NULL);
        g->depth++;
        snprintf(name, sizeof name, "%s.%d", stage, i);
        float *values = read_rows(ctx, x, count);
        compare(g, name, values, (size_t)rows, (size_t)shape->dim, shape->intermediate);
        free(values);
    }
    vlmp_pass_free(&pass);
    vlmp_batches_free(&batches);
}

/* The bytes and levels that normalized values [3][pixels] come from: of 256 each channel has. */
static void invert(const float *values, size_t pixels, uint8_t *bytes, float *levels)
{
    for (size_t c = 0; c < 3; c++) {
        size_t known = 0;
        for (size_t i = 0; i < pixels; i++) {
            float value = values[c * pixels + i];
            size_t level = 0;
            while (level < known && levels[c * 256 + level] != value)
                level++;
            assert_true(level < 256);
            if (level == known) levels[c * 256 + known++] = value;
            bytes[i * 3 + c] = (uint8_t)level;
        }
    }
}

static size_t tower_rows(const vlmp_model *model)
{
    const vlmp_vision_config *vision = &model->config.vision;
    return (size_t)vlmp_grid_tower_rows(vision, vlmp_tile_grid(vision, NULL));
}

static vlmp_f32 embed_tile(struct golden *g, vlmp_ctx *ctx, const vlmp_model *model,
                           const vlmp_resident *weights)
{
    vlmp_error err = {0};
    size_t bytes, rows = tower_rows(model), hidden = (size_t)model->config.vision.hidden;
    float *pixels = golden_copy(g, "pixel_values", &bytes), levels[3 * 256] = {0};
    uint8_t *tile = vlmp_alloc(bytes / sizeof *pixels, 1);
    assert_non_null(tile);
    invert(pixels, bytes / sizeof *pixels / 3, tile, levels);
    vlmp_tile_input input;
    vlmp_patch_grid grid = vlmp_tile_grid(&model->config.vision, NULL);
    vlmp_f32 x = {room(ctx, rows * hidden, sizeof(float))};
    assert_int_equal(vlmp_tile_input_create(&input, ctx, model, levels, vlmp_grid_patches(grid),
                                            bytes / sizeof *pixels, &err),
                     0);
    assert_int_equal(vlmp_ctx_reserve(ctx, (int)rows, weights->vision_input.patch.k, &err), 0);
    vlmp_tile_input_add(&input, grid, tile);
    vlmp_tile_input_embed(&input, &weights->vision_input, x);
    vlmp_tile_input_free(&input);
    float *values = read_rows(ctx, x, rows * hidden);
    compare(g, "stage.model.vision_tower.pre_layrnorm", values, rows, hidden,
            weights->vision_input.patch.k);
    free(values), free(pixels), free(tile);
    return x;
}

/* What the projector makes of the picture, [tile_tokens][text hidden]. */
static vlmp_act run_vision(struct golden *g, vlmp_ctx *ctx, const vlmp_model *model,
                           const vlmp_resident *weights)
{
    size_t hidden = (size_t)model->config.vision.hidden, text = (size_t)model->config.text.hidden;
    size_t rows = tower_rows(model), tokens = (size_t)vlmp_tile_tokens(&model->config);
    size_t act = ctx->ops->act_bytes;
    vlmp_f32 x = embed_tile(g, ctx, model, weights);
    run_stack(g, ctx, &model->vision, weights->vision, "stage.model.vision_tower.encoder.layers", x,
              (int)rows);
    vlmp_act features = {room(ctx, tokens * hidden, act)},
             scratch = {room(ctx, tokens * text, act)};
    vlmp_act out = {room(ctx, tokens * text, act)};
    vlmp_i32 from = {room(ctx, tokens, sizeof(int32_t))};
    for (size_t i = 0; i < tokens; i++) {
        int32_t row = (int32_t)(rows - tokens + i);
        vlmp_ctx_write(ctx, from.at + i, &row, sizeof row);
    }
    ctx->ops->gather(ctx, features, (int)hidden, 0, x, (int)hidden, from, (int)tokens);
    vlmp_project(ctx, model, &weights->projector, features, (int)tokens, scratch, out);
    float *values = read_act(ctx, out, tokens * text);
    compare(g, "stage.model.multi_modal_projector", values, tokens, text, (int)text);
    free(values);
    vlmp_ctx_free_memory(ctx, x.at);
    vlmp_ctx_free_memory(ctx, features.at);
    vlmp_ctx_free_memory(ctx, scratch.at);
    vlmp_ctx_free_memory(ctx, from.at);
    return out;
}

/* Token embeddings with the picture's rows where the placeholders are. */
static vlmp_f32 embed_text(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_resident *weights,
                           const int32_t *ids, int rows, vlmp_act pictures)
{
    vlmp_error err = {0};
    vlmp_step *step;
    size_t dim = (size_t)model->config.text.hidden;
    const vlmp_segment segment = {.rows = rows};
    vlmp_f32 x = {room(ctx, (size_t)rows * dim, sizeof(float))};
    vlmp_i32 from = {room(ctx, (size_t)rows, sizeof(int32_t))};
    vlmp_i32 to = {room(ctx, (size_t)rows, sizeof(int32_t))};
    int32_t count = 0;
    assert_int_equal(ctx->ops->step_create(ctx, &step, &(vlmp_step_size){rows, 1, 0}, &err), 0);
    ctx->ops->step_set(ctx, step, &(vlmp_step_rows){rows, 1, &segment, ids, {NULL}});
    ctx->ops->embed(ctx, x, step, &weights->embed);
    for (int32_t r = 0; r < rows; r++) {
        if (ids[r] != model->config.image_token) continue;
        vlmp_ctx_write(ctx, to.at + count, &r, sizeof r);
        vlmp_ctx_write(ctx, from.at + count, &count, sizeof count);
        count++;
    }
    ctx->ops->scatter(ctx, x, to, pictures, from, (vlmp_f32){NULL}, count, (int)dim, false);
    ctx->ops->step_free(ctx, step);
    vlmp_ctx_free_memory(ctx, from.at);
    vlmp_ctx_free_memory(ctx, to.at);
    return x;
}

static void run_sample(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_resident *weights,
                       int sample)
{
    struct golden g = {0};
    vlmp_error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/sample%d.safetensors", golden_folder, sample);
    assert_int_equal(vlmp_safetensors_open(&g.file, path, &err), 0);
    size_t bytes, dim = (size_t)model->config.text.hidden, vocab = (size_t)model->config.text.vocab;
    vlmp_act pictures = run_vision(&g, ctx, model, weights);
    int32_t *ids = golden_copy(&g, "input_ids", &bytes);
    size_t rows = bytes / sizeof *ids;
    vlmp_f32 x = embed_text(ctx, model, weights, ids, (int)rows, pictures);
    run_stack(&g, ctx, &model->text, weights->text, "stage.model.language_model.layers", x,
              (int)rows);
    vlmp_act normed = {room(ctx, rows * dim, ctx->ops->act_bytes)};
    vlmp_f32 logits = {room(ctx, rows * vocab, sizeof(float))};
    ctx->ops->rms_norm(ctx, normed, x, (int)rows, (int)dim, weights->norm.own,
                       model->config.text.norm_eps);
    float *values = read_act(ctx, normed, rows * dim);
    compare(&g, "stage.model.language_model.norm", values, rows, dim, (int)dim);
    free(values);
    ctx->ops->linear_f32(ctx, logits, normed, (vlmp_rows){(int)rows, false}, &weights->head, false);
    values = read_rows(ctx, logits, rows * vocab);
    compare(&g, "logits", values, rows, vocab, (int)dim);
    print_message("%s, sample %d: largest error %.2f of its bound\n", ctx->ops->name, sample,
                  g.worst);
    free(values), free(ids);
    vlmp_ctx_free_memory(ctx, pictures.at);
    vlmp_ctx_free_memory(ctx, x.at);
    vlmp_ctx_free_memory(ctx, normed.at);
    vlmp_ctx_free_memory(ctx, logits.at);
    vlmp_safetensors_close(&g.file);
}

static void check_backend(vlmp_backend backend)
{
    vlmp_error err = {0};
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    vlmp_source *source;
    vlmp_model model;
    vlmp_resident weights;
    assert_int_equal(vlmp_pool_create(&pool, 2, &err), 0);
    if (vlmp_ctx_create(&ctx, backend, NULL, pool, &err) != 0) fail_msg("%s", err.message);
    if (vlmp_folder_open(&source, model_folder, &err) != 0) fail_msg("%s", err.message);
    if (vlmp_model_open(&model, source, &err) != 0) fail_msg("%s", err.message);
    if (vlmp_load_all(&weights, ctx, &model, &err) != 0) fail_msg("%s", err.message);
    for (int sample = 0; sample < 3; sample++)
        run_sample(ctx, &model, &weights, sample);
    vlmp_resident_free(&weights);
    vlmp_model_close(&model);
    source->close(source);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
}

static void reference_kernels(void **state)
{
    (void)state;
    check_backend(VLMP_BACKEND_REF);
}

static void fast_kernels(void **state)
{
    (void)state;
    check_backend(VLMP_BACKEND_CPU);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        model_folder = argv[1];
        golden_folder = argv[2];
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference_kernels),
                                       cmocka_unit_test(fast_kernels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
