/* Quantizers' operations on whole matrices: moments, their factor, what errors cost under them. In
 * blocks over gemm. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/quant_work.h"

#define NB     VLMP_BLOCK /* columns of a block: its square in double fits the second-level cache */
#define CHUNK  VLMP_SUM_COLUMNS
#define ROWS   16   /* rows of a task */
#define SPAN   4096 /* values that are counted together */
#define SQUARE 32   /* of a matrix that is mirrored: its rows and columns fit L1 */

static int task_count(int rows)
{
    return (rows + ROWS - 1) / ROWS;
}

/* Rows of a task. */
static int end_of(int task, int rows)
{
    return vlmp_smaller((task + 1) * ROWS, rows);
}

struct mirror {
    float *a;
    size_t k;
};

static void mirror_rows(void *arg, int task, int thread)
{
    (void)thread;
    const struct mirror *m = arg;
    size_t first = (size_t)task * SQUARE, end = first + SQUARE < m->k ? first + SQUARE : m->k;
    for (size_t column = 0; column < end; column += SQUARE)
        for (size_t i = first; i < end; i++)
            for (size_t j = column; j < column + SQUARE && j < i; j++)
                m->a[j * m->k + i] = m->a[i * m->k + j];
}

void vlmp_cpu_quant_mirror(vlmp_ctx *ctx, float *a, int k)
{
    struct mirror m = {a, (size_t)k};
    vlmp_parallel_for(ctx->pool, (k + SQUARE - 1) / SQUARE, mirror_rows, &m);
}

struct scaling {
    float *a;
    const float *s;
    int k;
    bool divide;
};

static void scale_rows(void *arg, int task, int thread)
{
    (void)thread;
    const struct scaling *job = arg;
    for (int row = task * ROWS; row < end_of(task, job->k); row++) {
        float *a = job->a + (size_t)row * (size_t)job->k;
        for (int c = 0; c < job->k; c++) {
            float by = job->s[row] * job->s[c];
            a[c] = job->divide ? a[c] / by : a[c] * by;
        }
    }
}

void vlmp_cpu_quant_scale_both(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide)
{
    vlmp_parallel_for(ctx->pool, task_count(k), scale_rows, &(struct scaling){a, s, k, divide});
}

struct arrangement {
    float *out;
    const float *a;
    const int *order;
    int k;
    float ridge;
};

static void arrange_rows(void *arg, int task, int thread)
{
    (void)thread;
    const struct arrangement *job = arg;
    for (int i = task * ROWS; i < end_of(task, job->k); i++) {
        const float *row = job->a + (size_t)job->order[i] * (size_t)job->k;
        float *out = job->out + (size_t)i * (size_t)job->k;
        for (int j = 0; j <= i; j++)
            out[j] = row[job->order[j]];
        out[i] += job->ridge;
    }
}

void vlmp_cpu_quant_arrange(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order,
                            float ridge)
{
    vlmp_parallel_for(ctx->pool, task_count(k), arrange_rows,
                      &(struct arrangement){out, a, order, k, ridge});
}

/* Factors the nb × nb diagonal block in double; writes M back, and into inverse [nb][nb] the
 * (upper triangular) matrix M⁻ᵀ·diag(1/pivot). */
static bool factor_block(float *a, int lda, int nb, float *pivot, float least, float *inverse)
{
    double m[NB][NB], x[NB];
    for (int i = 0; i < nb; i++)
        for (int j = 0; j <= i; j++)
            m[i][j] = (double)a[(size_t)i * (size_t)lda + (size_t)j];
    for (int j = 0; j < nb; j++) {
        /* m[i][j] below the diagonal holds M·pivot until column j is done */
        double d = m[j][j];
        if (!(d >= (double)least) || !isfinite(d)) return false;
        pivot[j] = (float)d;
        for (int i = j + 1; i < nb; i++)
            m[i][j] /= d;
        for (int i = j + 1; i < nb; i++) {
            double by = m[i][j] * d;
            for (int l = j + 1; l <= i; l++)
                m[i][l] -= by * m[l][j];
        }
    }
    for (int i = 0; i < nb; i++)
        for (int j = 0; j < i; j++)
            a[(size_t)i * (size_t)lda + (size_t)j] = (float)m[i][j];
    for (int c = 0; c < nb; c++) { /* column c of M⁻¹ becomes row c of M⁻ᵀ */
        for (int i = 0; i < c; i++)
            x[i] = 0.0;
        x[c] = 1.0;
        for (int i = c + 1; i < nb; i++) {
            double sum = 0.0;
            for (int l = c; l < i; l++)
                sum -= m[i][l] * x[l];
            x[i] = sum;
        }
        for (int i = 0; i < nb; i++)
            inverse[c * nb + i] = (float)(x[i] / (double)pivot[i]);
    }
    return true;
}

