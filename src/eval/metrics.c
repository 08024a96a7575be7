#include "src/eval/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/eval/caption_metrics.h"
#include "src/eval/token_classes.h"
#include "src/eval/token_sums.h"

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
    free(s->classes);
    *s = (vlmp_token_scores){0};
}

void vlmp_percentiles(double out[3], double *values, size_t n)
{
    qsort(values, n, sizeof *values, vlmp_compare_doubles);
    out[0] = vlmp_quantile(values, n, 0.50);
    out[1] = vlmp_quantile(values, n, 0.95);
    out[2] = vlmp_quantile(values, n, 0.99);
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

static void fill_kl(vlmp_eval_result *result, const vlmp_token_sums *s, const double *values,
                    const vlmp_interval *intervals)
{
    vlmp_kl_result *kl = &result->kl;
    kl->mean = values[VLMP_STAT_KL];
    kl->ci95 = intervals[VLMP_STAT_KL];
    kl->p95 = vlmp_token_kl_quantile(s, s->once, 0.95);
    kl->p99 = vlmp_token_kl_quantile(s, s->once, 0.99);
    kl->max = s->sorted_kl[0].value;
    kl->score = values[VLMP_STAT_SCORE];
    kl->score_ci95 = intervals[VLMP_STAT_SCORE];
    result->top1 = values[VLMP_STAT_TOP1];
}

static void statistics_of(void *arg, const uint32_t *counts, double *out)
{
    vlmp_token_statistics(arg, counts, out);
}

/* Copies what the tokens of each sample gave to the result. */
static int keep_samples(vlmp_eval_result *result, const vlmp_token_scores *scores, vlmp_error *err)
{
    bool compared = scores->has_reference && result->reference != NULL;
    double *kl = NULL;
    char *classes = NULL;
    if (compared) {
        kl = vlmp_arena_alloc(&result->arena, scores->tokens, sizeof *kl);
        if (kl == NULL) return vlmp_fail_memory(err, "metrics");
        memcpy(kl, scores->kl, scores->tokens * sizeof *kl);
    }
    if (compared && scores->classes != NULL) {
        classes = vlmp_arena_copy(&result->arena, scores->classes, scores->tokens);
        if (classes == NULL) return vlmp_fail_memory(err, "metrics");
    }
    for (size_t i = 0; i < scores->samples; i++) {
        vlmp_sample_result *sample = &result->per_sample[i];
        size_t first = scores->first[i], end = scores->first[i + 1];
        sample->tokens = end - first;
        if (compared) sample->kl = kl + first;
        if (classes != NULL) sample->classes = classes + first;
        for (size_t t = first; t < end; t++) {
            sample->nll += scores->nll[t];
            if (!compared) continue;
            sample->reference_nll += scores->reference_nll[t];
            sample->same += scores->top1[t];
        }
    }
    return VLMP_OK;
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
    VLMP_TRY(keep_samples(result, scores, err));
    vlmp_token_sums s;
    double values[VLMP_STAT_COUNT];
    vlmp_interval intervals[VLMP_STAT_COUNT];
    vlmp_bootstrap bootstrap = {input->seed, scores->samples, VLMP_RESAMPLES};
    int status = vlmp_token_sums_build(&s, result->per_sample, scores->samples, err);
    if (status == VLMP_OK)
        status = vlmp_bootstrap_run(&bootstrap, statistics_of, &s, VLMP_STAT_COUNT, intervals, err);
    if (status == VLMP_OK) vlmp_token_statistics(&s, s.once, values);
    if (status == VLMP_OK && (input->metrics & VLMP_METRIC_PPL) && !input->answers_are_stand_ins) {
        result->ppl = values[VLMP_STAT_PPL];
        result->ppl_ci95 = intervals[VLMP_STAT_PPL];
        if (s.sorted_kl != NULL) {
            double tokens = (double)scores->tokens;
            result->reference_ppl =
                exp(vlmp_weighted_sum(s.reference_nll, s.once, s.samples) / tokens);
            result->ppl_ratio = values[VLMP_STAT_RATIO];
            result->ppl_ratio_ci95 = intervals[VLMP_STAT_RATIO];
        }
    }
    if (status == VLMP_OK && (input->metrics & VLMP_METRIC_KL) && s.sorted_kl != NULL)
        fill_kl(result, &s, values, intervals);
    vlmp_token_sums_free(&s);
    if (status == VLMP_OK && !isnan(result->kl.mean) && scores->classes != NULL)
        status = vlmp_class_kl_fill(result, input->seed, err);
    return status;
}

static int start_samples(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err)
{
    result->per_sample = vlmp_arena_alloc(&result->arena, input->count, sizeof *result->per_sample);
    if (result->per_sample == NULL) return vlmp_fail_memory(err, "metrics");
    for (size_t i = 0; i < input->count; i++) {
        vlmp_sample_result *sample = &result->per_sample[i];
        if (input->lines != NULL) sample->line = input->lines[i];
        if (input->hypotheses == NULL) continue;
        const char *answer = input->hypotheses[i];
        if (input->answer_tokens != NULL) sample->answer_tokens = input->answer_tokens[i];
        sample->answer = vlmp_arena_copy(&result->arena, answer, strlen(answer));
        if (sample->answer == NULL) return vlmp_fail_memory(err, "metrics");
    }
    return VLMP_OK;
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
    VLMP_TRY(start_samples(result, input, err));
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
