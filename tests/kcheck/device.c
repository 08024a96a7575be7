/* An implementation whose memory is not the host's, behind the host's: a context that copies what
 * an operation reads to the device and what it has written back, so that checks need not know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kcheck/device.h"

struct vlmp_step {
    vlmp_step *inner;
    int rows;
};

struct vlmp_kv {
    vlmp_kv *inner;
    vlmp_kv_shape shape;
};

static struct device *of(vlmp_ctx *ctx)
{
    return kc_device_of(ctx);
}

static void need(int status, const vlmp_error *err)
{
    if (status == VLMP_OK) return;
    fprintf(stderr, "kcheck: %s\n", err->message);
    exit(1);
}

static struct held *hold(struct device *d, void *host, size_t count, size_t size)
{
    vlmp_error err = {0};
    struct held *held = &d->held[d->held_count];
    if (d->held_count++ == KC_MOST_HELD) abort();
    *held = (struct held){.host = host, .count = count};
    need(vlmp_ctx_alloc(d->inner, &held->at, count, size, "a buffer", &err), &err);
    return held;
}

void *kc_device_place(struct device *d, const void *host, size_t bytes, bool out)
{
    if (host == NULL) return NULL;
    struct held *held = hold(d, (void *)(uintptr_t)host, bytes, 1);
    held->out = out;
    vlmp_ctx_write(d->inner, held->at, host, bytes);
    return held->at;
}

static vlmp_f32 f32(struct device *d, vlmp_f32 x, size_t count, bool out)
{
    return (vlmp_f32){kc_device_place(d, x.at, count * sizeof *x.at, out)};
}

static vlmp_f64 f64(struct device *d, vlmp_f64 x, size_t count)
{
    return (vlmp_f64){kc_device_place(d, x.at, count * sizeof *x.at, true)};
}

static vlmp_i32 i32(struct device *d, vlmp_i32 x, size_t count, bool out)
{
    return (vlmp_i32){kc_device_place(d, x.at, count * sizeof *x.at, out)};
}

static vlmp_act act(struct device *d, vlmp_act x, size_t count, bool out)
{
    struct held *held = hold(d, x.at, count, d->inner->ops->act_bytes);
    held->act = true;
    held->out = out;
    d->inner->ops->write_act(d->inner, (vlmp_act){held->at}, x.at, count);
    return (vlmp_act){held->at};
}

void kc_device_finish(struct device *d)
{
    vlmp_error err = {0};
    for (int i = 0; i < d->held_count; i++) {
        const struct held *held = &d->held[i];
        if (held->out && held->act)
            need(d->inner->ops->read_act(d->inner, held->host, (vlmp_act){held->at}, held->count,
                                         &err),
                 &err);
        else if (held->out)
            need(vlmp_ctx_read(d->inner, held->host, held->at, held->count, &err), &err);
        vlmp_ctx_free_memory(d->inner, held->at);
    }
    d->held_count = 0;
}

static size_t size(int rows, int dim)
{
    return (size_t)rows * (size_t)dim;
}

/* Rows that indices name. */
static size_t rows_named(vlmp_i32 of_rows, int count)
{
    int32_t most = -1;
    for (int i = 0; i < count; i++)
        most = of_rows.at[i] > most ? of_rows.at[i] : most;
    return (size_t)(most + 1);
}

static void destroy(vlmp_ctx *ctx)
{
    vlmp_ctx_free(of(ctx)->inner);
    free(ctx);
}

static const char *describe(const vlmp_ctx *ctx)
{
    return vlmp_ctx_describe(((const struct device *)(const void *)ctx)->inner);
}

static int step_create(vlmp_ctx *ctx, vlmp_step **out, const vlmp_step_size *of_step,
                       vlmp_error *err)
{
    vlmp_ctx *inner = of(ctx)->inner;
    *out = kc_need(1, sizeof **out);
    return inner->ops->step_create(inner, &(*out)->inner, of_step, err);
}

static void step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *rows)
{
    vlmp_ctx *inner = of(ctx)->inner;
    step->rows = rows->rows;
    inner->ops->step_set(inner, step->inner, rows);
}

static void step_free(vlmp_ctx *ctx, vlmp_step *step)
{
    vlmp_ctx *inner = of(ctx)->inner;
    inner->ops->step_free(inner, step->inner);
    free(step);
}

static int kv_create(vlmp_ctx *ctx, vlmp_kv **out, const vlmp_kv_shape *shape, vlmp_error *err)
{
    vlmp_ctx *inner = of(ctx)->inner;
    *out = kc_need(1, sizeof **out);
    (*out)->shape = *shape;
    return inner->ops->kv_create(inner, &(*out)->inner, shape, err);
}

