/* Writing the paged store, and attention over it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "tests/kcheck/kcheck.h"

enum { SEGMENTS = 4 };

/* Rows and stored rows of each segment: a fresh sequence, decoding one row, a continued prompt, and
 * a short one whose pages are consecutive. */
static const int segment_rows[SEGMENTS] = {70, 1, 33, 3};
static const int segment_position[SEGMENTS] = {0, 200, 130, 2};

struct store {
    vlmp_kv kv;
    vlmp_segment segments[SEGMENTS];
    int rows;
    size_t elements; /* of k and of v */
};

/* Pages are handed out backwards from a pool with gaps, except to the last segment, which gets
 * pages = NULL: pages 0, 1 … are left to it. */
static struct store make_store(kc *k, int page_rows, int kv_heads, int dim)
{
    struct store s = {.kv = {.page_rows = page_rows, .kv_heads = kv_heads, .head_dim = dim}};
    int next = 5 / page_rows + 1;
    for (int i = 0; i < SEGMENTS; i++) {
        int pages = (segment_position[i] + segment_rows[i] - 1) / page_rows + 1;
        int32_t *numbers = kc_input(k, (size_t)pages * sizeof *numbers);
        for (int page = 0; page < pages; page++)
            numbers[page] = next + 2 * (pages - 1 - page);
        if (i + 1 < SEGMENTS) next += 2 * pages;
        s.segments[i] = (vlmp_segment){s.rows, segment_rows[i], segment_position[i],
                                       i + 1 < SEGMENTS ? numbers : NULL};
        s.rows += segment_rows[i];
    }
    s.elements = (size_t)next * (size_t)page_rows * (size_t)kv_heads * (size_t)dim;
    return s;
}

struct write {
    struct store store;
    const float *k, *v;
};

/* The output is the store: keys, then values. */
static void run_write(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct write *w = arg;
    vlmp_kv kv = w->store.kv;
    kv.k = out;
    kv.v = out + w->store.elements;
    ctx->ops->kv_write(ctx, &kv, w->k, w->v, w->store.segments, SEGMENTS);
}

static void check_write(kc *k, int page_rows, int kv_heads, int dim)
{
    char name[64];
    snprintf(name, sizeof name, "kv_write page %d heads %d dim %d", page_rows, kv_heads, dim);
    kc_begin(k, name);
    struct write w = {.store = make_store(k, page_rows, kv_heads, dim)};
    size_t count = 2 * w.store.elements;
    size_t width = (size_t)w.store.rows * (size_t)kv_heads * (size_t)dim;
    w.k = kc_floats(k, width, KC_NORMAL);
    w.v = kc_floats(k, width, KC_UNIFORM);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    for (size_t i = 0; i < count; i++)
        out[i] = NAN; /* what is not written stays */
    run_write(k->reference, out, &w);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    kc_check(k, &(kc_case){name, run_write, &w, count, NULL, expected, NULL});
    free(out);
    free(expected);
}

void kc_check_kv_write(kc *k)
{
    check_write(k, 1, 1, 3);
    check_write(k, 16, 2, 8);
    check_write(k, 64, 3, 32);
}

struct attend {
    struct store store;
    const float *q;
    vlmp_attention a;
};

static void run_attention(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct attend *a = arg;
    ctx->ops->attention(ctx, out, a->q, &a->store.kv, &a->a, a->store.segments, SEGMENTS);
}

/* For each query row and head: the largest Σ|q·k|·scale, and for each output Σ p·|v|, from the
 * reference run on |v|. A score errs by (dim + 3) units of the former, at most doubled by the
 * subtraction of the largest; that is the relative error of its weight, to which exp, the sums over
 * `keys` weights (numerator and denominator) and rescaling at each block add. */
static void attention_bounds(kc *k, struct attend *a, double *bound, size_t count)
{
    const vlmp_kv kv = a->store.kv;
    size_t dim = (size_t)kv.head_dim;
    size_t row_stride = (size_t)kv.kv_heads * dim;
    float *sizes = kc_need(count, sizeof *sizes);
    float *v = kc_need(a->store.elements, sizeof *v);
    double largest_key = 0;
    for (size_t i = 0; i < a->store.elements; i++)
        v[i] = fabsf(kv.v[i]);
    for (size_t slot = 0; slot < a->store.elements / row_stride * (size_t)kv.kv_heads; slot++) {
        double norm = 0;
        for (size_t i = 0; i < dim; i++)
            norm += (double)kv.k[slot * dim + i] * kv.k[slot * dim + i];
        largest_key = fmax(largest_key, sqrt(norm));
    }
    a->store.kv.v = v;
    run_attention(k->reference, sizes, a);
    a->store.kv = kv;
    int keys = 300;
    for (size_t i = 0; i < count; i++) {
        double norm = 0;
        for (size_t j = i / dim * dim; j < i / dim * dim + dim; j++)
            norm += (double)a->q[j] * a->q[j];
        double score = sqrt(norm) * largest_key * fabs((double)a->a.scale); /* ≥ Σ|q·k| */
        double relative = 2 * ((double)dim + 3) * score + 2 * keys + 20;
        bound[i] = KC_UNIT * 2 * relative * sizes[i] + 0x1p-140;
    }
    free(sizes);
    free(v);
}

