#include "src/eval/baseline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/eval/caption_metrics.h"
#include "src/eval/gates.h"
#include "src/eval/report_cells.h"
#include "src/eval/token_sums.h"

#define MAX_DOCUMENT ((size_t)1 << 30) /* bytes */

/* Statistics beside those of vlmp_token_statistics. */
enum { STAT_BLEU = VLMP_STAT_COUNT, STAT_CIDER, STATS };

static const struct metric {
    const char *name, *gate;
    int statistic;
    bool lower; /* is better */
    unsigned bit;
} metrics[] = {
    {"ppl", "ppl<=baseline", VLMP_STAT_PPL, true, VLMP_METRIC_PPL},
    {"kl.mean", "kl.mean<=baseline", VLMP_STAT_KL, true, VLMP_METRIC_KL},
    {"kl.score", "kl.score<=baseline", VLMP_STAT_SCORE, true, VLMP_METRIC_KL},
    {"top1", "top1>=baseline", VLMP_STAT_TOP1, false, VLMP_METRIC_KL},
    {"bleu.4", "bleu.4>=baseline", STAT_BLEU, false, VLMP_METRIC_BLEU},
    {"cider", "cider>=baseline", STAT_CIDER, false, VLMP_METRIC_CIDER},
};
enum { METRICS = sizeof metrics / sizeof *metrics };

/* Of one model. */
struct vlmp_baseline_result {
    const cJSON *from;
    const vlmp_sample_result *samples; /* [samples of the run] */
};

int vlmp_baseline_load(vlmp_baseline *out, const char *path, vlmp_error *err)
{
    *out = (vlmp_baseline){.path = path};
    VLMP_TRY(vlmp_json_load(&out->document, path, MAX_DOCUMENT, err));
    const cJSON *results = vlmp_json_get(out->document, "results");
    const cJSON *version = vlmp_json_get(out->document, "schema");
    bool good = cJSON_IsNumber(version) && version->valuedouble == 1 && cJSON_IsArray(results) &&
                results->child != NULL &&
                cJSON_IsString(vlmp_json_get(out->document, "data_digest"));
    for (const cJSON *r = good ? results->child : NULL; r != NULL; r = r->next)
        good = good && cJSON_IsArray(vlmp_json_get(r, "per_sample"));
    if (good) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: no baseline: it lacks the values of each sample; give what vlm-eval "
                     "--json of this version printed",
                     path);
}

void vlmp_baseline_free(vlmp_baseline *baseline)
{
    cJSON_Delete(baseline->document);
    vlmp_arena_free(&baseline->arena);
    *baseline = (vlmp_baseline){0};
}

/* By its path, else by the last part of it if one alone has it, else the only one of both. */
static const cJSON *counterpart(const vlmp_baseline *baseline, const char *model, size_t count)
{
    const cJSON *results = vlmp_json_get(baseline->document, "results"), *found = NULL;
    size_t like = 0;
    for (const cJSON *r = results->child; r != NULL; r = r->next) {
        const char *name = cJSON_GetStringValue(vlmp_json_get(r, "model"));
        if (name == NULL) continue;
        if (strcmp(name, model) == 0) return r;
        if (strcmp(vlmp_report_name(name), vlmp_report_name(model)) != 0) continue;
        found = r;
        like++;
    }
    if (like > 0) return like == 1 ? found : NULL;
    return count == 1 && results->child->next == NULL ? results->child : NULL;
}

static int damaged(const vlmp_baseline *baseline, size_t sample, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the values of sample %zu are not what vlm-eval --json prints; make the "
                     "file again",
                     baseline->path, sample + 1);
}

static bool read_numbers(const cJSON *list, double *out, size_t count)
{
    size_t found = 0;
    for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item != NULL;
         item = item->next) {
        if (found == count || !cJSON_IsNumber(item) || !isfinite(item->valuedouble)) return false;
        out[found++] = item->valuedouble;
    }
    return found == count;
}

static int read_sample(const vlmp_baseline *baseline, const cJSON *item, size_t i,
                       vlmp_arena *arena, vlmp_sample_result *out, vlmp_error *err)
{
    const char *where = baseline->path;
    int64_t tokens, same;
    VLMP_TRY(vlmp_json_int(item, "tokens", 0, 0, INT32_MAX, &tokens, where, err));
    VLMP_TRY(vlmp_json_int(item, "same", 0, 0, tokens, &same, where, err));
    VLMP_TRY(vlmp_json_double(item, "nll", 0, &out->nll, where, err));
    VLMP_TRY(vlmp_json_double(item, "reference_nll", 0, &out->reference_nll, where, err));
    out->tokens = (size_t)tokens;
    out->same = (size_t)same;
    const cJSON *kl = vlmp_json_get(item, "kl"), *correct = vlmp_json_get(item, "correct");
    if (kl != NULL) {
        double *values = vlmp_arena_alloc(arena, out->tokens, sizeof *values);
        if (values == NULL) return vlmp_fail_memory(err, "baseline");
        if (!read_numbers(kl, values, out->tokens)) return damaged(baseline, i, err);
        /* Rounding leaves what is 0 a little on either side of it. */
        for (size_t t = 0; t < out->tokens; t++)
            if (values[t] < -1e-6) return damaged(baseline, i, err);
        out->kl = values;
    }
    if (correct == NULL) return VLMP_OK;
    out->captioned = true;
    VLMP_TRY(vlmp_json_double(item, "length", 0, &out->bleu.length, where, err));
    VLMP_TRY(
        vlmp_json_double(item, "reference_length", 0, &out->bleu.reference_length, where, err));
    VLMP_TRY(vlmp_json_double(item, "cider", 0, &out->cider, where, err));
    if (!read_numbers(correct, out->bleu.correct, VLMP_NGRAM) ||
        !read_numbers(vlmp_json_get(item, "guess"), out->bleu.guess, VLMP_NGRAM))
        return damaged(baseline, i, err);
    return VLMP_OK;
}

