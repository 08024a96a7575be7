#include "src/eval/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/eval/caption_metrics.h"

static int grow(void **array, size_t size, size_t capacity, vlmp_error *err)
{
    size_t bytes;
    void *grown = vlmp_mul_size(size, capacity, &bytes) ? realloc(*array, bytes) : NULL;
    if (grown == NULL) return vlmp_fail_memory(err, "token scores");
    *array = grown;
    return VLMP_OK;
}

int vlmp_scores_sample(vlmp_token_scores *s, vlmp_error *err)
{
    if (s->samples + 1 >= s->sample_capacity) {
        size_t capacity = s->sample_capacity == 0 ? 256 : 2 * s->sample_capacity;
        VLMP_TRY(grow((void **)&s->first, sizeof *s->first, capacity, err));
        s->sample_capacity = capacity;
    }
    s->first[s->samples++] = s->tokens;
    s->first[s->samples] = s->tokens;
    return VLMP_OK;
}

int vlmp_scores_token(vlmp_token_scores *s, double nll, double reference_nll, double kl, bool top1,
                      vlmp_error *err)
{
    if (s->tokens == s->token_capacity) {
        size_t capacity = s->token_capacity == 0 ? 4096 : 2 * s->token_capacity;
        VLMP_TRY(grow((void **)&s->nll, sizeof *s->nll, capacity, err));
        VLMP_TRY(grow((void **)&s->reference_nll, sizeof *s->reference_nll, capacity, err));
        VLMP_TRY(grow((void **)&s->kl, sizeof *s->kl, capacity, err));
        VLMP_TRY(grow((void **)&s->top1, sizeof *s->top1, capacity, err));
        s->token_capacity = capacity;
    }
    s->nll[s->tokens] = nll;
    s->reference_nll[s->tokens] = reference_nll;
    s->kl[s->tokens] = kl;
    s->top1[s->tokens] = top1;
    s->first[s->samples] = ++s->tokens;
    return VLMP_OK;
}

void vlmp_scores_free(vlmp_token_scores *s)
{
    free(s->first);
    free(s->nll);
    free(s->reference_nll);
    free(s->kl);
    free(s->top1);
    *s = (vlmp_token_scores){0};
}

void vlmp_percentiles(double out[3], double *values, size_t n)
{
    qsort(values, n, sizeof *values, vlmp_compare_doubles);
    out[0] = vlmp_quantile(values, n, 0.50);
    out[1] = vlmp_quantile(values, n, 0.95);
    out[2] = vlmp_quantile(values, n, 0.99);
}

typedef struct {
    double value;
    uint32_t sample;
} owned_value;

/* Sums per sample, and all tokens' KL in descending order with the sample they belong to. */
typedef struct {
    size_t samples;
    double *tokens, *nll, *reference_nll, *kl; /* [samples] */
    owned_value *sorted_kl;                    /* [token count]; NULL: no reference */
    size_t token_count;
    uint32_t *once; /* [samples] ones: the data as they are */
} sums;

static int descending(const void *a, const void *b)
{
    double x = ((const owned_value *)a)->value, y = ((const owned_value *)b)->value;
    return (x < y) - (x > y);
}

static void sums_free(sums *s)
{
    free(s->tokens);
    free(s->sorted_kl);
    free(s->once);
}

static int sums_build(sums *out, const vlmp_token_scores *scores, vlmp_error *err)
{
    size_t n = scores->samples;
    *out = (sums){.samples = n, .token_count = scores->tokens};
    out->tokens = vlmp_calloc(4 * n, sizeof *out->tokens);
    if (scores->has_reference) out->sorted_kl = vlmp_alloc(scores->tokens, sizeof *out->sorted_kl);
    out->once = vlmp_alloc(n, sizeof *out->once);
    if (out->tokens == NULL || out->once == NULL ||
        (scores->has_reference && out->sorted_kl == NULL)) {
        sums_free(out);
        return vlmp_fail_memory(err, "metrics");
    }
    out->nll = out->tokens + n;
    out->reference_nll = out->nll + n;
    out->kl = out->reference_nll + n;
    for (size_t i = 0; i < n; i++) {
        out->once[i] = 1;
        for (size_t t = scores->first[i]; t < scores->first[i + 1]; t++) {
            out->tokens[i] += 1;
            out->nll[i] += scores->nll[t];
            if (!scores->has_reference) continue;
            out->reference_nll[i] += scores->reference_nll[t];
            out->kl[i] += scores->kl[t];
            out->sorted_kl[t] = (owned_value){scores->kl[t], (uint32_t)i};
        }
    }
    if (out->sorted_kl != NULL)
        qsort(out->sorted_kl, scores->tokens, sizeof *out->sorted_kl, descending);
    return VLMP_OK;
}

static double weighted(const double *values, const uint32_t *counts, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += counts[i] * values[i];
    return sum;
}

/* Quantile q of the tokens' KL when sample i counts counts[i] times: only the tail above it is
 * walked. */
static double weighted_quantile(const sums *s, const uint32_t *counts, double q)
{
    uint64_t total = 0;
    for (size_t i = 0; i < s->samples; i++)
        total += counts[i] * (uint64_t)s->tokens[i];
    if (total == 0) return NAN;
    double rank = (double)(total - 1) * q;
    uint64_t low = (uint64_t)rank;
    uint64_t from_top = total - 1 - low; /* descending rank of the lower neighbour */
    uint64_t seen = 0;
    double above = NAN; /* value at descending rank from_top − 1 */
    for (size_t t = 0; t < s->token_count; t++) {
        uint64_t times = counts[s->sorted_kl[t].sample];
        if (from_top > 0 && seen < from_top && seen + times >= from_top)
            above = s->sorted_kl[t].value;
        seen += times;
        if (seen > from_top) {
            double below = s->sorted_kl[t].value;
            return from_top == 0 ? below : vlmp_interpolate(below, above, rank - (double)low);
        }
    }
    return NAN;
}

