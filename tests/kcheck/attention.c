/* Writing the paged store, and attention over it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "tests/kcheck/kcheck.h"

enum { SEGMENTS = 4 };

/* Rows and stored rows of each segment: a fresh sequence, decoding one row (as many stored as the
 * case says), a continued prompt, and a short one whose pages are consecutive. */
static const int segment_rows[SEGMENTS] = {70, 1, 33, 3};
static const int segment_position[SEGMENTS] = {0, -1, 130, 2};

struct size {
    int page_rows, kv_heads, dim;
    bool int16;
    int decoded; /* rows stored before the one that is decoded; 0: 300 */
};

/* What lies in a store, as rows of sequences: the stored ones of each segment, then its own. */
struct store {
    vlmp_kv_shape shape;
    vlmp_segment segments[SEGMENTS]; /* of the call */
    vlmp_segment all[SEGMENTS];      /* with all rows, position 0 */
    int rows, all_rows;
    const float *k, *v; /* [all_rows][kv_heads·head_dim] */
};

/* Pages are handed out backwards from a pool with gaps, except to the last segment, which gets
 * pages = NULL: pages 0, 1 … are left to it. */
static struct store make_store(kc *k, const struct size *size, kc_kind kind)
{
    struct store s = {.shape = {.layers = 2,
                                .page_rows = size->page_rows,
                                .kv_heads = size->kv_heads,
                                .head_dim = size->dim,
                                .int16 = size->int16}};
    int next = 5 / size->page_rows + 1;
    for (int i = 0; i < SEGMENTS; i++) {
        int position = segment_position[i];
        if (position < 0) position = size->decoded > 0 ? size->decoded : 300;
        int rows = position + segment_rows[i], pages = (rows - 1) / size->page_rows + 1;
        int32_t *numbers = kc_input(k, (size_t)pages * sizeof *numbers);
        bool listed = i + 1 < SEGMENTS;
        for (int page = 0; page < pages; page++)
            numbers[page] = next + 2 * (pages - 1 - page);
        if (listed) next += 2 * pages;
        s.segments[i] = (vlmp_segment){.first_row = s.rows,
                                       .rows = segment_rows[i],
                                       .position = position,
                                       .pages = listed ? numbers : NULL,
                                       .page_count = listed ? pages : 0};
        s.all[i] = s.segments[i];
        s.all[i].first_row = s.all_rows;
        s.all[i].rows = rows;
        s.all[i].position = 0;
        s.rows += segment_rows[i];
        s.all_rows += rows;
    }
    s.shape.pages = next;
    size_t count = (size_t)s.all_rows * (size_t)size->kv_heads * (size_t)size->dim;
    s.k = kc_floats(k, count, kind);
    s.v = kc_floats(k, count, kind);
    return s;
}

/* The store in the context's own layout, in the second of two layers; the first holds the values of
 * the second the other way round. */