static void check_attention(kc *k, int page_rows, int kv_heads, int ratio, int dim, kc_kind kind,
                            vlmp_attention a)
{
    char name[128];
    a.heads = kv_heads * ratio;
    snprintf(name, sizeof name, "attention page %d heads %d/%d dim %d %s window %d %s", page_rows,
             a.heads, kv_heads, dim, a.causal ? "causal" : "full", a.window, kc_kind_name(kind));
    kc_begin(k, name);
    struct attend at = {.store = make_store(k, page_rows, kv_heads, dim), .a = a};
    at.store.kv.k = kc_floats(k, at.store.elements, kind);
    at.store.kv.v = kc_floats(k, at.store.elements, kind);
    size_t count = (size_t)at.store.rows * (size_t)a.heads * (size_t)dim;
    at.q = kc_floats(k, count, kind);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    double *bound = kc_need(count, sizeof *bound);
    run_attention(k->reference, out, &at);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    attention_bounds(k, &at, bound, count);
    kc_check(k, &(kc_case){name, run_attention, &at, count, NULL, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

/* Rows of the segments, one after another, to where their pages lie. */
static void place_rows(const struct store *s, float *to, const float *rows)
{
    size_t width = (size_t)s->kv.kv_heads * (size_t)s->kv.head_dim;
    for (int i = 0; i < SEGMENTS; i++) {
        const vlmp_segment *segment = &s->segments[i];
        for (int row = 0; row < segment->position + segment->rows; row++, rows += width) {
            int page = row / s->kv.page_rows;
            if (segment->pages != NULL) page = segment->pages[page];
            size_t slot = (size_t)page * (size_t)s->kv.page_rows + (size_t)(row % s->kv.page_rows);
            memcpy(to + slot * width, rows, width * sizeof *to);
        }
    }
}

/* The same rows on other pages give the same bits. */
static void check_pages(kc *k, int page_rows, int other_rows, vlmp_attention a)
{
    enum { HEADS = 2, DIM = 24, ROWS = 70 + 201 + 163 + 5, WIDTH = HEADS * DIM };
    char name[96];
    snprintf(name, sizeof name, "attention pages of %d and %d rows", page_rows, other_rows);
    kc_begin(k, name);
    a.heads = 2 * HEADS;
    struct attend at[2] = {{.store = make_store(k, page_rows, HEADS, DIM), .a = a},
                           {.store = make_store(k, other_rows, HEADS, DIM), .a = a}};
    const float *keys = kc_floats(k, ROWS * WIDTH, KC_NORMAL);
    const float *values = kc_floats(k, ROWS * WIDTH, KC_NORMAL);
    size_t count = (size_t)at[0].store.rows * (size_t)a.heads * DIM;
    at[0].q = at[1].q = kc_floats(k, count, KC_NORMAL);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    for (int i = 0; i < 2; i++) {
        float *stored = kc_need(2 * at[i].store.elements, sizeof *stored);
        at[i].store.kv.k = stored;
        at[i].store.kv.v = stored + at[i].store.elements;
        place_rows(&at[i].store, at[i].store.kv.k, keys);
        place_rows(&at[i].store, at[i].store.kv.v, values);
    }
    run_attention(k->contexts[0], out, &at[0]);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    kc_check(k, &(kc_case){name, run_attention, &at[1], count, NULL, expected, NULL});
    for (int i = 0; i < 2; i++)
        free(at[i].store.kv.k);
    free(out);
    free(expected);
}

void kc_check_attention(kc *k)
{
    const vlmp_attention full = {.scale = 0.25f};
    const vlmp_attention causal = {.scale = 0.125f, .causal = true};
    const vlmp_attention window = {.scale = 0.3f, .causal = true, .window = 20};
    check_attention(k, 16, 1, 1, 1, KC_NORMAL, causal);
    check_attention(k, 7, 2, 1, 5, KC_NORMAL, full);
    check_attention(k, 16, 1, 3, 16, KC_UNIFORM, causal);
    check_attention(k, 64, 2, 2, 24, KC_NORMAL, window);
    check_attention(k, 512, 1, 2, 64, KC_NORMAL, full);
    check_attention(k, 128, 1, 1, 80, KC_ONE_HOT, causal);
    check_attention(k, 16, 1, 1, 8, KC_ZEROS, causal);
    check_attention(k, 1, 1, 1, 8, KC_OUTLIERS, full);
    check_attention(k, 16, 1, 1, 32, KC_TINY, full);
    check_pages(k, 64, 7, full);
    check_pages(k, 512, 1, causal);
    check_pages(k, 16, 128, window);
}