/* Of all samples or of none there is a KL. */
static int read_samples(vlmp_baseline *baseline, const cJSON *from, size_t count,
                        struct vlmp_baseline_result *out, vlmp_error *err)
{
    const cJSON *list = vlmp_json_get(from, "per_sample");
    size_t found = (size_t)cJSON_GetArraySize(list), i = 0;
    if (found != count) return damaged(baseline, found < count ? found : count, err);
    vlmp_sample_result *samples = vlmp_arena_alloc(&baseline->arena, count, sizeof *samples);
    if (samples == NULL) return vlmp_fail_memory(err, "baseline");
    *out = (struct vlmp_baseline_result){from, samples};
    for (const cJSON *item = list->child; item != NULL; item = item->next, i++) {
        VLMP_TRY(read_sample(baseline, item, i, &baseline->arena, &samples[i], err));
        if ((samples[i].kl == NULL) != (samples[0].kl == NULL)) return damaged(baseline, i, err);
    }
    return VLMP_OK;
}

int vlmp_baseline_check(vlmp_baseline *baseline, const vlmp_eval_run *run,
                        const char *const *models, size_t count, vlmp_error *err)
{
    const cJSON *document = baseline->document;
    int64_t tokens;
    if (strcmp(cJSON_GetStringValue(vlmp_json_get(document, "data_digest")), run->digest) != 0)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%s: evaluated other samples, or other answers, than these of %s; give the "
            "data and --samples it was made with, or make it again",
            baseline->path, run->data);
    VLMP_TRY(
        vlmp_json_int(document, "max_new_tokens", 0, 0, INT32_MAX, &tokens, baseline->path, err));
    if (tokens != run->max_new_tokens)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: made with --max-new-tokens %lld, this run has %d; give the same",
                         baseline->path, (long long)tokens, run->max_new_tokens);
    for (size_t i = 0; i < count; i++)
        if (counterpart(baseline, models[i], count) == NULL)
            return vlmp_fail(
                err, VLMP_ERR_INPUT,
                "%s: has no results of %s, or several of that name; evaluate a file of "
                "the same path, or make the baseline again",
                baseline->path, models[i]);
    if (run->samples < 2)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: one sample has no interval; take more, here and for the baseline",
                         baseline->path);
    baseline->results = vlmp_arena_alloc(&baseline->arena, count, sizeof *baseline->results);
    if (baseline->results == NULL) return vlmp_fail_memory(err, "baseline");
    for (size_t i = 0; i < count; i++)
        VLMP_TRY(read_samples(baseline, counterpart(baseline, models[i], count), run->samples,
                              &baseline->results[i], err));
    return VLMP_OK;
}

/* Both runs' samples, of which all or none have tokens, KL, captions. */
struct pair {
    const vlmp_sample_result *old, *now; /* [count] */
    size_t count;
    vlmp_token_sums old_sums, now_sums;
    bool scored, captioned;
};

/* What all samples of both runs have; they must agree about tokens and about the original. */
static int look_at(struct pair *p, const vlmp_baseline *baseline, vlmp_error *err)
{
    double old = 0, now = 0;
    p->scored = p->captioned = p->count > 0;
    for (size_t i = 0; i < p->count; i++) {
        const vlmp_sample_result *a = &p->old[i], *b = &p->now[i];
        p->scored = p->scored && a->tokens > 0 && b->tokens > 0;
        p->captioned = p->captioned && a->captioned && b->captioned;
        if (a->tokens > 0 && b->tokens > 0 && a->tokens != b->tokens)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: sample %zu has %zu answer tokens there and %zu here; another "
                             "tokenizer or chat template: make the baseline again",
                             baseline->path, i + 1, a->tokens, b->tokens);
        old += a->reference_nll;
        now += b->reference_nll;
    }
    /* Kernels of two machines differ by some 1e-6 of it. */
    if (old > 0 && now > 0 && fabs(old - now) > 1e-3 * old)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: was compared with another original: its answers' log-likelihood is "
                         "%.6g there and %.6g here; give that one as --reference",
                         baseline->path, -old, -now);
    return VLMP_OK;
}