static vlmp_kv *fill(vlmp_ctx *ctx, const struct store *s, const float *v)
{
    vlmp_kv *kv;
    vlmp_error err = {0};
    if (ctx->ops->kv_create(ctx, &kv, &s->shape, &err) != VLMP_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    vlmp_step *step = kc_step(
        ctx, &(vlmp_step_rows){.rows = s->all_rows, .segment_count = SEGMENTS, .segments = s->all});
    ctx->ops->kv_write(ctx, kv, 0, kc_act(v), kc_act(s->k), step);
    ctx->ops->kv_write(ctx, kv, 1, kc_act(s->k), kc_act(v), step);
    ctx->ops->step_free(ctx, step);
    return kv;
}

struct attend {
    struct store store;
    const float *q;
    const float *v; /* the store's, or their sizes */
    vlmp_attention a;
    bool apart; /* a step for each segment */
};

static void attend_segments(vlmp_ctx *ctx, float *out, const struct attend *a, const vlmp_kv *kv,
                            const vlmp_step_rows *rows)
{
    size_t first =
        (size_t)rows->segments[0].first_row * (size_t)a->a.heads * (size_t)a->store.shape.head_dim;
    vlmp_segment segments[SEGMENTS];
    for (int s = 0; s < rows->segment_count; s++) {
        segments[s] = rows->segments[s];
        segments[s].first_row -= rows->segments[0].first_row;
    }
    vlmp_step *step = kc_step(ctx, &(vlmp_step_rows){.rows = rows->rows,
                                                     .segment_count = rows->segment_count,
                                                     .segments = segments});
    ctx->ops->attention(ctx, kc_act(out + first), kc_act(a->q + first), kv, 1, &a->a, step);
    ctx->ops->step_free(ctx, step);
}

static void run_attention(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct attend *a = arg;
    const vlmp_segment *segments = a->store.segments;
    vlmp_kv *kv = fill(ctx, &a->store, a->v);
    for (int s = 0; s < (a->apart ? SEGMENTS : 1); s++)
        attend_segments(ctx, out, a, kv,
                        &(vlmp_step_rows){.rows = a->apart ? segments[s].rows : a->store.rows,
                                          .segment_count = a->apart ? 1 : SEGMENTS,
                                          .segments = &segments[s]});
    ctx->ops->kv_free(ctx, kv);
}

/* A row that sees itself alone gives back its own value, whatever its score: what was written is
 * where the row looks. That of a store of 16-bit integers errs by no more than its contract says
 * (kernels/step.h), for values of any size. */
static void check_write(kc *k, struct size size, float unit)
{
    char name[96];
    snprintf(name, sizeof name, "kv_write page %d heads %d dim %d%s unit %g", size.page_rows,
             size.kv_heads, size.dim, size.int16 ? " int16" : "", (double)unit);
    kc_begin(k, name);
    struct attend at = {.store = make_store(k, &size, KC_NORMAL),
                        .a = {.heads = size.kv_heads, .causal = true, .window = 1}};
    size_t dim = (size_t)size.dim, width = (size_t)size.kv_heads * dim;
    size_t count = (size_t)at.store.rows * width, stored = (size_t)at.store.all_rows * width;
    float *values = kc_input(k, stored * sizeof *values);
    for (size_t i = 0; i < stored; i++)
        values[i] = kc_value(k, at.store.v[i] * unit);
    at.v = values;
    at.q = kc_floats(k, count, KC_UNIFORM);
    double *expected = kc_need(count, sizeof *expected);
    double *bound = kc_need(count, sizeof *bound);
    for (int s = 0; s < SEGMENTS; s++) {
        const vlmp_segment *segment = &at.store.segments[s];
        size_t from = (size_t)(at.store.all[s].first_row + segment->position) * width;
        size_t to = (size_t)segment->first_row * width;
        for (size_t i = 0; i < (size_t)segment->rows * width; i++) {
            double largest = 0;
            for (size_t j = i / dim * dim; j < i / dim * dim + dim; j++)
                largest = fmax(largest, fabs((double)values[from + j]));
            expected[to + i] = values[from + i];
            if (size.int16) bound[to + i] = 1.01 * 0x1p-16 * fmax(largest, 0x1p-100);
        }
    }
    kc_check_act(k, &(kc_case){name, run_attention, &at, count, NULL, expected, bound});
    free(expected);
    free(bound);
}

void kc_check_kv_write(kc *k)
{
    check_write(k, (struct size){.page_rows = 1, .kv_heads = 1, .dim = 3}, 1);
    check_write(k, (struct size){.page_rows = 16, .kv_heads = 2, .dim = 8}, 1);
    check_write(k, (struct size){.page_rows = 64, .kv_heads = 3, .dim = 32}, 1);
    check_write(k, (struct size){1, 1, 3, .int16 = true}, 1);
    check_write(k, (struct size){16, 2, 24, .int16 = true}, 1);
    check_write(k, (struct size){16, 2, 80, .int16 = true}, 0x1p120f);
    check_write(k, (struct size){64, 3, 17, .int16 = true}, 0x1p-120f);
}

/* Whether a row of a call is its segment's only one. */
static bool is_alone(const struct store *store, size_t row)
{
    int s = 0;
    while ((int)row >= store->segments[s].first_row + store->segments[s].rows)
        s++;
    return store->segments[s].rows == 1;
}

/* For each query row and head: the largest Σ|q·k|·scale, and for each output Σ p·|v|, from the
 * reference run on |v|. A score errs by (dim + 6) units (three of them of the scales of 16-bit
 * integers) of the former, at most doubled by the
 * subtraction of the largest; that is the relative error of its weight, to which exp, the sums over
 * `keys` weights (numerator and denominator) and rescaling at each block add. On a device rows that
 * are not alone in their segment go through tensor cores: three times the units, and weights of at
 * most 1 over a sum of at least 1 that are rounded to F16. */
static void attention_bounds(kc *k, struct attend *a, double *bound, size_t count)
{
    const struct store *store = &a->store;
    size_t dim = (size_t)store->shape.head_dim;
    size_t elements = (size_t)store->all_rows * (size_t)store->shape.kv_heads * dim;
    float *sizes = kc_need(count, sizeof *sizes);
    float *v = kc_need(elements, sizeof *v);
    double largest_key = 0, largest_value = 0;
    for (size_t i = 0; i < elements; i++) {
        v[i] = fabsf(store->v[i]);
        largest_value = fmax(largest_value, v[i]);
    }
    for (size_t head = 0; head < elements / dim; head++) {
        double norm = 0;
        for (size_t i = 0; i < dim; i++)
            norm += (double)store->k[head * dim + i] * store->k[head * dim + i];
        largest_key = fmax(largest_key, sqrt(norm));
    }
    a->v = v;
    run_attention(k->reference, sizes, a);
    a->v = store->v;
    int keys = store->all[1].rows;                      /* the most that a row sees */
    if (store->shape.int16) largest_key *= 1 + 0x1p-10; /* as rounded */
    for (size_t i = 0; i < count; i++) {
        double norm = 0;
        for (size_t j = i / dim * dim; j < i / dim * dim + dim; j++)
            norm += (double)a->q[j] * a->q[j];
        double score = sqrt(norm) * largest_key * fabs((double)a->a.scale); /* ≥ Σ|q·k| */
        double relative = 2 * ((double)dim + 6) * score + 2 * keys + 20;
        bool tiles = k->half && !is_alone(store, i / (dim * (size_t)a->a.heads));
        bound[i] = KC_UNIT * 2 * (tiles ? 3 : 1) * relative * sizes[i] + 0x1p-140;
        if (tiles) bound[i] += KC_HALF * sizes[i] + KC_HALF_TINY * keys * largest_value;
    }
    free(sizes);
    free(v);
}

/* The weight that is said to be read next is no memory: whoever does more than prefetch it dies. */
static void check_store(kc *k, struct size size, int ratio, kc_kind kind, vlmp_attention a)
{
    char name[128];
    const vlmp_linear next = {.n = 1000, .k = 512, .weight = (const void *)4096, .dtype = VLMP_F16};
    a.next = &next;
    size.int16 = size.int16 && !k->half; /* a device's store is exact */
    a.heads = size.kv_heads * ratio;
    snprintf(name, sizeof name, "attention page %d heads %d/%d dim %d %s window %d %s %s",
             size.page_rows, a.heads, size.kv_heads, size.dim, a.causal ? "causal" : "full",
             a.window, size.int16 ? "int16" : "f32", kc_kind_name(kind));
    kc_begin(k, name);
    struct attend at = {.store = make_store(k, &size, kind), .a = a};
    at.v = at.store.v;
    size_t count = (size_t)at.store.rows * (size_t)a.heads * (size_t)size.dim;
    at.q = kc_floats(k, count, kind);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    double *bound = kc_need(count, sizeof *bound);
    run_attention(k->reference, out, &at);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    attention_bounds(k, &at, bound, count);
    kc_check_act(k, &(kc_case){name, run_attention, &at, count, NULL, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

static void check_attention(kc *k, int page_rows, int kv_heads, int ratio, int dim, kc_kind kind,
                            vlmp_attention a)
{
    struct size size = {page_rows, kv_heads, dim, false, 0};
    check_store(k, size, ratio, kind, a);
    size.int16 = true;
    if (!k->half) check_store(k, size, ratio, kind, a);
}

/* The same rows on other pages give the same bits. */
static void check_pages(kc *k, int page_rows, int other_rows, bool int16, vlmp_attention a)
{
    enum { HEADS = 2, DIM = 24 };
    char name[96];
    snprintf(name, sizeof name, "attention pages of %d and %d rows%s", page_rows, other_rows,
             int16 ? " int16" : "");
    kc_begin(k, name);
    a.heads = 2 * HEADS;
    struct size size = {page_rows, HEADS, DIM, int16, 0}, other_size = size;
    other_size.page_rows = other_rows;
    struct attend at = {.store = make_store(k, &size, KC_NORMAL), .a = a};
    struct attend other = {.store = make_store(k, &other_size, KC_NORMAL), .a = a};
    size_t count = (size_t)at.store.rows * (size_t)a.heads * DIM;
    other.store.k = at.store.k;
    other.v = at.v = at.store.v;
    other.q = at.q = kc_floats(k, count, KC_NORMAL);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    run_attention(k->contexts[0], out, &at);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    kc_check(k, &(kc_case){name, run_attention, &other, count, NULL, expected, NULL});
    free(out);
    free(expected);
}

/* A segment has the bits that it has without the others, however much they have stored. */
static void check_apart(kc *k, struct size size, int ratio, vlmp_attention a)
{
    char name[96];
    size.int16 = size.int16 && !k->half;
    snprintf(name, sizeof name, "attention apart dim %d%s window %d, %d stored", size.dim,
             size.int16 ? " int16" : "", a.window, size.decoded);
    kc_begin(k, name);
    a.heads = size.kv_heads * ratio;
    struct attend at = {.store = make_store(k, &size, KC_NORMAL), .a = a, .apart = true};
    size_t count = (size_t)at.store.rows * (size_t)a.heads * (size_t)size.dim;
    at.v = at.store.v;
    at.q = kc_floats(k, count, KC_NORMAL);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    run_attention(k->contexts[0], out, &at);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    at.apart = false;
    kc_check(k, &(kc_case){name, run_attention, &at, count, NULL, expected, NULL});
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
    check_attention(k, 64, 1, 4, 64, KC_NORMAL, causal);
    check_attention(k, 32, 1, 7, 40, KC_OUTLIERS, causal);
    check_attention(k, 64, 1, 2, 128, KC_NORMAL, window);
    /* Long contexts: chunks of the decoded row in the middle of pages, and larger than the
     * smallest. Few: on the emulated GPU, where what is longer takes seconds. */
    bool few = k->every > 1;
    check_store(k, (struct size){24, 1, 8, true, few ? 700 : 1000}, 2, KC_NORMAL, causal);
    check_store(k, (struct size){64, few ? 1 : 2, 8, true, few ? 4200 : 8500}, few ? 1 : 3,
                KC_NORMAL, causal);
    check_store(k, (struct size){64, 1, 8, true, few ? 4200 : 8500}, 1, KC_NORMAL, window);
    check_apart(k, (struct size){16, 2, 8, true, 300}, 2, causal);
    check_apart(k, (struct size){16, 1, 5, true, 700}, 1, window);
    if (few) {
        check_pages(k, 64, 7, false, full);
        return;
    }
    for (int int16 = 0; int16 < (k->half ? 1 : 2); int16++) {
        check_pages(k, 64, 7, int16, full);
        check_pages(k, 512, 1, int16, causal);
        check_pages(k, 16, 128, int16, window);
    }
}
