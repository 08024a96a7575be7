#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/ref/ref.h"

/* Index of the first element of stored row `row` of a sequence. */
static size_t kv_offset(const vlmp_kv *kv, const vlmp_segment *segment, int row)
{
    int page = row / kv->page_rows;
    size_t number = (size_t)(segment->pages != NULL ? segment->pages[page] : page);
    size_t slot = number * (size_t)kv->page_rows + (size_t)(row % kv->page_rows);
    return slot * (size_t)kv->kv_heads * (size_t)kv->head_dim;
}

void vlmp_ref_kv_write(vlmp_ctx *ctx, const vlmp_kv *kv, const float *k, const float *v,
                       const vlmp_segment *segments, int count)
{
    (void)ctx;
    size_t width = (size_t)kv->kv_heads * (size_t)kv->head_dim;
    for (int s = 0; s < count; s++) {
        for (int row = 0; row < segments[s].rows; row++) {
            size_t from = (size_t)(segments[s].first_row + row) * width;
            size_t to = kv_offset(kv, &segments[s], segments[s].position + row);
            memcpy(kv->k + to, k + from, width * sizeof *k);
            memcpy(kv->v + to, v + from, width * sizeof *v);
        }
    }
}

static double score(const float *q, const float *k, int head_dim, float scale)
{
    double sum = 0;
    for (int i = 0; i < head_dim; i++)
        sum += (double)q[i] * k[i];
    return sum * scale;
}

static void attend(float *y, const float *q, const vlmp_kv *kv, const vlmp_attention *a,
                   const vlmp_segment *segment, int row, int kv_head)
{
    int position = segment->position + row;
    int end = a->causal ? position + 1 : segment->position + segment->rows;
    int start = a->causal && a->window > 0 && position >= a->window ? position - a->window + 1 : 0;
    size_t head_offset = (size_t)kv_head * (size_t)kv->head_dim;
    double largest = -INFINITY;
    for (int j = start; j < end; j++) {
        const float *k = kv->k + kv_offset(kv, segment, j) + head_offset;
        largest = fmax(largest, score(q, k, kv->head_dim, a->scale));
    }
    for (int i = 0; i < kv->head_dim; i++) {
        double weight_sum = 0;
        double sum = 0;
        for (int j = start; j < end; j++) {
            size_t offset = kv_offset(kv, segment, j) + head_offset;
            double s = score(q, kv->k + offset, kv->head_dim, a->scale);
            double weight = exp(s - largest);
            weight_sum += weight;
            sum += weight * kv->v[offset + (size_t)i];
        }
        y[i] = (float)(sum / weight_sum);
    }
}

void vlmp_ref_attention(vlmp_ctx *ctx, float *y, const float *q, const vlmp_kv *kv,
                        const vlmp_attention *a, const vlmp_segment *segments, int count)
{
    (void)ctx;
    assert(a->heads % kv->kv_heads == 0);
    for (int s = 0; s < count; s++) {
        for (int row = 0; row < segments[s].rows; row++) {
            size_t first = (size_t)(segments[s].first_row + row) * (size_t)a->heads;
            for (int head = 0; head < a->heads; head++) {
                size_t offset = (first + (size_t)head) * (size_t)kv->head_dim;
                int kv_head = head / (a->heads / kv->kv_heads);
                attend(y + offset, q + offset, kv, a, &segments[s], row, kv_head);
            }
        }
    }
}
