/* What is read off activations and logits. */
#include <math.h>

#include "kernels/ref/ref.h"

static int32_t first_not_finite(const float *x, size_t count)
{
    size_t i = 0;
    while (i < count && isfinite(x[i]))
        i++;
    return (int32_t)i;
}

void vlmp_ref_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count)
{
    (void)ctx;
    *at.at = first_not_finite(x.at, count);
}

void vlmp_ref_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count)
{
    (void)ctx;
    *at.at = first_not_finite(x.at, count);
}

void vlmp_ref_column_sizes(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                           vlmp_act x, int rows, int dim, vlmp_i32 kinds)
{
    vlmp_ref_column_sizes_f32(ctx, sum, squares, largest, (vlmp_f32){x.at}, rows, dim, kinds);
}

void vlmp_ref_column_sizes_f32(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                               vlmp_f32 x, int rows, int dim, vlmp_i32 kinds)
{
    (void)ctx;
    const float *row = x.at;
    for (int r = 0; r < rows; r++, row += dim) {
        if (kinds.at[r] < 0) continue;
        size_t first = (size_t)kinds.at[r] * (size_t)dim;
        for (int j = 0; j < dim; j++) {
            float size = fabsf(row[j]);
            sum.at[first + (size_t)j] += (double)size;
            if (squares.at != NULL) squares.at[first + (size_t)j] += (double)size * (double)size;
            if (largest.at != NULL && size > largest.at[first + (size_t)j])
                largest.at[first + (size_t)j] = size;
        }
    }
}

static int32_t best_of(const float *x, int n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

void vlmp_ref_argmax(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n)
{
    (void)ctx;
    for (int row = 0; row < rows; row++)
        best.at[row] = best_of(x.at + (size_t)row * (size_t)n, n);
}

static double log_sum_exp(const float *logits, int vocab, double largest)
{
    double sum = 0;
    for (int i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - largest);
    return largest + log(sum);
}

static float bad_of(const float *logits, int vocab)
{
    int32_t at = first_not_finite(logits, (size_t)vocab);
    return at < vocab ? logits[at] : 0;
}

vlmp_token_measure vlmp_ref_measure_row(const float *q, const float *p, int vocab, int32_t target)
{
    vlmp_token_measure m = {.best = best_of(q, vocab), .bad = bad_of(q, vocab)};
    double q_sum = log_sum_exp(q, vocab, (double)q[m.best]);
    m.nll = q_sum - (double)q[target];
    if (p == NULL) return m;
    m.reference_best = best_of(p, vocab);
    m.reference_bad = bad_of(p, vocab);
    double p_sum = log_sum_exp(p, vocab, (double)p[m.reference_best]);
    for (int i = 0; i < vocab; i++) {
        double log_p = (double)p[i] - p_sum, log_q = (double)q[i] - q_sum;
        m.kl += exp(log_p) * (log_p - log_q);
    }
    m.reference_nll = p_sum - (double)p[target];
    return m;
}

void vlmp_ref_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                      size_t p_stride, int vocab, vlmp_i32 targets, int rows)
{
    (void)ctx;
    for (size_t row = 0; row < (size_t)rows; row++)
        out.at[row] =
            vlmp_ref_measure_row(q.at + row * q_stride, p.at != NULL ? p.at + row * p_stride : NULL,
                                 vocab, targets.at[row]);
}
