#include "src/plan/formulas.h"

#include <math.h>

double vlmp_kv_bytes(int layers, int kv_heads, int head_dim, double rows, double value_bytes)
{
    return 2.0 * layers * kv_heads * head_dim * rows * value_bytes;
}

double vlmp_score_bytes(double sequences, int heads, double queries, double keys,
                        double value_bytes)
{
    return sequences * heads * queries * keys * value_bytes;
}

double vlmp_rounding_error(const double *steps, size_t count, double group)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += group * steps[i] * steps[i] / 12;
    return sqrt(sum);
}

/* E[largest²] = ∫ 2m·P(largest > m) dm; P(largest ≤ m) = erf(m/√2)^group. By the midpoint rule: the
 * integrand is smooth, and below 1e-12 from 9 on, for groups of up to 10⁶. */
static double largest_square(double group)
{
    const double width = 1.0 / 512, end = 9;
    double sum = 0;
    for (double m = width / 2; m < end; m += width)
        sum += 2 * m * -expm1(group * log(erf(m / sqrt(2)))) * width;
    return sum;
}

double vlmp_normal_error(double group, double reach)
{
    double step = sqrt(largest_square(group)) / reach;
    return vlmp_rounding_error(&step, 1, 1);
}

double vlmp_padded_efficiency(const double *lengths, size_t count, double multiple)
{
    double sum = 0, longest = 0;
    for (size_t i = 0; i < count; i++) {
        sum += lengths[i];
        if (lengths[i] > longest) longest = lengths[i];
    }
    return sum / ((double)count * ceil(longest / multiple) * multiple);
}

double vlmp_paged_efficiency(const double *lengths, size_t count, double page)
{
    double sum = 0, held = 0;
    for (size_t i = 0; i < count; i++) {
        sum += lengths[i];
        held += ceil(lengths[i] / page) * page;
    }
    return sum / held;
}

double vlmp_roofline_seconds(double bytes, double operations, double bandwidth, double rate)
{
    double reads = bytes / bandwidth, computes = operations / rate;
    return reads > computes ? reads : computes;
}

double vlmp_request_seconds(double encode, double prefill, double decode, double tokens,
                            double overhead)
{
    return encode + prefill + (tokens > 1 ? tokens - 1 : 0) * decode + overhead;
}