static int make_pair(struct pair *p, const vlmp_baseline *baseline,
                     const struct vlmp_baseline_result *old, const vlmp_eval_result *result,
                     vlmp_error *err)
{
    *p = (struct pair){
        .old = old->samples, .now = result->per_sample, .count = (size_t)result->samples};
    VLMP_TRY(look_at(p, baseline, err));
    if (!p->scored) return VLMP_OK;
    VLMP_TRY(vlmp_token_sums_build(&p->old_sums, p->old, p->count, err));
    return vlmp_token_sums_build(&p->now_sums, p->now, p->count, err);
}

static void statistics(const struct pair *p, bool old, const uint32_t *counts, double out[STATS])
{
    for (int i = 0; i < STATS; i++)
        out[i] = NAN;
    if (p->scored) vlmp_token_statistics(old ? &p->old_sums : &p->now_sums, counts, out);
    if (!p->captioned) return;
    double captions[VLMP_NGRAM + 1];
    vlmp_caption_statistics(old ? p->old : p->now, p->count, counts, captions);
    out[STAT_BLEU] = captions[VLMP_NGRAM - 1];
    out[STAT_CIDER] = captions[VLMP_NGRAM];
}

static void differences(void *arg, const uint32_t *counts, double *out)
{
    double old[STATS];
    statistics(arg, true, counts, old);
    statistics(arg, false, counts, out);
    for (int i = 0; i < STATS; i++)
        out[i] -= old[i];
}

/* The number at a name like "kl.mean" or "bleu.4"; NAN: null or absent. */
static double old_value(const cJSON *from, const char *name)
{
    char key[32];
    size_t length = strcspn(name, ".");
    snprintf(key, sizeof key, "%.*s", (int)length, name);
    const cJSON *at = vlmp_json_get(from, key);
    if (name[length] == '.')
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(name + length + 1) - 1)
                               : vlmp_json_get(at, name + length + 1);
    return cJSON_IsNumber(at) ? at->valuedouble : NAN;
}

/* One more gate, with its change. */
static void judge(vlmp_eval_result *result, const struct metric *m, double old, double now,
                  vlmp_interval ci)
{
    vlmp_change *change = &result->changes[result->change_count++];
    double bad = m->lower ? ci.lo : -ci.hi, good = m->lower ? -ci.hi : ci.lo;
    bool worse = !isfinite(now) || !isfinite(ci.lo) || !isfinite(ci.hi) || bad > 0;
    *change = (vlmp_change){m->name, old, now, ci, worse ? "worse" : good > 0 ? "better" : "same"};
    result->gates[result->gate_count++] = (vlmp_gate_outcome){m->gate, now, !worse};
}

static int judge_all(vlmp_eval_result *result, const cJSON *from, const struct pair *p,
                     const vlmp_interval *intervals, size_t *failed, const char *where,
                     vlmp_error *err)
{
    size_t before = result->gate_count;
    vlmp_gate_outcome *gates =
        vlmp_arena_alloc(&result->arena, before + METRICS, sizeof *result->gates);
    result->changes = vlmp_arena_alloc(&result->arena, METRICS, sizeof *result->changes);
    if (gates == NULL || result->changes == NULL) return vlmp_fail_memory(err, "baseline");
    if (before > 0) memcpy(gates, result->gates, before * sizeof *gates);
    result->gates = gates;
    for (int i = 0; i < METRICS; i++) {
        const struct metric *m = &metrics[i];
        double old = old_value(from, m->name), now = NAN;
        vlmp_result_value(result, m->name, &now);
        if (isnan(old)) continue;
        if ((result->metrics & m->bit) == 0) {
            VLMP_TRY(vlmp_result_note(result, err,
                                      "the baseline has %s, which this run did not measure: it is "
                                      "not judged",
                                      m->name));
            continue;
        }
        bool paired = m->statistic < VLMP_STAT_COUNT ? p->scored : p->captioned;
        judge(result, m, old, paired ? now : NAN, intervals[m->statistic]);
    }
    for (size_t i = before; i < result->gate_count; i++)
        *failed += !result->gates[i].pass;
    if (result->change_count > 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: has none of the metrics that this run measured of %s; give --metrics as "
                     "it was made with",
                     where, vlmp_report_name(result->model));
}

int vlmp_baseline_judge(const vlmp_baseline *baseline, size_t index, vlmp_eval_result *result,
                        uint64_t seed, size_t *failed, vlmp_error *err)
{
    const struct vlmp_baseline_result *old = &baseline->results[index];
    struct pair p;
    vlmp_interval intervals[STATS];
    vlmp_bootstrap bootstrap = {seed, (size_t)result->samples, VLMP_RESAMPLES};
    int status = make_pair(&p, baseline, old, result, err);
    if (status == VLMP_OK)
        status = vlmp_bootstrap_run(&bootstrap, differences, &p, STATS, intervals, err);
    if (status == VLMP_OK)
        status = judge_all(result, old->from, &p, intervals, failed, baseline->path, err);
    vlmp_token_sums_free(&p.old_sums);
    vlmp_token_sums_free(&p.now_sums);
    return status;
}
