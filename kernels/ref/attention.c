#include <assert.h>
#include <math.h>

#include "kernels/ref/ref.h"

static double score(const float *q, const float *k, int head_dim, float scale)
{
    double sum = 0;
    for (int i = 0; i < head_dim; i++)
        sum += (double)q[i] * k[i];
    return sum * scale;
}

/* One layer's keys and values. */
struct store {
    const vlmp_kv_shape *shape;
    const float *k, *v;
};

/* Index of the first element of a head in stored row `row` of a sequence. */
static size_t offset_of(const struct store *kv, const vlmp_segment *segment, int row, int kv_head)
{
    size_t slot = vlmp_host_kv_slot(kv->shape, segment, row);
    return (slot * (size_t)kv->shape->kv_heads + (size_t)kv_head) * (size_t)kv->shape->head_dim;
}

static void attend(float *y, const float *q, const struct store *kv, const vlmp_attention *a,
                   const vlmp_segment *segment, int row, int kv_head)
{
    int head_dim = kv->shape->head_dim;
    int position = segment->position + row;
    int end = a->causal ? position + 1 : segment->position + segment->rows;
    int start = a->causal && a->window > 0 && position >= a->window ? position - a->window + 1 : 0;
    double largest = -INFINITY;
    for (int j = start; j < end; j++) {
        const float *k = kv->k + offset_of(kv, segment, j, kv_head);
        largest = fmax(largest, score(q, k, head_dim, a->scale));
    }
    for (int i = 0; i < head_dim; i++) {
        double weight_sum = 0;
        double sum = 0;
        for (int j = start; j < end; j++) {
            size_t offset = offset_of(kv, segment, j, kv_head);
            double s = score(q, kv->k + offset, head_dim, a->scale);
            double weight = exp(s - largest);
            weight_sum += weight;
            sum += weight * kv->v[offset + (size_t)i];
        }
        y[i] = (float)(sum / weight_sum);
    }
}

void vlmp_ref_attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                        const vlmp_attention *a, const vlmp_step *step)
{
    (void)ctx;
    const struct store store = {&kv->shape, kv->k + vlmp_host_kv_layer(kv, layer),
                                kv->v + vlmp_host_kv_layer(kv, layer)};
    assert(a->heads % kv->shape.kv_heads == 0);
    for (int s = 0; s < step->segment_count; s++) {
        const vlmp_segment *segment = &step->segments[s];
        for (int row = 0; row < segment->rows; row++) {
            size_t first = (size_t)(segment->first_row + row) * (size_t)a->heads;
            for (int head = 0; head < a->heads; head++) {
                size_t offset = (first + (size_t)head) * (size_t)kv->shape.head_dim;
                int kv_head = head / (a->heads / kv->shape.kv_heads);
                attend((float *)y.at + offset, (const float *)q.at + offset, &store, a, segment,
                       row, kv_head);
            }
        }
    }
}