static void kv_free(vlmp_ctx *ctx, vlmp_kv *kv)
{
    vlmp_ctx *inner = of(ctx)->inner;
    inner->ops->kv_free(inner, kv->inner);
    free(kv);
}

static vlmp_linear prepared(struct device *d, const vlmp_linear *w)
{
    vlmp_error err = {0};
    vlmp_linear copy = *w;
    need(d->inner->ops->prepare(d->inner, &copy, &err), &err);
    return copy;
}

static void embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table)
{
    struct device *d = of(ctx);
    vlmp_linear w = prepared(d, table);
    d->inner->ops->embed(d->inner, f32(d, y, size(step->rows, w.k), true), step->inner, &w);
    kc_device_finish(d);
    d->inner->ops->release(d->inner, w.own);
}

enum { MOST_SHARED = 8 };

static void linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                          const vlmp_linear *const *w, int count)
{
    struct device *d = of(ctx);
    vlmp_linear own[MOST_SHARED];
    const vlmp_linear *list[MOST_SHARED];
    vlmp_act out[MOST_SHARED];
    if (count > MOST_SHARED) abort();
    for (int i = 0; i < count; i++) {
        own[i] = prepared(d, w[i]);
        list[i] = &own[i];
        out[i] = act(d, y[i], size(rows.count, w[i]->n), true);
    }
    d->inner->ops->linear_shared(d->inner, out, act(d, x, size(rows.count, w[0]->k), false), rows,
                                 list, count);
    kc_device_finish(d);
    for (int i = 0; i < count; i++)
        d->inner->ops->release(d->inner, own[i].own);
}

static void linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w)
{
    struct device *d = of(ctx);
    vlmp_linear own = prepared(d, w);
    vlmp_act out = act(d, y, size(rows.count, w->n), true);
    d->inner->ops->linear(d->inner, out, act(d, x, size(rows.count, w->k), false), rows, &own);
    kc_device_finish(d);
    d->inner->ops->release(d->inner, own.own);
}

static void linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w,
                       bool add)
{
    struct device *d = of(ctx);
    vlmp_linear own = prepared(d, w);
    vlmp_f32 out = f32(d, y, size(rows.count, w->n), true);
    d->inner->ops->linear_f32(d->inner, out, act(d, x, size(rows.count, w->k), false), rows, &own,
                              add);
    kc_device_finish(d);
    d->inner->ops->release(d->inner, own.own);
}

static void rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                     float eps)
{
    struct device *d = of(ctx);
    size_t count = size(rows, dim);
    vlmp_act out = act(d, y, count, true);
    d->inner->ops->rms_norm(d->inner, out, f32(d, x, count, false), rows, dim,
                            f32(d, weight, (size_t)dim, false), eps);
    kc_device_finish(d);
}

static void layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                       vlmp_f32 bias, float eps)
{
    struct device *d = of(ctx);
    size_t count = size(rows, dim);
    vlmp_act out = act(d, y, count, true);
    vlmp_f32 factor = f32(d, weight, (size_t)dim, false);
    d->inner->ops->layer_norm(d->inner, out, f32(d, x, count, false), rows, dim, factor,
                              f32(d, bias, (size_t)dim, false), eps);
    kc_device_finish(d);
}

static void layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                           vlmp_f32 bias, float eps)
{
    struct device *d = of(ctx);
    vlmp_f32 factor = f32(d, weight, (size_t)dim, false);
    d->inner->ops->layer_norm_f32(d->inner, f32(d, x, size(rows, dim), true), rows, dim, factor,
                                  f32(d, bias, (size_t)dim, false), eps);
    kc_device_finish(d);
}

static void activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation function)
{
    struct device *d = of(ctx);
    d->inner->ops->activate(d->inner, act(d, x, count, true), count, function);
    kc_device_finish(d);
}

static void gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation function)
{
    struct device *d = of(ctx);
    vlmp_act out = act(d, gate, count, true);
    d->inner->ops->gated(d->inner, out, act(d, up, count, false), count, function);
    kc_device_finish(d);
}

static void subtract(vlmp_ctx *ctx, vlmp_act y, vlmp_act a, vlmp_act b, int rows, int dim,
                     vlmp_f32 s)
{
    struct device *d = of(ctx);
    size_t count = size(rows, dim);
    vlmp_act out = act(d, y, count, true), from = act(d, a, count, false);
    d->inner->ops->subtract(d->inner, out, from, act(d, b, count, false), rows, dim,
                            f32(d, s, (size_t)dim, false));
    kc_device_finish(d);
}

