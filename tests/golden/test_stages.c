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
#include "src/model/model.h"

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

/* One stack over x, compared after each block. */
static void run_stack(struct golden *g, vlmp_ctx *ctx, const vlmp_model *model,
                      const vlmp_stack *stack, const vlmp_block *blocks, const char *stage,
                      float *x, int rows)
{
    vlmp_error err = {0};
    vlmp_batches batches;
    vlmp_kv kv;
    vlmp_block_work work;
    const vlmp_block_shape *shape = &stack->shape;
    (void)model;
    assert_int_equal(vlmp_batches_create(&batches, &rows, 1, 1, &err), 0);
    assert_int_equal(vlmp_batch_kv_create(&kv, &batches, shape->kv_heads, shape->head_dim, &err),
                     0);
    assert_int_equal(vlmp_block_work_create(&work, shape, rows, &err), 0);
    assert_int_equal(vlmp_ctx_reserve(ctx, rows, shape->intermediate, &err), 0);
    vlmp_block_run run = {.ctx = ctx,
                          .shape = shape,
                          .work = &work,
                          .kv = kv,
                          .rows = rows,
                          .segments = batches.batches[0].segments,
                          .segment_count = 1};
    for (int i = 0; i < stack->layers; i++) {
        char name[256];
        vlmp_block_forward(&run, &blocks[i], x, NULL, NULL);
        g->depth++;
        snprintf(name, sizeof name, "%s.%d", stage, i);
        compare(g, name, x, (size_t)rows, (size_t)shape->dim, shape->intermediate);
    }
    vlmp_block_work_free(&work);
    vlmp_batch_kv_free(&kv);
    vlmp_batches_free(&batches);
}

static float *run_vision(struct golden *g, vlmp_ctx *ctx, const vlmp_model *model,
                         const vlmp_resident *weights)
{
    size_t bytes, hidden = (size_t)model->config.vision.hidden,
                  text = (size_t)model->config.text.hidden;
    size_t rows = (size_t)model->tile_rows, tokens = (size_t)model->tile_tokens;
    float *pixels = golden_copy(g, "pixel_values", &bytes);
    float *patches = vlmp_alloc(bytes, 1), *embedded = vlmp_alloc(rows * hidden, sizeof(float));
    float *x = vlmp_alloc(rows * hidden, sizeof(float));
    float *scratch = vlmp_alloc(tokens * text, sizeof(float));
    float *out = vlmp_alloc(tokens * text, sizeof(float));
    vlmp_vision_embed(ctx, model, &weights->vision_input, pixels, 1, patches, embedded, x);
    compare(g, "stage.model.vision_tower.pre_layrnorm", x, rows, hidden,
            weights->vision_input.patch.k);
    run_stack(g, ctx, model, &model->vision, weights->vision,
              "stage.model.vision_tower.encoder.layers", x, (int)rows);
    vlmp_project(ctx, model, &weights->projector, x + (rows - tokens) * hidden, (int)tokens,
                 scratch, out);
    compare(g, "stage.model.multi_modal_projector", out, tokens, text, (int)text);
    free(pixels), free(patches), free(embedded), free(x), free(scratch);
    return out;
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
    float *pictures = run_vision(&g, ctx, model, weights), *next = pictures;
    int32_t *ids = golden_copy(&g, "input_ids", &bytes);
    size_t rows = bytes / sizeof *ids;
    float *x = vlmp_alloc(rows * dim, sizeof *x),
          *logits = vlmp_alloc(rows * vocab, sizeof *logits);
    ctx->ops->embed(ctx, x, ids, (int)rows, &weights->embed);
    for (size_t r = 0; r < rows; r++) {
        if (ids[r] != model->config.image_token) continue;
        memcpy(x + r * dim, next, dim * sizeof *x);
        next += dim;
    }
    run_stack(&g, ctx, model, &model->text, weights->text, "stage.model.language_model.layers", x,
              (int)rows);
    ctx->ops->rms_norm(ctx, x, x, (int)rows, (int)dim, weights->norm, model->config.text.norm_eps);
    compare(&g, "stage.model.language_model.norm", x, rows, dim, (int)dim);
    ctx->ops->linear(ctx, logits, x, (int)rows, &weights->head);
    compare(&g, "logits", logits, rows, vocab, (int)dim);
    print_message("%s, sample %d: largest error %.2f of its bound\n", ctx->ops->name, sample,
                  g.worst);
    free(pictures), free(ids), free(x), free(logits);
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
    if (vlmp_load_all(&weights, &model, &err) != 0) fail_msg("%s", err.message);
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