void vlmp_cpu_quant_factor(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                           int32_t *failed)
{
    float *scaled = room;                         /* [nb][k]: M·diag(pivot) of the block's rows */
    float *panel = room + (size_t)NB * (size_t)k; /* [k][nb] */
    float *inverse = panel + (size_t)NB * (size_t)k; /* [nb][nb] */
    *failed = 1;
    for (int j = 0; j < k; j += NB) {
        int nb = vlmp_smaller(NB, k - j), below = k - j - nb;
        float *diagonal = a + (size_t)j * (size_t)k + (size_t)j;
        for (int i = 0; i < nb; i++)
            for (int l = 0; l < j; l++)
                scaled[(size_t)i * (size_t)j + (size_t)l] =
                    a[(size_t)(j + i) * (size_t)k + (size_t)l] * pivot[l];
        if (j > 0)
            vlmp_cpu_gemm(ctx, false, true, k - j, nb, j, -1.0f, a + (size_t)j * (size_t)k, k,
                          scaled, j, 1.0f, diagonal, k);
        if (!factor_block(diagonal, k, nb, pivot + j, least, inverse)) return;
        if (below == 0) continue;
        float *under = diagonal + (size_t)nb * (size_t)k;
        vlmp_cpu_gemm(ctx, false, false, below, nb, nb, 1.0f, under, k, inverse, nb, 0.0f, panel,
                      nb);
        for (int i = 0; i < below; i++)
            memcpy(under + (size_t)i * (size_t)k, panel + (size_t)i * (size_t)nb,
                   (size_t)nb * sizeof *panel);
    }
    *failed = 0;
}

struct solve {
    const float *m; /* [k][k] */
    float *x;       /* [n][k] */
    const float *pivot;
    float transposed[NB * NB];
    int k, n, first, cols;
    bool forward;
};

static void solve_rows(void *arg, int task, int thread)
{
    (void)thread;
    struct solve *s = arg;
    for (int row = task * ROWS; row < end_of(task, s->n); row++) {
        float *x = s->x + (size_t)row * (size_t)s->k + (size_t)s->first;
        if (s->forward) {
            for (int i = 0; i < s->cols; i++)
                for (int j = i + 1; j < s->cols; j++)
                    x[j] -= x[i] * s->transposed[i * NB + j];
            continue;
        }
        for (int i = s->cols - 1; i > 0; i--) {
            const float *m = s->m + (size_t)(s->first + i) * (size_t)s->k + (size_t)s->first;
            for (int j = 0; j < i; j++)
                x[j] -= x[i] * m[j];
        }
    }
}

static void divide_rows(void *arg, int task, int thread)
{
    (void)thread;
    struct solve *s = arg;
    for (int row = task * ROWS; row < end_of(task, s->n); row++)
        for (int j = 0; j < s->k; j++)
            s->x[(size_t)row * (size_t)s->k + (size_t)j] /= s->pivot[j];
}

/* The triangle on the diagonal, after what lies beside it has been subtracted. */
static void solve_block(vlmp_ctx *ctx, struct solve *s)
{
    for (int i = 0; i < s->cols && s->forward; i++)
        for (int j = 0; j < i; j++)
            s->transposed[j * NB + i] =
                s->m[(size_t)(s->first + i) * (size_t)s->k + (size_t)(s->first + j)];
    vlmp_parallel_for(ctx->pool, task_count(s->n), solve_rows, s);
}

