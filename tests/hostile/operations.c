/* The operations of the hostile implementation: each is checked, queued with copies of its
 * arguments, and run with the reference's. */
#include "kernels/ref/ref.h"
#include "tests/hostile/queue.h"

/* The rows of a step, when they have what the call needs. */
static const vlmp_step_rows *take_step(struct vlmp_hostile_call *call, const vlmp_step *step,
                                       const vlmp_step **own)
{
    struct vlmp_hostile_step *hidden = vlmp_hostile_step(call, step);
    if (hidden == NULL) return NULL;
    *own = hidden->step;
    if (hidden->rows.segments != NULL) return &hidden->rows;
    vlmp_hostile_refuse(call, "the step was not set");
    return NULL;
}

struct embed {
    vlmp_f32 y;
    const vlmp_step *step;
    const vlmp_linear *table;
};

RUN(embed, vlmp_ref_embed, a->y, a->step, a->table)

static void embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table)
{
    QUEUE(embed, y, step, table);
    const vlmp_step_rows *rows = take_step(call, step, &a->step);
    a->table = vlmp_hostile_weight(call, table);
    if (call->refused) return;
    if (rows->ids == NULL) vlmp_hostile_refuse(call, "the step has no ids");
    for (int i = 0; i < rows->rows && !call->refused; i++)
        if (rows->ids[i] < 0 || rows->ids[i] >= table->n)
            vlmp_hostile_refuse(call, "id %d is none of the table's %d", (int)rows->ids[i],
                                table->n);
    PLAIN(y, size(rows->rows, table->k));
}

struct linear_f32 {
    vlmp_f32 y;
    vlmp_act x;
    vlmp_rows rows;
    const vlmp_linear *w;
    bool add;
};

RUN(linear_f32, vlmp_ref_linear_f32, a->y, a->x, a->rows, a->w, a->add)

static void linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w,
                       bool add)
{
    QUEUE(linear_f32, y, x, rows, w, add);
    a->w = vlmp_hostile_weight(call, w);
    PLAIN(y, size(rows.count, w->n));
    ACT(x, size(rows.count, w->k));
}

enum { MOST_SHARED = 8 };

struct linear_shared {
    vlmp_act y[MOST_SHARED];
    vlmp_act x;
    vlmp_rows rows;
    const vlmp_linear *w[MOST_SHARED];
    int count;
};

RUN(linear_shared, vlmp_ref_linear_shared, a->y, a->x, a->rows, a->w, a->count)

static void linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                          const vlmp_linear *const *w, int count)
{
    QUEUE(linear_shared, .x = x, .rows = rows, .count = count);
    if (count > MOST_SHARED) vlmp_hostile_refuse(call, "%d products are more than a test's", count);
    for (int i = 0; i < count && !call->refused; i++) {
        a->y[i] = y[i];
        a->w[i] = vlmp_hostile_weight(call, w[i]);
        if (w[i]->k != w[0]->k) vlmp_hostile_refuse(call, "inputs of %d and %d", w[0]->k, w[i]->k);
        ACT(y[i], size(rows.count, w[i]->n));
    }
    ACT(x, size(rows.count, w[0]->k));
}

static void linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w)
{
    linear_shared(ctx, &y, x, rows, &w, 1);
}

struct rms_norm {
    vlmp_act y;
    vlmp_f32 x;
    int rows, dim;
    vlmp_f32 weight;
    float eps;
};

RUN(rms_norm, vlmp_ref_rms_norm, a->y, a->x, a->rows, a->dim, a->weight, a->eps)

static void rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                     float eps)
{
    QUEUE(rms_norm, y, x, rows, dim, weight, eps);
    ACT(y, size(rows, dim));
    PLAIN(x, size(rows, dim));
    PLAIN(weight, (size_t)dim);
}

struct layer_norm {
    vlmp_act y;
    vlmp_f32 x;
    int rows, dim;
    vlmp_f32 weight, bias;
    float eps;
};

RUN(layer_norm, vlmp_ref_layer_norm, a->y, a->x, a->rows, a->dim, a->weight, a->bias, a->eps)

static void layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                       vlmp_f32 bias, float eps)
{
    QUEUE(layer_norm, y, x, rows, dim, weight, bias, eps);
    ACT(y, size(rows, dim));
    PLAIN(x, size(rows, dim));
    PLAIN(weight, (size_t)dim);
    PLAIN(bias, (size_t)dim);
}

struct layer_norm_f32 {
    vlmp_f32 x;
    int rows, dim;
    vlmp_f32 weight, bias;
    float eps;
};

RUN(layer_norm_f32, vlmp_ref_layer_norm_f32, a->x, a->rows, a->dim, a->weight, a->bias, a->eps)

static void layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                           vlmp_f32 bias, float eps)
{
    QUEUE(layer_norm_f32, x, rows, dim, weight, bias, eps);
    (void)a;
    PLAIN(x, size(rows, dim));
    PLAIN(weight, (size_t)dim);
    PLAIN(bias, (size_t)dim);
}

struct activate {
    vlmp_act x;
    size_t count;
    vlmp_activation act;
};