static void rope(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                 vlmp_f32 inv_freq, vlmp_i32 axes, float scaling)
{
    struct device *d = of(ctx);
    vlmp_act out = act(d, x, size(step->rows, heads) * (size_t)head_dim, true);
    vlmp_f32 frequencies = f32(d, inv_freq, (size_t)head_dim / 2, false);
    d->inner->ops->rope(d->inner, out, step->inner, heads, head_dim, frequencies,
                        i32(d, axes, (size_t)head_dim / 2, false), scaling);
    kc_device_finish(d);
}

static void kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                     const vlmp_step *step)
{
    struct device *d = of(ctx);
    size_t count = size(step->rows, kv->shape.kv_heads) * (size_t)kv->shape.head_dim;
    vlmp_act keys = act(d, k, count, false);
    d->inner->ops->kv_write(d->inner, kv->inner, layer, keys, act(d, v, count, false), step->inner);
    kc_device_finish(d);
}

static void attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                      const vlmp_attention *a, const vlmp_step *step)
{
    struct device *d = of(ctx);
    size_t count = size(step->rows, a->heads) * (size_t)kv->shape.head_dim;
    vlmp_act out = act(d, y, count, true);
    d->inner->ops->attention(d->inner, out, act(d, q, count, false), kv->inner, layer, a,
                             step->inner);
    kc_device_finish(d);
}

static void patchify(vlmp_ctx *ctx, vlmp_act y, vlmp_u8 pixels, int height, int width, int patch,
                     vlmp_f32 levels)
{
    struct device *d = of(ctx);
    vlmp_act out = act(d, y, 3 * size(height / patch * patch, width / patch * patch), true);
    vlmp_u8 bytes = {kc_device_place(d, pixels.at, 3 * size(height, width), false)};
    d->inner->ops->patchify(d->inner, out, bytes, height, width, patch,
                            f32(d, levels, (size_t)3 * 256, false));
    kc_device_finish(d);
}

static void columns(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, int rows, int x_dim, int column, int dim)
{
    struct device *d = of(ctx);
    vlmp_act out = act(d, y, size(rows, dim), true);
    d->inner->ops->columns(d->inner, out, act(d, x, size(rows, x_dim), false), rows, x_dim, column,
                           dim);
    kc_device_finish(d);
}

static void repeat(vlmp_ctx *ctx, vlmp_f32 y, vlmp_f32 table, int rows, int period, int dim)
{
    struct device *d = of(ctx);
    vlmp_f32 out = f32(d, y, size(rows, dim), true);
    d->inner->ops->repeat(d->inner, out, f32(d, table, size(period, dim), false), rows, period,
                          dim);
    kc_device_finish(d);
}

static void gather(vlmp_ctx *ctx, vlmp_act y, int y_dim, int column, vlmp_f32 x, int x_dim,
                   vlmp_i32 from, int rows)
{
    struct device *d = of(ctx);
    vlmp_act out = act(d, y, size(rows, y_dim), true);
    vlmp_f32 source = f32(d, x, rows_named(from, rows) * (size_t)x_dim, false);
    d->inner->ops->gather(d->inner, out, y_dim, column, source, x_dim,
                          i32(d, from, (size_t)rows, false), rows);
    kc_device_finish(d);
}

static void scatter(vlmp_ctx *ctx, vlmp_f32 y, vlmp_i32 to, vlmp_act x, vlmp_i32 from, vlmp_f32 w,
                    int rows, int dim, bool add)
{
    struct device *d = of(ctx);
    size_t count = (size_t)rows;
    vlmp_f32 out = f32(d, y, rows_named(to, rows) * (size_t)dim, true);
    vlmp_act source = act(d, x, rows_named(from, rows) * (size_t)dim, false);
    vlmp_i32 targets = i32(d, to, count, false), sources = i32(d, from, count, false);
    d->inner->ops->scatter(d->inner, out, targets, source, sources, f32(d, w, count, false), rows,
                           dim, add);
    kc_device_finish(d);
}

static void first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count)
{
    struct device *d = of(ctx);
    vlmp_i32 found = i32(d, at, 1, true);
    d->inner->ops->first_not_finite(d->inner, found, act(d, x, count, false), count);
    kc_device_finish(d);
}