void vlmp_cpu_quant_solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n)
{
    struct solve s = {.m = m, .x = x, .pivot = pivot, .k = k, .n = n, .forward = true};
    for (s.first = 0; s.first < k; s.first += NB) {
        s.cols = vlmp_smaller(NB, k - s.first);
        if (s.first > 0)
            vlmp_cpu_gemm(ctx, false, true, n, s.cols, s.first, -1.0f, x, k,
                          m + (size_t)s.first * (size_t)k, k, 1.0f, x + s.first, k);
        solve_block(ctx, &s);
    }
    vlmp_parallel_for(ctx->pool, task_count(n), divide_rows, &s);
    s.forward = false;
    for (s.first = (k - 1) / NB * NB; s.first >= 0; s.first -= NB) {
        s.cols = vlmp_smaller(NB, k - s.first);
        int end = s.first + s.cols;
        if (end < k)
            vlmp_cpu_gemm(ctx, false, false, n, s.cols, k - end, -1.0f, x + end, k,
                          m + (size_t)end * (size_t)k + (size_t)s.first, k, 1.0f, x + s.first, k);
        solve_block(ctx, &s);
    }
}

struct permutation {
    float *out;
    const float *x;
    const int *order;
    int n, k;
    bool back;
};

static void permute_rows(void *arg, int task, int thread)
{
    (void)thread;
    const struct permutation *p = arg;
    for (int row = task * ROWS; row < end_of(task, p->n); row++) {
        float *out = p->out + (size_t)row * (size_t)p->k;
        const float *x = p->x + (size_t)row * (size_t)p->k;
        for (int i = 0; i < p->k && !p->back; i++)
            out[i] = x[p->order[i]];
        for (int i = 0; i < p->k && p->back; i++)
            out[p->order[i]] = x[i];
    }
}

void vlmp_cpu_quant_permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k,
                            const int *order, bool back)
{
    vlmp_parallel_for(ctx->pool, task_count(n), permute_rows,
                      &(struct permutation){out, x, order, n, k, back});
}

struct multiple {
    float *y;
    const float *x;
    size_t count;
    float by;
};

static void add_share(void *arg, int first, int end, int thread)
{
    (void)thread;
    const struct multiple *m = arg;
    size_t last = m->count < (size_t)end * SPAN ? m->count : (size_t)end * SPAN;
    for (size_t i = (size_t)first * SPAN; i < last; i++)
        m->y[i] += m->by * m->x[i];
}

void vlmp_cpu_quant_add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count)
{
    vlmp_parallel_shares(ctx->pool, (int)((count + SPAN - 1) / SPAN), add_share,
                         &(struct multiple){y, x, count, by});
}

struct sum {
    const float *e, *product, *cross;
    double *part; /* one a task */
    int n, k, first, cols;
};

static void sum_rows(void *arg, int task, int thread)
{
    (void)thread;
    struct sum *s = arg;
    double total = 0.0;
    for (int row = task * ROWS; row < end_of(task, s->n); row++) {
        size_t at = (size_t)row * (size_t)s->k + (size_t)s->first;
        const float *e = s->e + at, *p = s->product + (size_t)row * (size_t)s->cols;
        for (int i = 0; i < s->cols; i++)
            total += (double)e[i] * (double)p[i];
        for (int i = 0; s->cross != NULL && i < s->cols; i++)
            total += 2.0 * (double)e[i] * (double)s->cross[at + (size_t)i];
    }
    s->part[task] += total;
}

void vlmp_cpu_quant_weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                                   const float *gram, const float *cross, void *room)
{
    struct sum s = {.e = e, .cross = cross, .part = room, .n = n, .k = k};
    float *product = (float *)(void *)(s.part + n);
    s.product = product;
    memset(s.part, 0, (size_t)task_count(n) * sizeof *s.part);
    for (s.first = 0; s.first < k; s.first += CHUNK) {
        s.cols = vlmp_smaller(CHUNK, k - s.first);
        vlmp_cpu_gemm(ctx, false, false, n, s.cols, k, 1.0f, e, k, gram + s.first, k, 0.0f, product,
                      s.cols);
        vlmp_parallel_for(ctx->pool, task_count(n), sum_rows, &s);
    }
    *out = 0.0;
    for (int i = 0; i < task_count(n); i++)
        *out += s.part[i];
}