RUN(activate, vlmp_ref_activate, a->x, a->count, a->act)

static void activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act)
{
    QUEUE(activate, x, count, act);
    ACT(x, count);
}

struct gated {
    vlmp_act gate, up;
    size_t count;
    vlmp_activation act;
};

RUN(gated, vlmp_ref_gated, a->gate, a->up, a->count, a->act)

static void gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act)
{
    QUEUE(gated, gate, up, count, act);
    ACT(gate, count);
    ACT(up, count);
}

struct subtract {
    vlmp_act y, a, b;
    int rows, dim;
    vlmp_f32 s;
};

RUN(subtract, vlmp_ref_subtract, a->y, a->a, a->b, a->rows, a->dim, a->s)

static void subtract(vlmp_ctx *ctx, vlmp_act y, vlmp_act from, vlmp_act b, int rows, int dim,
                     vlmp_f32 s)
{
    QUEUE(subtract, y, from, b, rows, dim, s);
    ACT(y, size(rows, dim));
    ACT(a, size(rows, dim));
    ACT(b, size(rows, dim));
    if (s.at != NULL) PLAIN(s, (size_t)dim);
}

struct rope {
    vlmp_act x;
    const vlmp_step *step;
    int heads, head_dim;
    vlmp_f32 inv_freq;
    vlmp_i32 axes;
    float scaling;
};

RUN(rope, vlmp_ref_rope, a->x, a->step, a->heads, a->head_dim, a->inv_freq, a->axes, a->scaling)

static void rope(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                 vlmp_f32 inv_freq, vlmp_i32 axes, float scaling)
{
    QUEUE(rope, x, step, heads, head_dim, inv_freq, axes, scaling);
    const vlmp_step_rows *rows = take_step(call, step, &a->step);
    if (rows == NULL) return;
    ACT(x, size(rows->rows, heads) * (size_t)head_dim);
    PLAIN(inv_freq, (size_t)head_dim / 2);
    if (axes.at != NULL) PLAIN(axes, (size_t)head_dim / 2);
}

/* Whether the store has the pages of a step's rows. */
static void check_pages(struct vlmp_hostile_call *call, const vlmp_step_rows *rows,
                        const vlmp_kv_shape *shape, int layer)
{
    if (layer < 0 || layer >= shape->layers)
        vlmp_hostile_refuse(call, "layer %d of %d", layer, shape->layers);
    for (int s = 0; s < rows->segment_count; s++) {
        const vlmp_segment *segment = &rows->segments[s];
        int end = segment->position + segment->rows;
        int pages = (end + shape->page_rows - 1) / shape->page_rows;
        if (segment->pages != NULL && segment->page_count < pages)
            vlmp_hostile_refuse(call, "segment %d has %d pages for %d rows", s, segment->page_count,
                                end);
        for (int p = 0; p < pages && !call->refused; p++) {
            int page = segment->pages != NULL ? segment->pages[p] : p;
            if (page < 0 || page >= shape->pages)
                vlmp_hostile_refuse(call, "page %d of %d", page, shape->pages);
        }
    }
}

struct kv_write {
    vlmp_kv *kv;
    int layer;
    vlmp_act k, v;
    const vlmp_step *step;
};

RUN(kv_write, vlmp_host_kv_write, a->kv, a->layer, a->k, a->v, a->step)

static void kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                     const vlmp_step *step)
{
    QUEUE(kv_write, kv, layer, k, v, step);
    const vlmp_step_rows *rows = take_step(call, step, &a->step);
    a->kv = vlmp_hostile_store(call, kv);
    if (call->refused) return;
    size_t count = size(rows->rows, a->kv->shape.kv_heads) * (size_t)a->kv->shape.head_dim;
    check_pages(call, rows, &a->kv->shape, layer);
    ACT(k, count);
    ACT(v, count);
}

struct attention {
    vlmp_act y, q;
    const vlmp_kv *kv;
    int layer;
    vlmp_attention how;
    const vlmp_step *step;
};

RUN(attention, vlmp_ref_attention, a->y, a->q, a->kv, a->layer, &a->how, a->step)

static void attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                      const vlmp_attention *how, const vlmp_step *step)
{
    QUEUE(attention, y, q, kv, layer, *how, step);
    const vlmp_step_rows *rows = take_step(call, step, &a->step);
    a->kv = vlmp_hostile_store(call, kv);
    if (call->refused) return;
    size_t count = size(rows->rows, how->heads) * (size_t)a->kv->shape.head_dim;
    check_pages(call, rows, &a->kv->shape, layer);
    ACT(y, count);
    ACT(q, count);
}

struct patchify {
    vlmp_act y;
    vlmp_u8 pixels;
    int height, width, patch;
    vlmp_f32 levels;
};

RUN(patchify, vlmp_host_patchify, a->y, a->pixels, a->height, a->width, a->patch, a->levels)

static void patchify(vlmp_ctx *ctx, vlmp_act y, vlmp_u8 pixels, int height, int width, int patch,
                     vlmp_f32 levels)
{
    QUEUE(patchify, y, pixels, height, width, patch, levels);
    ACT(y, 3 * size(height / patch * patch, width / patch * patch));
    PLAIN(pixels, 3 * size(height, width));
    PLAIN(levels, (size_t)3 * 256);
}