enum { STAT_PPL, STAT_RATIO, STAT_KL, STAT_SCORE, STAT_COUNT };

static void token_statistics(void *arg, const uint32_t *counts, double *out)
{
    const sums *s = arg;
    double tokens = weighted(s->tokens, counts, s->samples);
    double nll = weighted(s->nll, counts, s->samples);
    out[STAT_PPL] = exp(nll / tokens);
    out[STAT_RATIO] = out[STAT_KL] = out[STAT_SCORE] = NAN;
    if (s->sorted_kl == NULL) return;
    out[STAT_RATIO] = exp((nll - weighted(s->reference_nll, counts, s->samples)) / tokens);
    out[STAT_KL] = weighted(s->kl, counts, s->samples) / tokens;
    out[STAT_SCORE] = sqrt(out[STAT_KL] * weighted_quantile(s, counts, 0.99));
}

static double total(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return sum;
}

static bool all_finite(const vlmp_token_scores *scores)
{
    for (size_t t = 0; t < scores->tokens; t++) {
        if (!isfinite(scores->nll[t])) return false;
        if (scores->has_reference &&
            (!isfinite(scores->reference_nll[t]) || !isfinite(scores->kl[t])))
            return false;
    }
    return true;
}

static void fill_kl(vlmp_eval_result *result, const sums *s, const vlmp_token_scores *scores,
                    const vlmp_interval *intervals)
{
    double tokens = (double)scores->tokens;
    vlmp_kl_result *kl = &result->kl;
    kl->mean = total(s->kl, s->samples) / tokens;
    kl->ci95 = intervals[STAT_KL];
    kl->p95 = weighted_quantile(s, s->once, 0.95);
    kl->p99 = weighted_quantile(s, s->once, 0.99);
    kl->max = s->sorted_kl[0].value;
    kl->score = sqrt(kl->mean * kl->p99);
    kl->score_ci95 = intervals[STAT_SCORE];
    size_t same = 0;
    for (size_t t = 0; t < scores->tokens; t++)
        same += scores->top1[t];
    result->top1 = (double)same / tokens;
}

static int fill_tokens(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err)
{
    const vlmp_token_scores *scores = input->scores;
    result->tokens = (int64_t)scores->tokens;
    if (scores->tokens == 0)
        return vlmp_result_note(result, err, "no answer tokens: ppl and kl are null");
    if (!all_finite(scores))
        return vlmp_result_note(result, err,
                                "the model gives NaN or infinite log-probabilities: ppl, kl and "
                                "top1 are null");
    sums s;
    VLMP_TRY(sums_build(&s, scores, err));
    vlmp_interval intervals[STAT_COUNT];
    vlmp_bootstrap bootstrap = {input->seed, scores->samples, VLMP_RESAMPLES};
    int status = vlmp_bootstrap_run(&bootstrap, token_statistics, &s, STAT_COUNT, intervals, err);
    if (status == VLMP_OK && (input->metrics & VLMP_METRIC_PPL) && !input->answers_are_stand_ins) {
        double tokens = (double)scores->tokens;
        double nll = total(s.nll, s.samples), reference = total(s.reference_nll, s.samples);
        result->ppl = exp(nll / tokens);
        result->ppl_ci95 = intervals[STAT_PPL];
        if (scores->has_reference && result->reference != NULL) {
            result->reference_ppl = exp(reference / tokens);
            result->ppl_ratio = exp((nll - reference) / tokens);
            result->ppl_ratio_ci95 = intervals[STAT_RATIO];
        }
    }
    if (status == VLMP_OK && (input->metrics & VLMP_METRIC_KL) && scores->has_reference &&
        result->reference != NULL)
        fill_kl(result, &s, scores, intervals);
    sums_free(&s);
    return status;
}

int vlmp_eval_fill(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err)
{
    unsigned captions = VLMP_METRIC_BLEU | VLMP_METRIC_CIDER;
    result->metrics = input->metrics;
    result->samples = (int64_t)input->count;
    bool scored = input->scores != NULL && (input->metrics & (VLMP_METRIC_PPL | VLMP_METRIC_KL));
    if (scored && input->scores->samples != input->count)
        return vlmp_fail(err, VLMP_ERR_SYSTEM, "internal: %zu samples scored of %zu",
                         input->scores->samples, input->count);
    if (scored) VLMP_TRY(fill_tokens(result, input, err));
    if (result->reference == NULL && (input->metrics & (VLMP_METRIC_PPL | VLMP_METRIC_KL)))
        VLMP_TRY(
            vlmp_result_note(result, err, "no reference: kl, top1 and ppl_ratio are left out"));
    if (input->answers_are_stand_ins && (input->metrics & (captions | VLMP_METRIC_PPL)))
        return vlmp_result_note(
            result, err,
            "answers are missing in the data, the source model's greedy answers "
            "stand in: ppl, bleu and cider are null");
    if ((input->metrics & captions) == 0) return VLMP_OK;
    return vlmp_caption_metrics(result, input, err);
}