static void first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count)
{
    struct device *d = of(ctx);
    vlmp_i32 found = i32(d, at, 1, true);
    d->inner->ops->first_not_finite_f32(d->inner, found, f32(d, x, count, false), count);
    kc_device_finish(d);
}

static void column_sizes(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                         vlmp_act x, int rows, int dim, vlmp_i32 kinds)
{
    struct device *d = of(ctx);
    size_t count = rows_named(kinds, rows) * (size_t)dim;
    vlmp_f64 sums = f64(d, sum, count), power = f64(d, squares, count);
    vlmp_f32 most = f32(d, largest, count, true);
    vlmp_act rows_in = act(d, x, size(rows, dim), false);
    d->inner->ops->column_sizes(d->inner, sums, power, most, rows_in, rows, dim,
                                i32(d, kinds, (size_t)rows, false));
    kc_device_finish(d);
}

static void column_sizes_f32(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                             vlmp_f32 x, int rows, int dim, vlmp_i32 kinds)
{
    struct device *d = of(ctx);
    size_t count = rows_named(kinds, rows) * (size_t)dim;
    vlmp_f64 sums = f64(d, sum, count), power = f64(d, squares, count);
    vlmp_f32 most = f32(d, largest, count, true), in = f32(d, x, size(rows, dim), false);
    d->inner->ops->column_sizes_f32(d->inner, sums, power, most, in, rows, dim,
                                    i32(d, kinds, (size_t)rows, false));
    kc_device_finish(d);
}

static void measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                    size_t p_stride, int vocab, vlmp_i32 targets, int rows)
{
    struct device *d = of(ctx);
    size_t before = (size_t)rows - 1, last = (size_t)vocab;
    vlmp_measures results = {kc_device_place(d, out.at, (size_t)rows * sizeof *out.at, true)};
    vlmp_f32 logits = f32(d, q, before * q_stride + last, false);
    vlmp_f32 reference = f32(d, p, before * p_stride + last, false);
    d->inner->ops->measure(d->inner, results, logits, q_stride, reference, p_stride, vocab,
                           i32(d, targets, (size_t)rows, false), rows);
    kc_device_finish(d);
}

static void argmax(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n)
{
    struct device *d = of(ctx);
    vlmp_i32 out = i32(d, best, (size_t)rows, true);
    d->inner->ops->argmax(d->inner, out, f32(d, x, size(rows, n), false), rows, n);
    kc_device_finish(d);
}

static void gram(vlmp_ctx *ctx, vlmp_f32 sums, vlmp_act x, int rows, int k)
{
    struct device *d = of(ctx);
    vlmp_f32 out = f32(d, sums, size(k, k), true);
    d->inner->ops->gram(d->inner, out, act(d, x, size(rows, k), false), rows, k);
    kc_device_finish(d);
}

static void cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k)
{
    struct device *d = of(ctx);
    vlmp_f32 out = f32(d, c, size(k, k), true);
    vlmp_act left = act(d, a, size(rows, k), false);
    d->inner->ops->cross(d->inner, out, left, act(d, b, size(rows, k), false), rows, k);
    kc_device_finish(d);
}

/* What checks do not call is missing. */
static const vlmp_ops ops = {
    .name = "device",
    .act_bytes = sizeof(float),
    .destroy = destroy,
    .describe = describe,
    .step_create = step_create,
    .step_set = step_set,
    .step_free = step_free,
    .kv_create = kv_create,
    .kv_free = kv_free,
    .embed = embed,
    .linear = linear,
    .linear_shared = linear_shared,
    .linear_f32 = linear_f32,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .layer_norm_f32 = layer_norm_f32,
    .activate = activate,
    .gated = gated,
    .subtract = subtract,
    .rope = rope,
    .kv_write = kv_write,
    .attention = attention,
    .patchify = patchify,
    .columns = columns,
    .repeat = repeat,
    .gather = gather,
    .scatter = scatter,
    .first_not_finite = first_not_finite,
    .first_not_finite_f32 = first_not_finite_f32,
    .column_sizes = column_sizes,
    .column_sizes_f32 = column_sizes_f32,
    .measure = measure,
    .argmax = argmax,
    .gram = gram,
    .cross = cross,
    .gemm = kc_device_gemm,
    .quant = &kc_device_quant_ops,
};

vlmp_ctx *kc_device(vlmp_ctx *inner)
{
    struct device *d = kc_need(1, sizeof *d);
    d->base = (vlmp_ctx){.ops = &ops, .pool = inner->pool};
    d->inner = inner;
    return &d->base;
}