struct columns {
    vlmp_act y, x;
    int rows, x_dim, column, dim;
};

RUN(columns, vlmp_host_columns, a->y, a->x, a->rows, a->x_dim, a->column, a->dim)

static void columns(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, int rows, int x_dim, int column, int dim)
{
    QUEUE(columns, y, x, rows, x_dim, column, dim);
    if (column + dim > x_dim) vlmp_hostile_refuse(call, "columns beyond the row's %d", x_dim);
    ACT(y, size(rows, dim));
    ACT(x, size(rows, x_dim));
}

struct repeat {
    vlmp_f32 y, table;
    int rows, period, dim;
};

RUN(repeat, vlmp_host_repeat, a->y, a->table, a->rows, a->period, a->dim)

static void repeat(vlmp_ctx *ctx, vlmp_f32 y, vlmp_f32 table, int rows, int period, int dim)
{
    QUEUE(repeat, y, table, rows, period, dim);
    (void)a;
    PLAIN(y, size(rows, dim));
    PLAIN(table, size(period, dim));
}

/* Which rows gather and scatter touch lies in the context's memory: they get what there is. */
struct gather {
    vlmp_act y;
    int y_dim, column;
    vlmp_f32 x;
    int x_dim;
    vlmp_i32 from;
    int rows;
};

RUN(gather, vlmp_host_gather, a->y, a->y_dim, a->column, a->x, a->x_dim, a->from, a->rows)

static void gather(vlmp_ctx *ctx, vlmp_act y, int y_dim, int column, vlmp_f32 x, int x_dim,
                   vlmp_i32 from, int rows)
{
    QUEUE(gather, y, y_dim, column, x, x_dim, from, rows);
    if (column + x_dim > y_dim) vlmp_hostile_refuse(call, "columns beyond the row's %d", y_dim);
    ACT(y, size(rows, y_dim));
    vlmp_hostile_use(call, "x", x.at, rows > 0 ? VLMP_HOSTILE_REST : 0);
    PLAIN(from, (size_t)rows);
}

struct scatter {
    vlmp_f32 y, w;
    vlmp_i32 to, from;
    vlmp_act x;
    int rows, dim;
    bool add;
};

RUN(scatter, vlmp_host_scatter, a->y, a->to, a->x, a->from, a->w, a->rows, a->dim, a->add)

static void scatter(vlmp_ctx *ctx, vlmp_f32 y, vlmp_i32 to, vlmp_act x, vlmp_i32 from, vlmp_f32 w,
                    int rows, int dim, bool add)
{
    QUEUE(scatter, y, w, to, from, x, rows, dim, add);
    vlmp_hostile_use(call, "y", y.at, rows > 0 ? VLMP_HOSTILE_REST : 0);
    PLAIN(to, (size_t)rows);
    ACT(x, rows > 0 ? VLMP_HOSTILE_REST : 0);
    PLAIN(from, (size_t)rows);
    if (w.at != NULL) PLAIN(w, (size_t)rows);
}

static int reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err)
{
    (void)ctx, (void)rows, (void)k, (void)err;
    return VLMP_OK;
}

static const char *describe(const vlmp_ctx *ctx)
{
    return ctx->ops->name;
}

const vlmp_ops vlmp_hostile_ops = {
    .name = "hostile",
    .act_bytes = sizeof(vlmp_hostile_act),
    .destroy = vlmp_hostile_destroy,
    .reserve = reserve,
    .describe = describe,
    .alloc = vlmp_hostile_alloc,
    .free = vlmp_hostile_free,
    .write = vlmp_hostile_write,
    .read = vlmp_hostile_read,
    .sync = vlmp_hostile_sync,
    .range = vlmp_hostile_range,
    .write_act = vlmp_hostile_write_act,
    .read_act = vlmp_hostile_read_act,
    .prepare = vlmp_hostile_prepare,
    .release = vlmp_hostile_release,
    .step_create = vlmp_hostile_step_create,
    .step_set = vlmp_hostile_step_set,
    .step_free = vlmp_hostile_step_free,
    .replay = vlmp_hostile_replay,
    .replay_end = vlmp_hostile_replay_end,
    .replay_free = vlmp_hostile_replay_free,
    .kv_create = vlmp_hostile_kv_create,
    .kv_free = vlmp_hostile_kv_free,
    .kv_bytes = vlmp_host_kv_bytes,
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
    .repeat = repeat,
    .columns = columns,
    .gather = gather,
    .scatter = scatter,
    .first_not_finite = vlmp_hostile_first_not_finite,
    .first_not_finite_f32 = vlmp_hostile_first_not_finite_f32,
    .column_sizes = vlmp_hostile_column_sizes,
    .column_sizes_f32 = vlmp_hostile_column_sizes_f32,
    .measure = vlmp_hostile_measure,
    .argmax = vlmp_hostile_argmax,
    .gram = vlmp_hostile_gram,
    .cross = vlmp_hostile_cross,
    .gemm = vlmp_hostile_gemm,
    .quant = &vlmp_hostile_quant_ops,
};
